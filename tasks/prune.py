"""What one prune task computes: from weights and a score to the weights that are kept."""

from typing import Literal

import torch
from torch import nn

from tasks import score as scoring
from tasks.data import Data, Split, scoring_batch
from tasks.masks import Kept, Scores, Selection, select, shuffle
from tasks.networks.build import Weights, build
from tasks.spec import (
    Ablation,
    Grasp,
    Inverted,
    Magnitude,
    Network,
    Random,
    Score,
    Shuffled,
    Snip,
    Synflow,
)


def one_shot_scores(
    network: Network,
    score: Score,
    weights: Weights | None,
    *,
    data: Data | None = None,
    within: Kept | None = None,
) -> Scores | None:
    """Scores that answer every density at once; None for SynFlow, which depends on it.

    `weights` may be None for random scores and `data` for those that look at no examples.
    Full precision: TF32 and autocast are off.
    """
    module = build(network)
    with _FullPrecision():
        return _scores(module, score, weights or {}, data, within)


def prune(
    network: Network,
    score: Score,
    weights: Weights | None,
    density: float,
    *,
    data: Data | None = None,
    scope: Literal["global", "layerwise"] = "global",
    within: Kept | None = None,
    ablation: Ablation | None = None,
    scores: Scores | None = None,
) -> Selection:
    """The kept weights: exactly round(density × size) of them, never one `within` pruned.

    `scores` are those of `one_shot_scores` where they are at hand already. A shuffled
    mask keeps the same number, in each layer or in all, anywhere.
    """
    inverted = isinstance(ablation, Inverted)
    if isinstance(score, Synflow):
        found = _synflow(network, score, weights or {}, density, scope, within, inverted)
    else:
        if scores is None:
            scores = one_shot_scores(network, score, weights, data=data, within=within)
        assert scores is not None
        found = select(_signed(scores, inverted), density, scope=scope, within=within)
    if isinstance(ablation, Shuffled):
        return Selection(shuffle(found.kept, ablation.seed, ablation.scope), found.ties)
    return found


def _scores(
    module: nn.Module, score: Score, weights: Weights, data: Data | None, within: Kept | None
) -> Scores | None:
    match score:
        case Random():
            return scoring.random(score, module)
        case Magnitude():
            return scoring.magnitude(module, weights)
        case Snip():
            return scoring.snip(score, module, weights, within, _batch(score, data))
        case Grasp():
            return scoring.grasp(score, module, weights, within, _batch(score, data))
        case Synflow():
            return None


def _batch(score: Snip | Grasp, data: Data | None) -> Split:
    if data is None:
        raise ValueError(f"{score.kind} scores on examples: it takes data")
    return scoring_batch(data, score.examples)


def _synflow(
    network: Network,
    score: Synflow,
    weights: Weights,
    density: float,
    scope: Literal["global", "layerwise"],
    within: Kept | None,
    inverted: bool,
) -> Selection:
    """Prune a little, score anew: density falls exponentially over the iterations."""
    module, found = build(network), None
    kept = within
    start = 1.0 if within is None else _density(within)
    for iteration in range(1, score.iterations + 1):
        with _FullPrecision():
            scores = scoring.synflow(module, weights, kept, network.input_shape)
        target = start * (density / start) ** (iteration / score.iterations)
        found = select(_signed(scores, inverted), target, scope=scope, within=kept)
        kept = found.kept
    assert found is not None
    return found


def _density(kept: Kept) -> float:
    return sum(int(t.sum()) for t in kept.values()) / sum(t.numel() for t in kept.values())


def _signed(scores: Scores, inverted: bool) -> Scores:
    return {name: -tensor for name, tensor in scores.items()} if inverted else scores


class _FullPrecision:
    """TF32 off while scoring, as it was afterwards (CPU: no effect)."""

    def __enter__(self) -> None:
        self._before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self._before)
