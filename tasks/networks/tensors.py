"""The tensors of a module: which can be pruned, which are one under several names."""

from collections.abc import Callable
from difflib import SequenceMatcher
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

USUAL = "default"
"""Among patterns, stands for all tensors that are prunable without them."""

_ATTENTION = frozenset({"in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"})

_KINDS: tuple[tuple[type | tuple[type, ...], Callable[[str], bool]], ...] = (
    ((_ConvNd, nn.Linear, nn.Bilinear), "weight".__eq__),
    ((nn.RNNBase, nn.RNNCellBase), lambda name: name.startswith("weight_")),
    (nn.MultiheadAttention, _ATTENTION.__contains__),
)
"""Layers whose weights are prunable, and which of their parameters those are."""


class PatternError(ValueError):
    """Patterns do not fit the network that they are said of."""


def shared(module: nn.Module) -> dict[str, str]:
    """Further names of tensors that a module has under several, each with the first."""
    first: dict[int, str] = {}
    for name, tensor in _named(module):
        first.setdefault(id(tensor), name)
    return {name: first[id(t)] for name, t in _named(module) if first[id(t)] != name}


def usual(module: nn.Module) -> list[str]:
    """Names of the prunable tensors in sorted order, each once.

    Trainable weights with two or more dimensions of convolutions (transposed too), linear,
    bilinear, recurrent and attention layers.
    """
    others = shared(module)
    found: set[str] = set()
    for path, child in module.named_modules():
        for leaf, parameter in child.named_parameters(recurse=False):
            if parameter.ndim > 1 and parameter.requires_grad and _is_weight(child, leaf):
                name = f"{path}.{leaf}" if path else leaf
                found.add(others.get(name, name))
    return sorted(found)


def chosen(module: nn.Module, patterns: tuple[str, ...], default: list[str]) -> list[str]:
    """Names of the tensors that patterns make prunable, in sorted order.

    A pattern adds the parameters of two or more dimensions whose names match it, as a shell
    does (`*`, `?`); with `-` before it takes them out. `default` adds what is prunable
    without patterns, and is understood where all of them take out.

    Raises
    ------
    PatternError
        When a pattern matches none of them, or nothing is left.
    """
    known = sorted(n for n, p in module.named_parameters() if p.ndim > 1)
    others = shared(module)
    found = set(default) if all(p.startswith("-") for p in patterns) else set[str]()
    for pattern in patterns:
        bare = pattern.removeprefix("-")
        names = {*known, *(other for other, first in others.items() if first in known)}
        matched = {others.get(n, n) for n in names if fnmatchcase(n, bare)}
        matched = set(default) if bare == USUAL else matched
        if not matched:
            raise PatternError(
                f"prunable: {pattern!r} matches no weight of two or more dimensions; "
                f"{_nearest(bare, known)}"
            )
        found = found - matched if pattern.startswith("-") else found | matched
    if not found:
        raise PatternError(f"prunable: {', '.join(patterns)} leaves nothing to prune")
    return sorted(found)


def fans(module: nn.Module, name: str) -> tuple[int, int] | None:
    """Inputs and outputs of a weight, as He et al. 2015 count them; None where neither is known."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    tensor = owner._parameters.get(leaf)  # noqa: SLF001 (a buffer is none of them)
    if tensor is None or tensor.ndim < 2 or not _is_weight(owner, leaf):
        return None
    if isinstance(owner, nn.Bilinear):
        return tensor[0].numel(), tensor.shape[0]
    receptive = tensor.shape[2:].numel()
    fan_in, fan_out = tensor.shape[1] * receptive, tensor.shape[0] * receptive
    return (fan_out, fan_in) if isinstance(owner, _ConvTransposeNd) else (fan_in, fan_out)


def inputs_first(module: nn.Module, name: str) -> bool:
    """Whether the first dimension of a weight is that of its inputs, as of a transposed one."""
    return isinstance(module.get_submodule(name.rpartition(".")[0]), _ConvTransposeNd)


def is_convolution(module: nn.Module, name: str) -> bool:
    """Whether a weight is a convolution's."""
    return isinstance(module.get_submodule(name.rpartition(".")[0]), _ConvNd)


def replace(module: nn.Module, change: Callable[[str, Tensor], Tensor]) -> None:
    """Put another tensor in the place of each parameter and buffer; what was one stays one."""
    made: dict[int, Tensor] = {}
    for name, tensor in list(_named(module)):
        if id(tensor) not in made:
            new = change(name, tensor)
            if isinstance(tensor, nn.Parameter):
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
            made[id(tensor)] = new
        path, _, leaf = name.rpartition(".")
        # By attribute, not in its dictionaries: recurrent layers keep a list of their weights.
        setattr(module.get_submodule(path), leaf, made[id(tensor)])


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    """All parameters and buffers by all of their names."""
    return [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]


def _is_weight(child: nn.Module, leaf: str) -> bool:
    return any(isinstance(child, kinds) and fits(leaf) for kinds, fits in _KINDS)


def _nearest(pattern: str, names: list[str], most: int = 5) -> str:
    """The names that are most like a pattern, in whole or in a part; the first where none is."""
    letters = pattern.translate(str.maketrans("", "", "*?[]!"))

    def likeness(name: str) -> float:
        parts = (name, name[: len(letters)], *name.split("."))
        return max(SequenceMatcher(None, letters, part).ratio() for part in parts)

    alike = {name: likeness(name) for name in names}
    near = sorted((n for n in names if alike[n] > 0.6), key=lambda n: -alike[n])[:most]
    if near:
        return f"near it are {', '.join(near)}"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"there are {', '.join(names[:most])}{more}"
