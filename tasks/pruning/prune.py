"""Compute a mask: from a score and a state to the weights that are kept."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from tasks import masks
from tasks.data.batches import Batch, Data, scoring_batches
from tasks.heartbeat import paced
from tasks.masks import Kept, Scores, Selection, select, shuffle
from tasks.measures import layers as measure
from tasks.networks.build import Weights, build, loaded, prunable
from tasks.networks.random_layers import drawing
from tasks.pruning import scores as scoring
from tasks.training.precision import arithmetic
from tasks.values import user_code
from tasks.values.scores import (
    Ablation,
    GemMiner,
    Inverted,
    LayerRate,
    NofM,
    OnExamples,
    Own,
    Pattern,
    Random,
    Score,
    Shuffled,
    Units,
)
from tasks.values.training import Network

Scope = Literal["global", "layerwise"]


def one_shot_scores(
    network: Network,
    score: Score,
    weights: Weights | None,
    *,
    data: Data | None = None,
    within: Kept | None = None,
) -> Scores | None:
    """Scores that answer every density at once; None where they depend on it.

    `weights` may be None for random scores and `data` for those that look at no examples.
    In float32 whatever the runs that are pruned were trained in.
    """
    if not score.is_one_shot:
        return None
    return _scorer(network, score, weights or {}, data)(within)


def prune(
    network: Network,
    score: Score,
    weights: Weights | None,
    density: float,
    *,
    data: Data | None = None,
    scope: Scope = "global",
    within: Kept | None = None,
    ablation: Ablation | None = None,
    keep_dense: tuple[str, ...] = (),
    pattern: Pattern | None = None,
    rates: tuple[LayerRate, ...] = (),
    scores: Scores | None = None,
) -> Selection:
    """The kept weights: exactly round(density × size) of them, never one `within` pruned.

    `scores` are those of `one_shot_scores` where they are at hand already. A shuffled
    mask keeps the same number, in each layer or in all, anywhere. Layers that `keep_dense`
    names ("first", "last" or tensors) keep all, and the others so much less. `rates` give
    layers densities of their own.

    Raises
    ------
    ValueError
        When scores are not finite, `keep_dense` names no layer, or keeps more than the
        density allows.
    """
    inverted = isinstance(ablation, Inverted)
    fixed = _fixed_layers(network, keep_dense)
    if isinstance(pattern, Units):
        found = _units(network, weights or {}, density, scope, pattern, inverted)
    elif isinstance(score, GemMiner):
        found = _mined(network, score, weights or {}, density, data)
    elif not score.is_one_shot:
        scorer = _scorer(network, score, weights or {}, data)
        found = _iterative(scorer, score, density, scope, within, fixed, inverted)
    else:
        if scores is None:
            scores = _scorer(network, score, weights or {}, data)(within)
        signed = _signed(scores, inverted)
        if isinstance(pattern, NofM):
            found = _blocks(signed, pattern)
        elif rates:
            quotas = _quotas(network, rates, density)
            found = select(signed, density, within=within, quotas=quotas)
        elif isinstance(score, Random) and score.layers == "erk":
            shapes = {name: tensor.shape for name, tensor in signed.items()}
            quotas = masks.erdos_renyi_kernel(shapes, density)
            found = select(signed, density, within=within, quotas=quotas)
        else:
            found = _select(signed, density, scope, within, fixed)
    if isinstance(ablation, Shuffled):
        return Selection(shuffle(found.kept, ablation.seed, ablation.scope), found.ties)
    return found


# ---------------------------------------------------------------- scores and their schedules

Scorer = Callable[[Kept | None], Scores]


def _scorer(network: Network, score: Score, weights: Weights, data: Data | None) -> Scorer:
    """The score as a function of what is kept so far."""
    module = build(network)
    batches = _batches(score, data) if isinstance(score, OnExamples) else []

    def scores(kept: Kept | None) -> Scores:
        with arithmetic("float32"), _drawing(network, score, batches), _refused(network, score):
            return _scores(network, module, score, weights, kept, batches)

    return scores


def _drawing(network: Network, score: Score, batches: list[Batch]) -> AbstractContextManager[None]:
    """Seed of the random layers of a network while it is scored; equal at each iteration."""
    seed = score.examples.seed if isinstance(score, OnExamples) else 0
    device = batches[0].images.device if batches else torch.device("cpu")
    return drawing(network, seed, "scoring", device=device)


@contextmanager
def _refused(network: Network, score: Score) -> Iterator[None]:
    """Say in a sentence that a score cannot be computed for somebody else's network."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:
        if network.semantics == 1 or isinstance(score, Own):
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{score.kind} cannot score {network.name}: {reason}") from error


def _scores(
    network: Network,
    module: nn.Module,
    score: Score,
    weights: Weights,
    kept: Kept | None,
    batches: list[Batch],
) -> Scores:
    if isinstance(score, Own):
        return _own_scores(network, score, module, weights, kept, batches)
    if type(score) not in scoring.FUNCTIONS:
        raise ValueError(f"{score.kind} learns its mask; it has no scores of its own")
    subject = scoring.Subject(network, module, weights, kept, batches)
    return scoring.FUNCTIONS[type(score)](score, subject)


def _own_scores(
    network: Network,
    score: Own,
    module: nn.Module,
    weights: Weights,
    kept: Kept | None,
    batches: list[Batch],
) -> Scores:
    """A user's scores, refused unless there is one for each prunable weight."""
    options = tuple((option.name, option.value) for option in score.options)
    given = _running(network, weights, kept), weights, kept, batches, score.examples.seed
    found = user_code.call(score.name, *given, source=score.source, options=options)
    if not isinstance(found, Mapping) or not all(isinstance(s, Tensor) for s in found.values()):
        raise ValueError(
            f"{score.name} returned {type(found).__name__}; a score's function returns a dict "
            "of a tensor for each prunable weight, by its name"
        )
    names = prunable(module)
    wanted = {name: tuple(module.get_parameter(name).shape) for name in names}
    got = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if got != wanted:
        wrong = min(n for n in wanted.keys() | got.keys() if wanted.get(n) != got.get(n))
        raise ValueError(
            f"{score.name} gave scores of shape {got.get(wrong)} for {wrong}, "
            f"which takes {wanted.get(wrong)}"
        )
    return {name: found[name].detach() for name in names}


def _running(network: Network, weights: Weights, kept: Kept | None) -> nn.Module:
    """The network with copies of the weights, of which it uses those kept: it runs."""
    used = {n: t * kept[n] if kept and n in kept else t for n, t in weights.items()}
    return loaded(network, used).train()


def _batches(score: OnExamples, data: Data | None) -> list[Batch]:
    if data is None:
        raise ValueError(f"{score.kind} scores on examples: it takes data")
    return scoring_batches(data, score.examples)


def _iterative(
    scorer: Scorer,
    score: Score,
    density: float,
    scope: Scope,
    within: Kept | None,
    fixed: frozenset[str],
    inverted: bool,
) -> Selection:
    """Prune a little, score anew: density falls in steps, exponentially unless linear."""
    kept, found = within, None
    start, iterations = 1.0 if within is None else _density(within), score.rounds
    linear = getattr(score, "schedule", "exponential") == "linear"
    for iteration in paced(range(1, iterations + 1)):
        done = iteration / iterations
        target = start * (density / start) ** done
        if linear:
            target = start - (start - density) * done
        found = _select(_signed(scorer(kept), inverted), target, scope, kept, fixed)
        kept = found.kept
    assert found is not None
    return found


def _mined(
    network: Network, score: GemMiner, weights: Weights, density: float, data: Data | None
) -> Selection:
    from tasks.pruning.gem_miner import mine

    if data is None:
        raise ValueError("gem_miner learns on data")
    return Selection(mine(network, weights, data, density, score).kept, 0)


# ---------------------------------------------------------------- selections


def _fixed_layers(network: Network, keep_dense: tuple[str, ...]) -> frozenset[str]:
    """Names of the tensors that are not pruned."""
    if not keep_dense:
        return frozenset()
    order = [layer.layer for layer in measure.dense_layers(network)]
    ends = {"first": order[0], "last": order[-1]}
    unknown = [name for name in keep_dense if name not in ends and name not in order]
    if unknown:
        raise ValueError(
            f"keep_dense takes first, last or a tensor's name, not {unknown[0]!r}; "
            f"{network.name} has {', '.join(order)}"
        )
    return frozenset(ends.get(name, name) for name in keep_dense)


def _quotas(network: Network, rates: tuple[LayerRate, ...], density: float) -> dict[str, int]:
    """Weights that each tensor keeps: by its own rate, else first or last, else its type's."""
    layers = measure.dense_layers(network)
    shapes = {name: tensor.dim() for name, tensor in build(network).named_parameters()}
    exponents = {rate.layer: rate.exponent for rate in rates}
    ends = {layers[0].layer: "first", layers[-1].layer: "last"}
    quotas: dict[str, int] = {}
    for layer in layers:
        kind = "linear" if shapes[layer.layer] == 2 else "conv"
        names = (layer.layer, ends.get(layer.layer, ""), kind)
        exponent = next((exponents[name] for name in names if name in exponents), 1.0)
        quotas[layer.layer] = round(density**exponent * layer.size)
    unknown = exponents.keys() - {"first", "last", "conv", "linear"} - quotas.keys()
    if unknown:
        raise ValueError(
            f"layer_rates take first, last, conv, linear or a tensor's name, not "
            f"{min(unknown)!r}; {network.name} has {', '.join(quotas)}"
        )
    return quotas


def _select(
    scores: Scores, density: float, scope: Scope, within: Kept | None, fixed: frozenset[str]
) -> Selection:
    if not fixed:
        return select(scores, density, scope=scope, within=within)
    free = {name: tensor for name, tensor in scores.items() if name not in fixed}
    size = sum(tensor.numel() for tensor in scores.values())
    freely = sum(tensor.numel() for tensor in free.values())
    left = round(density * size) - (size - freely)
    if left < 0:
        raise ValueError(
            f"keep_dense keeps {size - freely} weights, more than density {density:g} of {size}"
        )
    inside = None if within is None else {name: within[name] for name in free}
    found = select(free, left / freely if freely else 0.0, scope=scope, within=inside)
    whole = {name: torch.ones_like(scores[name], dtype=torch.bool) for name in fixed}
    return Selection({**found.kept, **whole}, found.ties)


def _blocks(scores: Scores, pattern: NofM) -> Selection:
    from tasks.pruning.n_of_m import n_of_m

    return Selection(n_of_m(scores, pattern.n, pattern.m)[0], 0)


def _units(
    network: Network,
    weights: Weights,
    density: float,
    scope: Scope,
    pattern: Units,
    inverted: bool,
) -> Selection:
    from tasks.pruning.structured import unit_mask

    if inverted:
        raise ValueError("units are not pruned in inverted order")
    return Selection(unit_mask(network, weights, density, pattern.norm, scope), 0)


def _density(kept: Kept) -> float:
    return masks.count(kept) / sum(t.numel() for t in kept.values())


def _signed(scores: Scores, inverted: bool) -> Scores:
    return {name: -tensor for name, tensor in scores.items()} if inverted else scores
