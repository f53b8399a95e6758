"""Precision of floating-point computation: IEEE float32, TF32 or bfloat16.

PyTorch's defaults depend on the device: on a GPU, float32 convolutions use TF32. All code that
computes with weights therefore runs within `arithmetic` and calls its network through `Callee`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from tasks.networks.build import call
from tasks.values.training import Arithmetic, Network, Recipe

Weights = dict[str, Tensor]
P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def arithmetic(precision: Arithmetic) -> Iterator[None]:
    """Set all global switches that affect rounding, and restore them at the end.

    Algorithms are deterministic, and none is chosen by timing.
    """
    before = [read() for read, _ in _SWITCHES]
    tf32 = precision == "tf32"
    wanted: list[Any] = ["high" if tf32 else "highest", tf32, False, True, False, True, False]
    try:
        _turn(wanted)
        yield
    finally:
        _turn(before)


def _turn(positions: list[Any]) -> None:
    for (_, write), position in zip(_SWITCHES, positions, strict=False):
        write(position)


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


_SWITCHES: list[tuple[Callable[[], Any], Callable[[Any], None]]] = [
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _attribute(torch.backends.cudnn, "allow_tf32"),
    _attribute(torch.backends.cudnn, "benchmark"),
    _attribute(torch.backends.cudnn, "deterministic"),
    _attribute(torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
]
if torch.cuda.is_available():  # it loads torch's compiler, and has no effect on a CPU
    _SWITCHES += [
        (
            torch.are_deterministic_algorithms_enabled,
            lambda wanted: torch.use_deterministic_algorithms(wanted, warn_only=True),
        ),
        _attribute(torch.utils.deterministic, "fill_uninitialized_memory"),
    ]


def in_its_precision(
    compute: Callable[Concatenate[Network, Recipe, P], T],
) -> Callable[Concatenate[Network, Recipe, P], T]:
    """Decorate a function to compute within the precision of its recipe."""

    def within(network: Network, recipe: Recipe, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with arithmetic(recipe.precision):
            return compute(network, recipe, *args, **kwargs)

    update_wrapper(within, compute)
    return within


class Callee:
    """A network with the weights it is called with: float32, or bfloat16 copies of some.

    In bfloat16, the inputs, weights and outputs of convolutions and linear layers are rounded
    to bfloat16. `weights`, the statistics of norms and the loss stay float32. For other layers
    autocast decides. Images and kernels lie in memory channels last; in float32 on a GPU they
    lie channels first.

    Attributes
    ----------
    differentiated : list of Tensor
        Tensors by which the loss is differentiated: each parameter, or its bfloat16 copy.
    copies : list of Tensor
        Copies of weights in bfloat16, if any.
    """

    def __init__(self, module: nn.Module, weights: Weights, precision: Arithmetic) -> None:
        self._module, self._precision = module, precision
        self._called = dict(weights)
        names = [name for name, p in module.named_parameters() if p.requires_grad]
        rounded = _rounded(module) if precision == "bfloat16" else set()
        self._copied = [i for i, name in enumerate(names) if name in rounded]
        self._originals = [weights[names[i]].detach() for i in self._copied]
        self.copies = [tensor.bfloat16() for tensor in self._originals]
        for i, copy in zip(self._copied, self.copies, strict=True):
            self._called[names[i]] = copy.requires_grad_(weights[names[i]].requires_grad)
        self._parameters = [weights[name] for name in names]
        self.differentiated = [self._called[name] for name in names]
        self._wide: list[Tensor] = []

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (examples, classes) in float32."""
        if self._precision == "float32":
            images = images.contiguous() if images.is_cuda else images
        else:
            dtype = torch.bfloat16 if self._precision == "bfloat16" else None
            images = images.to(dtype=dtype, memory_format=torch.channels_last)
        with self._casting(images.device.type):
            logits = call(self._module, self._called, images)
        return logits if self._precision == "float32" else logits.float()

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Return float32 gradients in the memory layout of the parameters."""
        computed = torch.autograd.grad(loss, self.differentiated, materialize_grads=True)
        gradients = [_as(g, p) for g, p in zip(computed, self._parameters, strict=True)]
        if self._copied:
            self._wide = self._wide or [torch.empty_like(tensor) for tensor in self._originals]
            torch._foreach_copy_(self._wide, [gradients[i] for i in self._copied])
            for i, wide in zip(self._copied, self._wide, strict=True):
                gradients[i] = wide
        return gradients

    def refresh(self) -> None:
        """Round the weights to bfloat16 again after they changed."""
        if self._copied:
            with torch.no_grad():
                torch._foreach_copy_(self.copies, self._originals)

    def _casting(self, device: str) -> AbstractContextManager[Any]:
        if self._precision != "bfloat16":
            return nullcontext()
        return torch.autocast(device, torch.bfloat16, cache_enabled=False)


def laid_out(tensor: Tensor, precision: Arithmetic) -> Tensor:
    """Return the tensor in the memory layout in which a precision computes."""
    if precision == "float32" or tensor.dim() != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def _rounded(module: nn.Module) -> set[str]:
    """Return the names of the parameters of convolutions and linear layers."""
    return {
        f"{owner}.{name}" if owner else name
        for owner, child in module.named_modules()
        if isinstance(child, nn.Conv2d | nn.Linear)
        for name, _ in child.named_parameters(recurse=False)
    }


def _as(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient with the strides of the weight, copied only where bytes must move.

    PyTorch updates a list of tensors at once only if all strides agree. The strides of a 1 × 1
    kernel can name one layout in two ways.
    """
    if gradient.stride() == weight.stride():
        return gradient
    for layout in (torch.contiguous_format, torch.channels_last):
        if layout is torch.channels_last and weight.dim() != 4:
            continue
        if all(tensor.is_contiguous(memory_format=layout) for tensor in (gradient, weight)):
            return gradient.as_strided(weight.size(), weight.stride())
    return torch.empty_like(weight, dtype=gradient.dtype).copy_(gradient)
