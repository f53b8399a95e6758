"""How floats are computed: IEEE float32, TF32 or bfloat16, wherever a run is computed.

What PyTorch takes for granted differs: on a GPU, convolutions of float32 are TF32 unless
somebody says otherwise. So everything that computes with weights does it within `arithmetic`,
and calls its network through `Callee`.
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
    """Set every global switch that decides how floats are rounded; restore them at the end.

    Algorithms are the deterministic ones, and none is chosen by timing.
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
if torch.cuda.is_available():  # loads torch's compiler, and changes nothing of ours on a CPU
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
    """Compute within the arithmetic of the recipe."""

    def within(network: Network, recipe: Recipe, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with arithmetic(recipe.precision):
            return compute(network, recipe, *args, **kwargs)

    update_wrapper(within, compute)
    return within


class Callee:
    """A network as it is called: by its float32 weights, or by bfloat16 copies of some.

    In bfloat16, inputs and weights of convolutions and linear layers are rounded to it, and so
    is what they give; `weights`, norms' statistics and the loss stay float32. Where another
    kind of layer belongs is autocast's to say. Images and kernels lie in memory channels last,
    but in float32 on a GPU channels first.

    Attributes
    ----------
    differentiated : list of Tensor
        What the loss is differentiated by: each parameter, or its copy.
    copies : list of Tensor
        Weights in bfloat16, if any.
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
        """Float32 (examples, classes)."""
        if self._precision == "float32":
            images = images.contiguous() if images.is_cuda else images
        else:
            dtype = torch.bfloat16 if self._precision == "bfloat16" else None
            images = images.to(dtype=dtype, memory_format=torch.channels_last)
        with self._casting(images.device.type):
            found = call(self._module, self._called, images)
        return found if self._precision == "float32" else found.float()

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Float32 gradients, laid out as the parameters are."""
        found = list(torch.autograd.grad(loss, self.differentiated, materialize_grads=True))
        found = [_as(gradient, p) for gradient, p in zip(found, self._parameters, strict=True)]
        if self._copied:
            self._wide = self._wide or [torch.empty_like(tensor) for tensor in self._originals]
            torch._foreach_copy_(self._wide, [found[i] for i in self._copied])
            for i, wide in zip(self._copied, self._wide, strict=True):
                found[i] = wide
        return found

    def refresh(self) -> None:
        """Round the weights again, after they changed."""
        if self._copied:
            with torch.no_grad():
                torch._foreach_copy_(self.copies, self._originals)

    def _casting(self, device: str) -> AbstractContextManager[Any]:
        if self._precision != "bfloat16":
            return nullcontext()
        return torch.autocast(device, torch.bfloat16, cache_enabled=False)


def laid_out(tensor: Tensor, precision: Arithmetic) -> Tensor:
    """The tensor in the memory layout in which a precision computes."""
    if precision == "float32" or tensor.dim() != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def _rounded(module: nn.Module) -> set[str]:
    """Names of the parameters of convolutions and linear layers."""
    return {
        f"{owner}.{name}" if owner else name
        for owner, child in module.named_modules()
        if isinstance(child, nn.Conv2d | nn.Linear)
        for name, _ in child.named_parameters(recurse=False)
    }


def _as(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient with the weight's strides, without a copy where the bytes are in order.

    PyTorch updates a list of tensors at once only where all strides agree, and a 1 × 1
    kernel's have two names for one layout.
    """
    if gradient.stride() == weight.stride():
        return gradient
    for layout in (torch.contiguous_format, torch.channels_last):
        if layout is torch.channels_last and weight.dim() != 4:
            continue
        if all(tensor.is_contiguous(memory_format=layout) for tensor in (gradient, weight)):
            return gradient.as_strided(weight.size(), weight.stride())
    return torch.empty_like(weight, dtype=gradient.dtype).copy_(gradient)
