"""Keys: equal for equal expressions, different for any change of meaning."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.values.key import SIGNIFICANT_DIGITS, Record, Ref, changed, decode, parse, varying
from tasks.values.records import Mask, Run, State, at, prune
from tasks.values.replicates import reseeded
from tasks.values.scores import (
    Examples,
    Grasp,
    Inverted,
    LayerRate,
    Magnitude,
    Random,
    Shuffled,
    Snip,
    Synflow,
)
from tasks.values.training import Constant, Cosine, Dataset, Init, Network, Recipe, StepDecay

NETWORK = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)
DIGITS = Dataset(name="digits")
seeds = st.integers(0, 2**40)
schedules = st.one_of(
    st.just(Constant()),
    st.just(Cosine()),
    st.builds(
        StepDecay,
        at=st.sets(st.integers(1, 90), min_size=1, max_size=3).map(sorted),
        factor=st.floats(0.01, 0.9),
    ),
)
recipes = st.builds(
    Recipe,
    steps=st.integers(100, 1000),
    batch_size=st.integers(1, 512),
    lr=st.floats(1e-6, 10),
    evaluate_every=st.integers(1, 100),
    momentum=st.floats(0.1, 0.99),
    nesterov=st.booleans(),
    weight_decay=st.floats(0, 0.1).map(abs),
    schedule=schedules,
    warmup=st.integers(0, 50),
)
inits = st.builds(
    Init,
    seed=seeds,
    weights=st.sampled_from(["kaiming_normal", "glorot_normal"]),
    batch_norm=st.sampled_from(["ones", "uniform"]),
)
examples = st.builds(Examples, dataset=st.just(DIGITS), seed=seeds, per_class=st.integers(1, 20))
scores = st.one_of(
    st.builds(Random, seed=seeds),
    st.just(Magnitude()),
    st.builds(Snip, examples=examples, batch_norm=st.sampled_from(["train", "eval"])),
    st.builds(Grasp, examples=examples, temperature=st.floats(1, 500)),
    st.builds(Synflow, iterations=st.integers(1, 100)),
)
ablations = st.one_of(st.none(), st.just(Inverted()), st.builds(Shuffled, seed=seeds))
dense_runs = st.builds(
    Run,
    network=st.just(NETWORK),
    dataset=st.just(DIGITS),
    recipe=recipes,
    start=inits,
    order_seed=seeds,
)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    run = draw(dense_runs)
    of = at(run, draw(st.integers(0, run.recipe.steps)))
    density = draw(st.floats(0.001, 0.999))
    mask = prune(NETWORK, draw(scores), of=of, density=density, ablation=draw(ablations))
    assert mask is not None
    return mask


def rebuilt(value: Any, by: int = 0) -> Any:
    """Build the same expression again from its parts, its seeds raised by a number."""
    fields = {n: v for n, v in value.__dict__.items() if n not in ("key", "_written")}
    anew = {n: rebuilt(v, by) if hasattr(v, "canonical") else v for n, v in fields.items()}
    seeds = {n: v + by for n, v in fields.items() if n in ("seed", "order_seed")}
    return type(value)(**dict(reversed({**anew, **seeds}.items())))


@given(st.one_of(dense_runs, masks()))
def test_an_expression_built_twice_is_one_value(value: Any) -> None:
    again = rebuilt(value)
    assert again == value
    assert hash(again) == hash(value)
    assert repr(again) == repr(value)


@given(
    st.one_of(st.lists(masks(), min_size=2, max_size=2), st.lists(recipes, min_size=2, max_size=2)),
    st.data(),
)
def test_a_record_made_from_another_is_the_one_made_anew(
    pair: list[Any], data: st.DataObject
) -> None:
    one, other = pair
    fields = [n for n in one.__dict__ if n not in ("key", "_written")]
    names = data.draw(st.lists(st.sampled_from(fields), unique=True, min_size=1))
    values = {n: getattr(other, n) for n in names}
    try:
        anew = replace(one, **values)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            changed(one, **values)
        with pytest.raises(ValueError, match=re.escape(str(error))):
            varying(one, *names)(*values.values())
        return
    for made in (changed(one, **values), varying(one, *names)(*values.values())):
        assert made.__dict__ == anew.__dict__
        assert made.canonical == anew.canonical


@given(st.lists(st.one_of(masks(), dense_runs, schedules), max_size=3), st.integers(-5, 2**40))
def test_reseeded_expressions_are_those_made_anew_with_other_seeds(
    records: list[Any], by: int
) -> None:
    made = reseeded(records)(by)
    for one, anew in zip(made, [rebuilt(one, by) for one in records], strict=True):
        assert one.__dict__ == anew.__dict__
        assert one.canonical == anew.canonical
        assert type(one) is type(anew)


def test_every_seed_is_known_as_one_and_no_seed_is_in_a_tuple() -> None:
    fields = {kind: set(cls.__dataclass_fields__) for kind, cls in Record.kinds.items()}
    named = {kind: {n for n in names if n.endswith("seed")} for kind, names in fields.items()}
    assert {kind: set(cls.seeds) for kind, cls in Record.kinds.items()} == named
    rate = LayerRate(layer="first", exponent=1)
    score, start = Magnitude(), Init(seed=3)
    mask = prune(NETWORK, score, of=start, density=0.5, scope="layerwise", rates=(rate,))
    assert reseeded([mask])(1) == [rebuilt(mask, 1)]
    object.__setattr__(mask, "rates", (Init(seed=9),))
    with pytest.raises(TypeError, match=r"mask\.rates: records with seeds do not stand in a tuple"):
        reseeded([mask])


def test_a_record_made_from_another_has_no_other_fields() -> None:
    with pytest.raises(TypeError, match="init has no size"):
        changed(Init(seed=0), size=3)
    with pytest.raises(TypeError, match="init has no size"):
        varying(Init(seed=0), "seed", "size")


@given(st.one_of(recipes, inits, scores))
def test_written_out_values_decode_to_themselves(value: Any) -> None:
    import json

    assert decode(json.loads(value.canonical)) == value


@given(recipes, st.sampled_from(["steps", "batch_size", "lr", "evaluate_every", "warmup"]))
def test_any_change_of_a_recipe_changes_the_key(recipe: Recipe, name: str) -> None:
    run = Run(network=NETWORK, dataset=DIGITS, recipe=recipe, start=Init(seed=0), order_seed=0)
    changed = replace(run, recipe=replace(recipe, **{name: getattr(recipe, name) + 1}))
    assert changed.key != run.key


@given(masks(), masks())
def test_different_masks_have_different_keys(one: Mask, other: Mask) -> None:
    assert (one.key == other.key) == (one.canonical == other.canonical)


@given(st.floats(1e-9, 1e9), st.floats(-1e-14, 1e-14))
def test_floats_count_to_twelve_digits(lr: float, noise: float) -> None:
    rounded = float(f"{lr:.{SIGNIFICANT_DIGITS}g}")
    recipe = Recipe(steps=1, batch_size=1, lr=rounded, evaluate_every=1)
    assert replace(recipe, lr=f"{rounded * (1 + noise):.30g}") == recipe


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.0, True, "fast", None, [0.1]])
def test_what_is_no_number_is_refused_where_the_value_is_made(value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="lr takes"):
        Recipe(steps=1, batch_size=1, lr=value, evaluate_every=1)


@pytest.mark.parametrize("value", [1.5, "1.5", True, "many"])
def test_what_is_no_integer_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="steps takes"):
        Recipe(steps=value, batch_size=1, lr=1, evaluate_every=1)


def run_of(**changes: Any) -> Run:
    recipe = Recipe(steps=100, batch_size=1, lr=1, evaluate_every=1)
    fields = {"network": NETWORK, "dataset": DIGITS, "recipe": recipe, "order_seed": 0}
    return Run(**{**fields, "start": Init(seed=0), **changes})


@given(scores, seeds)
def test_equal_work_is_folded(score: Any, seed: int) -> None:
    run = run_of(start=Init(seed=seed))
    assert at(run, 0) == Init(seed=seed)
    assert prune(NETWORK, score, of=at(run, 0), density=1.0) is None
    one = prune(NETWORK, Random(seed=seed), of=at(run, 50), density=0.5, ablation=Shuffled(seed=1))
    other = prune(NETWORK, Random(seed=seed), of=Init(seed=9), density=0.5)
    assert one == other


def test_impossible_values_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="state of this run takes step 1 to 100"):
        State(run=run_of(), step=101)
    with pytest.raises(ValueError, match="density takes a number above 0 and below 1"):
        prune(NETWORK, Magnitude(), of=Init(seed=0), density=0)
    half = prune(NETWORK, Magnitude(), of=Init(seed=0), density=0.5)
    with pytest.raises(ValueError, match=r"density takes at most 0\.5"):
        prune(NETWORK, Magnitude(), of=Init(seed=0), density=0.6, within=half)
    other = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
    with pytest.raises(ValueError, match="belong"):
        run_of(network=other, mask=half)


def test_a_decoded_value_has_references_for_what_has_results_of_its_own() -> None:
    network = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
    recipe = Recipe(steps=10, batch_size=4, lr=0.1, evaluate_every=5)
    dense = Run(
        network=network,
        dataset=Dataset(name="digits"),
        recipe=recipe,
        start=Init(seed=0),
        order_seed=0,
    )
    mask = prune(network, Magnitude(), of=at(dense, 10), density=0.5)
    assert mask is not None
    run = changed(dense, start=at(dense, 5), mask=mask, first_step=5)

    again = parse(run.canonical)

    assert again == run
    assert again.canonical == run.canonical
    assert (again.network, again.recipe, again.first_step) == (network, recipe, 5)
    assert again.mask == Ref(mask.key)
    assert again.start.run == Ref(dense.key)
    assert parse(mask.canonical).keep_dense == ()  # left out of the text
    with pytest.raises(AttributeError, match=f"density of {mask.key[:12]} is not known here"):
        _ = again.mask.density
    with pytest.raises(ValueError, match="64 digits"):
        Ref("../../etc/passwd")
