"""The tensors of a module: which are prunable, and which have several names."""

from collections.abc import Callable
from difflib import SequenceMatcher
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

USUAL = "default"
"""The pattern that stands for all tensors that are prunable without patterns."""

_ATTENTION = frozenset({"in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"})

_KINDS: tuple[tuple[type | tuple[type, ...], Callable[[str], bool]], ...] = (
    ((_ConvNd, nn.Linear, nn.Bilinear), "weight".__eq__),
    ((nn.RNNBase, nn.RNNCellBase), lambda name: name.startswith("weight_")),
    (nn.MultiheadAttention, _ATTENTION.__contains__),
)
"""Layers with prunable weights, each with a test for the names of those weights."""


class PatternError(ValueError):
    """The `prunable` patterns do not fit the network."""


def shared(module: nn.Module) -> dict[str, str]:
    """Map the further names of tensors that have several names to their first name."""
    first: dict[int, str] = {}
    for name, tensor in _named(module):
        first.setdefault(id(tensor), name)
    return {name: first[id(t)] for name, t in _named(module) if first[id(t)] != name}


def usual(module: nn.Module) -> list[str]:
    """Return the names of the tensors prunable by default, sorted, each once.

    These are the trainable weights with two or more dimensions of convolutions (transposed ones
    included), linear, bilinear, recurrent and attention layers.
    """
    others = shared(module)
    names: set[str] = set()
    for path, child in module.named_modules():
        for leaf, parameter in child.named_parameters(recurse=False):
            if parameter.ndim > 1 and parameter.requires_grad and _is_weight(child, leaf):
                name = f"{path}.{leaf}" if path else leaf
                names.add(others.get(name, name))
    return sorted(names)


def chosen(module: nn.Module, patterns: tuple[str, ...], default: list[str]) -> list[str]:
    """Return the names of the tensors that patterns make prunable, sorted.

    A pattern adds the parameters of two or more dimensions whose names match it (`*` and `?` as
    in a shell). A pattern that begins with `-` removes them. The pattern "default" stands for
    the names in `default`. If all patterns remove, they remove from `default`.

    Raises
    ------
    PatternError
        When a pattern matches no parameter, or no name is left.
    """
    known = sorted(n for n, p in module.named_parameters() if p.ndim > 1)
    others = shared(module)
    selected = set(default) if all(p.startswith("-") for p in patterns) else set[str]()
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
        selected = selected - matched if pattern.startswith("-") else selected | matched
    if not selected:
        raise PatternError(f"prunable: {', '.join(patterns)} leaves nothing to prune")
    return sorted(selected)


def fans(module: nn.Module, name: str) -> tuple[int, int] | None:
    """Return fan-in and fan-out of a weight (He et al. 2015), or None if they are not defined."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    tensor = owner._parameters.get(leaf)  # noqa: SLF001 (buffers excluded)
    if tensor is None or tensor.ndim < 2 or not _is_weight(owner, leaf):
        return None
    if isinstance(owner, nn.Bilinear):
        return tensor[0].numel(), tensor.shape[0]
    receptive = tensor.shape[2:].numel()
    fan_in, fan_out = tensor.shape[1] * receptive, tensor.shape[0] * receptive
    return (fan_out, fan_in) if isinstance(owner, _ConvTransposeNd) else (fan_in, fan_out)


def inputs_first(module: nn.Module, name: str) -> bool:
    """Return whether the first dimension of a weight counts inputs (transposed convolutions)."""
    return isinstance(module.get_submodule(name.rpartition(".")[0]), _ConvTransposeNd)


def is_convolution(module: nn.Module, name: str) -> bool:
    """Return whether a weight belongs to a convolution."""
    return isinstance(module.get_submodule(name.rpartition(".")[0]), _ConvNd)


def replace(module: nn.Module, change: Callable[[str, Tensor], Tensor]) -> None:
    """Replace each parameter and buffer by `change(name, tensor)`; shared tensors stay shared."""
    replaced: dict[int, Tensor] = {}
    for name, tensor in list(_named(module)):
        if id(tensor) not in replaced:
            new = change(name, tensor)
            if isinstance(tensor, nn.Parameter):
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
            replaced[id(tensor)] = new
        path, _, leaf = name.rpartition(".")
        # By attribute, not in its dictionaries: recurrent layers also list their weights.
        setattr(module.get_submodule(path), leaf, replaced[id(tensor)])


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    """List all parameters and buffers under all of their names."""
    return [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]


def _is_weight(child: nn.Module, leaf: str) -> bool:
    return any(isinstance(child, kinds) and fits(leaf) for kinds, fits in _KINDS)


def _nearest(pattern: str, names: list[str], most: int = 5) -> str:
    """Return a clause with the names most similar to a pattern, or else with the first names."""
    letters = pattern.translate(str.maketrans("", "", "*?[]!"))

    def likeness(name: str) -> float:
        parts = (name, name[: len(letters)], *name.split("."))
        return max(SequenceMatcher(None, letters, part).ratio() for part in parts)

    alike = {name: likeness(name) for name in names}
    near = sorted((n for n in names if alike[n] > 0.6), key=lambda n: -alike[n])[:most]
    if near:
        return f"similar names are {', '.join(near)}"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"the names are {', '.join(names[:most])}{more}"
