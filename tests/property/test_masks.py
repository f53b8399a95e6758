"""Selection and shuffling hold for any scores: exact counts, nesting, order of ties."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.masks import Kept, Scores, count, select, shuffle

# Few distinct values, so that ties at the threshold are the rule.
values = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, -1.0])


@st.composite
def scores(draw: st.DrawFn) -> Scores:
    sizes = draw(st.lists(st.integers(1, 30), min_size=1, max_size=4))
    return {
        f"layer{i}.weight": torch.tensor(draw(st.lists(values, min_size=n, max_size=n)))
        for i, n in enumerate(sizes)
    }


def size(tensors: Scores | Kept) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


@given(scores(), st.floats(0.0, 1.0))
def test_exactly_the_asked_number_is_kept(found: Scores, density: float) -> None:
    assert count(select(found, density).kept) == round(density * size(found))


@given(scores(), st.floats(0.0, 1.0))
def test_layerwise_keeps_the_asked_number_in_each_layer(found: Scores, density: float) -> None:
    kept = select(found, density, scope="layerwise").kept
    for name, tensor in found.items():
        assert int(kept[name].sum()) == round(density * tensor.numel())


@given(scores(), st.floats(0.0, 1.0))
def test_the_largest_pruned_is_at_most_the_smallest_kept(found: Scores, density: float) -> None:
    kept = select(found, density).kept
    taken = torch.cat([found[name][kept[name]] for name in found])
    left = torch.cat([found[name][~kept[name]] for name in found])
    if len(taken) and len(left):
        assert left.max() <= taken.min()


@given(scores(), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.randoms(use_true_random=False))
def test_masks_within_masks_are_nested(
    found: Scores, first: float, second: float, order: object
) -> None:
    above = select(found, max(first, second)).kept
    rescored = {name: tensor.flip(0) for name, tensor in found.items()}
    below = select(rescored, min(first, second), within=above).kept
    assert count(below) == round(min(first, second) * size(found))
    assert all(not (below[name] & ~above[name]).any() for name in found)


@given(scores(), st.floats(0.0, 1.0))
def test_ties_go_to_the_lower_index_of_the_earlier_tensor(found: Scores, density: float) -> None:
    flat = torch.cat([found[name] for name in sorted(found)])
    order = sorted(range(len(flat)), key=lambda i: (-float(flat[i]), i))
    chosen = set(order[: round(density * len(flat))])
    kept = select(found, density).kept
    flat_kept = torch.cat([kept[name] for name in sorted(kept)])
    assert {i for i in range(len(flat)) if flat_kept[i]} == chosen


@given(scores(), st.floats(0.0, 1.0), st.integers(0, 5))
def test_shuffling_keeps_the_number_in_each_layer_and_in_all(
    found: Scores, density: float, seed: int
) -> None:
    kept = select(found, density).kept
    layerwise = shuffle(kept, seed, "layerwise")
    assert {n: int(t.sum()) for n, t in layerwise.items()} == {
        n: int(t.sum()) for n, t in kept.items()
    }
    assert count(shuffle(kept, seed, "global")) == count(kept)
