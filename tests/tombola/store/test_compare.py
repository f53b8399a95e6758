"""Comparison of two results with one key: where they differ."""

from typing import Any

import pytest

from tombola.store.compare import compared, differences

RUN: dict[str, Any] = {
    "key": "k",
    "kind": "run",
    "density": 0.5,
    "kept": 5,
    "evals": [
        {"step": 4, "split": "test", "loss": 1.0, "accuracy": 0.5, "top5": None},
        {"step": 12, "split": "test", "loss": 0.5, "accuracy": 0.9, "top5": None},
    ],
}


def changed(step: int, **changes: float) -> dict[str, Any]:
    evals = [{**e, **(changes if e["step"] == step else {})} for e in RUN["evals"]]
    return {**RUN, "evals": evals}


def test_equal_results_part_nowhere() -> None:
    assert differences(RUN, dict(RUN)) == []
    assert {one.field for one in compared(RUN, RUN)} >= {"loss", "accuracy", "kept", "density"}
    assert "key" not in {one.field for one in compared(RUN, RUN)}


def test_the_first_step_that_differs_is_named_first() -> None:
    other = {**changed(12, loss=0.6), "kept": 6}
    assert [str(one) for one in differences(RUN, other)] == [
        "loss of step 12, test: 0.5 and 0.6",
        "kept: 5 and 6",
    ]


def test_not_a_number_is_equal_to_itself_alone() -> None:
    assert differences(changed(4, loss=float("nan")), changed(4, loss=float("nan"))) == []
    assert len(differences(changed(4, loss=float("nan")), RUN)) == 1


def test_an_evaluation_that_one_does_not_have_is_a_difference() -> None:
    shorter = {**RUN, "evals": RUN["evals"][:1]}
    assert [one.place for one in differences(RUN, shorter)] == ["step 12, test"] * 2


@pytest.mark.parametrize("first", [True, False])
def test_what_only_a_later_version_says_is_no_difference(first: bool) -> None:
    later = {**changed(4, top5=0.8), "distance": 1.5}
    assert differences(*((RUN, later) if first else (later, RUN))) == []
    assert len(differences(later, {**later, "distance": 1.6})) == 1


def test_layers_and_measurements_are_told_apart_by_name() -> None:
    layers = [{"position": i, "layer": f"{i}.weight", "kept": i} for i in range(3)]
    other = [*layers[:2], {**layers[2], "kept": 9}]
    assert [one.place for one in differences({"layers": layers}, {"layers": other[::-1]})] == [
        "2.weight"
    ]
    barrier = {"name": "error", "split": "test", "alpha": 0.5, "layer": None, "value": 0.1}
    rows = [{"measurements": [barrier]}, {"measurements": [{**barrier, "value": 0.2}]}]
    assert str(differences(*rows)[0]) == "value of error, test, alpha 0.5: 0.1 and 0.2"


def test_losses_added_up_in_another_order_may_differ_by_rounding_alone() -> None:
    near, far = changed(12, loss=0.5 * (1 + 3e-6)), changed(12, loss=0.5 * (1 + 1e-3))
    assert [one.field for one in differences(RUN, near)] == ["loss"]
    assert differences(RUN, {**near, "evaluation": 2}) == []
    assert [one.field for one in differences(RUN, {**far, "evaluation": 2})] == ["loss"]
    hits = {**changed(12, accuracy=0.9 + 1e-6), "evaluation": 2}
    assert [one.field for one in differences(RUN, hits)] == ["accuracy"]
