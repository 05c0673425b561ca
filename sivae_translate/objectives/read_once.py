"""Numbers of a module that are read from the device once, so that a step does not wait for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ReadOnce(nn.Module):
    """A module that remembers what was read, until its numbers change or others are loaded."""

    def __init__(self) -> None:
        super().__init__()
        self._read: list[float] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """The numbers have changed."""
        self._read = None

    def read_once(self, *numbers: Tensor) -> list[float]:
        """The values of scalars, as they were at the first call since they changed."""
        if self._read is None:
            self._read = torch.stack([number.float() for number in numbers]).tolist()
        return self._read


def _forget(module: nn.Module, _: object) -> None:
    """Discard values that were read before a state was loaded."""
    assert isinstance(module, ReadOnce)
    module.forget()
