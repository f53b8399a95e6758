"""Masks as tensors: choosing what is kept from scores, and shuffling it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks import streams

Kept = dict[str, Tensor]
"""Bool tensors, True where a weight is kept, by the name of the prunable tensor."""

Scores = dict[str, Tensor]
"""Float tensors of the same shapes; larger is kept."""


@dataclass(frozen=True)
class Selection:
    """What is kept, and how many candidates share the score at the threshold."""

    kept: Kept
    ties: int


def select(
    scores: Scores,
    density: float,
    *,
    scope: Literal["global", "layerwise"] = "global",
    within: Kept | None = None,
) -> Selection:
    """Keep exactly round(density × size) weights: the largest scores, ties by index.

    Tensors are taken in sorted name order. Never keeps what `within` does not.

    Raises
    ------
    ValueError
        When a candidate's score is not finite.
    """
    names = sorted(scores)
    groups = [names] if scope == "global" else [[name] for name in names]
    kept: Kept = {}
    ties = 0
    for group in groups:
        flat = torch.cat([_candidates(name, scores, within) for name in group])
        chosen, tied = _top(flat, round(density * len(flat)))
        ties += tied
        sizes = [scores[name].numel() for name in group]
        for name, part in zip(group, torch.split(chosen, sizes), strict=True):
            kept[name] = part.reshape(scores[name].shape)
    return Selection(kept, ties)


def shuffle(kept: Kept, seed: int, scope: Literal["layerwise", "global"]) -> Kept:
    """The same mask with its entries permuted within each layer, or over all of them."""
    names = sorted(kept)
    flat = [kept[name].flatten() for name in names]
    if scope == "layerwise":
        parts = [_permuted(part, seed, name) for name, part in zip(names, flat, strict=True)]
    else:
        sizes = [len(part) for part in flat]
        parts = list(torch.split(_permuted(torch.cat(flat), seed, "all layers"), sizes))
    return {n: part.reshape(kept[n].shape) for n, part in zip(names, parts, strict=True)}


def count(kept: Kept) -> int:
    """Weights kept."""
    return sum(int(tensor.sum()) for tensor in kept.values())


def _candidates(name: str, scores: Scores, within: Kept | None) -> Tensor:
    flat = scores[name].detach().flatten().double()
    live = torch.ones_like(flat, dtype=torch.bool) if within is None else within[name].flatten()
    if not torch.isfinite(flat[live]).all():
        raise ValueError(f"the scores of {name} are not finite: the network they score diverged")
    return flat.masked_fill(~live, -torch.inf)


def _top(flat: Tensor, keep: int) -> tuple[Tensor, int]:
    """Bool mask of the `keep` largest finite entries, ties by index, and how many tie."""
    keep = min(keep, int(torch.isfinite(flat).sum()))
    if keep == 0:
        return torch.zeros_like(flat, dtype=torch.bool), 0
    threshold = torch.kthvalue(flat, len(flat) - keep + 1).values
    chosen, tied = flat > threshold, flat == threshold
    spare = keep - int(chosen.sum())
    chosen[torch.nonzero(tied).flatten()[:spare]] = True
    return chosen, int(tied.sum())


def _permuted(flat: Tensor, seed: int, index: str) -> Tensor:
    order = streams.permutation(len(flat), seed, "shuffle", index)
    return flat[torch.from_numpy(order).to(flat.device)]
