"""Casting weights and summing gradients of a step with few operators.

A network runs more than once in a step, with weights in autocast's precision. With plain autograd, every
weight is cast in every half of a step, its gradient is cast back, and the gradients of all uses are added:
four small operators for each of a hundred weights. Here copies in the lower precision persist between steps
and are updated by one operator per network; every call of a network gets its own leaf tensors that share the
copies' memory, and one operator sums all gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sivae_translate.utils.devices import CAST


class Leaves:
    """Gives every call of a network its own leaf weights, and collects their gradients.

    Args:
        networks: networks whose calls get their own leaves; other parameters are their own leaves.
        dtype: precision of weights of convolutions and matrix products; None leaves them unchanged.
    """

    def __init__(self, networks: Iterable[nn.Module], dtype: torch.dtype | None) -> None:
        self.dtype = dtype
        self._networks = [_Network(network, dtype) for network in networks]
        self._gradients: dict[nn.Parameter, Tensor] = {}
        self._views: dict[nn.Parameter, Tensor] = {}

    def renew(self, moved: Iterable[nn.Parameter] | None = None) -> None:
        """Discard the copies of updated parameters, or of all, as at the start of a step.

        Networks that are updated within a step are constant for the rest of it.
        """
        changed = None if moved is None else set(moved)
        for network in self._networks:
            if changed is None:
                network.start()
            elif not changed.isdisjoint(network.masters):
                network.stale, network.constant = True, True

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Passes in this context use the leaves."""
        with ExitStack() as stack:
            for network in self._networks:
                stack.enter_context(network.hooked())
            yield

    def differentiate(
        self, loss: Tensor, parameters: Sequence[nn.Parameter], *, retain: bool, add: bool = False
    ) -> None:
        """Compute gradients of parameters from those of all their leaves, into their ``grad``.

        Args:
            loss: scalar, computed in the contexts of this step.
            parameters: parameters to compute gradients of.
            retain: keep the graph.
            add: add to the gradients that the parameters have.
        """
        leaves: dict[nn.Parameter, list[Tensor]] = {parameter: [parameter] for parameter in parameters}
        for network in self._networks:
            for master, used in network.used():
                if master in leaves:
                    leaves[master] += used
        flat = [leaf for used in leaves.values() for leaf in used]
        found = iter(torch.autograd.grad(loss, flat, retain_graph=retain, allow_unused=True))
        gradients = {
            parameter: [gradient for gradient in [next(found) for _ in used] if gradient is not None]
            for parameter, used in leaves.items()
        }
        first = [p for p, each in gradients.items() if each and not (add and p.grad is not None)]
        self._first({parameter: gradients[parameter].pop(0) for parameter in first})
        for number in range(max(map(len, gradients.values()))):
            added = {p: each[number] for p, each in gradients.items() if len(each) > number}
            totals = [self._shaped(parameter, gradient) for parameter, gradient in added.items()]
            torch._foreach_add_(totals, list(added.values()))

    def _first(self, gradients: dict[nn.Parameter, Tensor]) -> None:
        """Give gradients the precision and memory format of their parameters, as fused Adam requires."""
        moved = []
        for parameter, gradient in gradients.items():
            alike = gradient.dtype == parameter.dtype and gradient.shape == parameter.shape
            if alike and _lie_alike(gradient, parameter):
                parameter.grad = gradient
                continue
            if parameter not in self._gradients:
                self._gradients[parameter] = torch.empty_like(parameter, requires_grad=False)
            parameter.grad = self._gradients[parameter]
            moved.append((self._shaped(parameter, gradient), gradient))
        if moved:
            torch._foreach_copy_([target for target, _ in moved], [gradient for _, gradient in moved])

    def _shaped(self, parameter: nn.Parameter, like: Tensor) -> Tensor:
        """A parameter's gradient, in the shape of a leaf's gradient."""
        total = parameter.grad
        assert total is not None
        if total.shape == like.shape:
            return total
        view = self._views.get(parameter)
        if view is None or view.data_ptr() != total.data_ptr():
            view = self._views[parameter] = total.view(like.shape)
        return view


class _Network:
    """The weights of a network and the leaves of its calls."""

    def __init__(self, module: nn.Module, dtype: torch.dtype | None) -> None:
        self.module, self.dtype = module, dtype
        self._lay_out()
        self.start()

    def _lay_out(self) -> None:
        """Find the weights and create their copies."""
        self.slots: list[tuple[dict[str, Any], str]] = []
        self.masters: list[nn.Parameter] = []
        self.values: list[Tensor] = []
        self.copies: list[Tensor] = []
        self.originals: list[Tensor] = []
        self.leaves: list[list[Tensor]] = []
        for part in self.module.modules():
            lowers = self.dtype is not None and isinstance(part, CAST)
            for name, weight in part._parameters.items():
                if weight is None:
                    continue
                self.slots.append((part._parameters, name))
                self.masters.append(weight)
                value = weight.detach()
                if lowers and weight.dtype == torch.float32:
                    value = torch.empty_like(value, dtype=self.dtype)
                    self.originals.append(weight)
                    self.copies.append(value)
                shapes = getattr(part, "pass_shapes", {})
                self.values.append(value.view(shapes[name]) if name in shapes else value)

    def start(self) -> None:
        """Start a step."""
        self.calls, self.stale, self.constant = 0, True, False
        # The weights of a model that was moved after the last step are in other memory.
        if any(
            value.dtype == master.dtype and value.data_ptr() != master.data_ptr()
            for value, master in zip(self.values, self.masters, strict=True)
        ):
            self._lay_out()

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Make calls in this context use leaves; afterwards, the weights are the parameters again."""
        hook = self.module.register_forward_pre_hook(self._take_leaves)
        try:
            yield
        finally:
            hook.remove()
            self._fill(self.masters)

    def used(self) -> Iterator[tuple[nn.Parameter, list[Tensor]]]:
        """Every parameter with its leaves of this step."""
        for master, *used in zip(self.masters, *self.leaves[: self.calls], strict=True):
            yield master, used

    def _take_leaves(self, module: nn.Module, inputs: Any) -> None:
        """A forward hook."""
        if self.stale and self.copies:
            with torch.no_grad():
                torch._foreach_copy_(self.copies, self.originals)
        self.stale = False
        if self.constant or not torch.is_grad_enabled():
            self._fill(self.values)
            return
        if self.calls == len(self.leaves):
            self.leaves.append(
                [
                    value.detach().requires_grad_(master.requires_grad)
                    for value, master in zip(self.values, self.masters, strict=True)
                ]
            )
        self._fill(self.leaves[self.calls])
        self.calls += 1

    def _fill(self, weights: Sequence[Tensor]) -> None:
        for (parameters, name), weight in zip(self.slots, weights, strict=True):
            parameters[name] = weight


def _lie_alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of the same shape have the same layout, ignoring strides of single items."""
    if one.stride() == other.stride():
        return True
    strides = zip(one.shape, one.stride(), other.stride(), strict=True)
    return all(size == 1 or a == b for size, a, b in strides)
