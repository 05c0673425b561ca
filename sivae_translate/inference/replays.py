"""Replaying a network's passes on a GPU, where a small network costs what its launches cost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from threading import Lock

import torch
from torch import Tensor

from sivae_translate.utils.recording import WARM_UP, Recorder

Passes = Callable[[Tensor, Tensor], Tensor]
KEPT = 2
"""How many sizes are kept recorded: one image and a batch. Each keeps the memory of its features."""


class Replays:
    """Calls a function of images and codes; for sizes that come often, a recording of it is replayed.

    Several threads may call it, one after the other. If a call cannot be recorded, no further one is tried.

    Args:
        passes: from images (B, C, H, W) and codes (B, S) to a tensor; depends on them and weights alone.
        recorder: records it.
    """

    def __init__(self, passes: Passes, recorder: Recorder) -> None:
        self.passes, self.recorder, self.able = passes, recorder, True
        self._calls: OrderedDict[tuple[object, ...], _Call] = OrderedDict()
        self._lock = Lock()

    def __call__(self, images: Tensor, codes: Tensor) -> Tensor:
        """The function's result, in memory of its own."""
        with self._lock:
            if not self.able:
                return self.passes(images, codes)
            key = tuple(images.shape), images.dtype, images.stride(), codes.dtype
            call = self._calls.pop(key, None) or _Call(images, codes)
            self._calls[key] = call  # the latest is last
            while len(self._calls) > KEPT:
                self._calls.popitem(last=False)
            try:
                return call(self.passes, self.recorder, images, codes)
            except _UnableError:
                self.able = False
                self._calls.clear()
        return self.passes(images, codes)


class _UnableError(Exception):
    """A call cannot be recorded."""


class _Call:
    """Calls with inputs of one size.

    Args:
        images: images of this size.
        codes: codes of this size.
    """

    def __init__(self, images: Tensor, codes: Tensor) -> None:
        self.images, self.codes = torch.empty_like(images), torch.empty_like(codes)
        self.left = WARM_UP
        self.replay: Callable[[], Tensor] | None = None

    def __call__(self, passes: Passes, recorder: Recorder, images: Tensor, codes: Tensor) -> Tensor:
        """The function's result, in memory of its own."""
        self.images.copy_(images)
        self.codes.copy_(codes)
        work = partial(passes, self.images, self.codes)
        if self.left:
            self.left -= 1
            return recorder.warmed(work)
        if self.replay is None:
            try:
                self.replay = recorder.recorded(work)
            except RuntimeError as error:
                raise _UnableError from error
        return self.replay().clone()
