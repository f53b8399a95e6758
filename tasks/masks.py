"""Masks as tensors: choose the kept weights by their scores, and shuffle masks."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks import random_streams

Kept = dict[str, Tensor]
"""Bool tensors by the name of the prunable tensor; True where a weight is kept."""

Scores = dict[str, Tensor]
"""Float tensors of the same shapes; weights with larger scores are kept."""


@dataclass(frozen=True)
class Selection:
    """A mask, and the number of candidates whose score equals the threshold."""

    kept: Kept
    ties: int


def select(
    scores: Scores,
    density: float,
    *,
    scope: Literal["global", "layerwise"] = "global",
    within: Kept | None = None,
    quotas: dict[str, int] | None = None,
) -> Selection:
    """Keep exactly round(density × size) weights: the largest scores, ties by lower index.

    Tensors are taken in the sorted order of their names. Only weights that `within` keeps are
    candidates. `quotas` gives the number of weights that each tensor keeps, in place of the
    density.

    Raises
    ------
    ValueError
        When a candidate's score is not finite.
    """
    names = sorted(scores)
    whole = scope == "global" and quotas is None
    kept: Kept = {}
    ties = 0
    for group in [names] if whole else [[name] for name in names]:
        live = None if within is None else torch.cat([within[name].flatten() for name in group])
        flat = torch.cat([scores[name].detach().flatten() for name in group])
        size = len(flat)
        if live is not None:
            flat = flat[live]
        _check_finite(flat, group, scores, within)
        keep = round(density * size) if quotas is None else quotas[group[0]]
        chosen, tied = _top(flat, keep)
        if live is not None:
            spread = torch.zeros_like(live)
            spread[live] = chosen
            chosen = spread
        ties += tied
        sizes = [scores[name].numel() for name in group]
        for name, part in zip(group, torch.split(chosen, sizes), strict=True):
            kept[name] = part.reshape(scores[name].shape)
    return Selection(kept, ties)


def erdos_renyi_kernel(shapes: dict[str, torch.Size], density: float) -> dict[str, int]:
    """Return the number of weights each tensor keeps under ERK, in all round(density × size).

    The density of a layer is proportional to (outputs + inputs + kernel sides) / weights, at
    most 1. The rest of a full layer goes to the other layers (Evci et al. 2020, "Rigging the
    lottery", section 3 and appendix).
    """
    sizes = {name: shape.numel() for name, shape in shapes.items()}
    raw = {name: sum(shape) / shape.numel() for name, shape in shapes.items()}
    keep, full = round(density * sum(sizes.values())), set[str]()
    while True:
        free = [name for name in sorted(sizes) if name not in full]
        left = keep - sum(sizes[name] for name in full)
        scale = left / max(sum(raw[name] * sizes[name] for name in free), 1e-300)
        over = {name for name in free if scale * raw[name] > 1}
        if not over:
            break
        full |= over
    exact = {name: scale * raw[name] * sizes[name] for name in free}
    quotas = {name: sizes[name] for name in full} | {n: int(v) for n, v in exact.items()}
    by_remainder = sorted(free, key=lambda name: quotas[name] - exact[name])
    for name in by_remainder[: keep - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def shuffle(kept: Kept, seed: int, scope: Literal["layerwise", "global"]) -> Kept:
    """Return the mask with its entries permuted within each layer, or over all layers."""
    names = sorted(kept)
    flat = [kept[name].flatten() for name in names]
    if scope == "layerwise":
        parts = [_permuted(part, seed, name) for name, part in zip(names, flat, strict=True)]
    else:
        sizes = [len(part) for part in flat]
        parts = list(torch.split(_permuted(torch.cat(flat), seed, "all layers"), sizes))
    return {n: part.reshape(kept[n].shape) for n, part in zip(names, parts, strict=True)}


def count(kept: Kept) -> int:
    """Return the number of kept weights."""
    return sum(int(tensor.sum()) for tensor in kept.values())


def _check_finite(flat: Tensor, group: list[str], scores: Scores, within: Kept | None) -> None:
    if torch.isfinite(flat).all():
        return
    for name in group:
        live = scores[name] if within is None else scores[name][within[name]]
        if not torch.isfinite(live).all():
            raise ValueError(
                f"the scores of {name} are not finite: the network they score diverged"
            )


def _top(flat: Tensor, keep: int) -> tuple[Tensor, int]:
    """Return the bool mask of the `keep` largest entries, and the number of ties.

    Ties go to the lower index.
    """
    keep = min(keep, len(flat))
    if keep == 0:
        return torch.zeros_like(flat, dtype=torch.bool), 0
    threshold = torch.kthvalue(flat, len(flat) - keep + 1).values
    chosen, tied = flat > threshold, flat == threshold
    spare = keep - int(chosen.sum())
    chosen[torch.nonzero(tied).flatten()[:spare]] = True
    return chosen, int(tied.sum())


def _permuted(flat: Tensor, seed: int, index: str) -> Tensor:
    order = random_streams.permutation(len(flat), seed, "shuffle", index)
    return flat[torch.from_numpy(order).to(flat.device)]
