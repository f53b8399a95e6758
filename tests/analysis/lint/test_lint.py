"""The reporting checklist: what each rule accepts, and its message for what it does not accept."""

from pathlib import Path
from typing import Any

import pytest

from analysis import lint as checking
from analysis.database.connection import connect
from analysis.lint import Finding
from analysis.lint.rules import POINTS, RULES
from tests.support.build_store import Study, key_of, trial, write_sweep
from tombola.errors import StoreError

PAIRS, OPERATING, SIZES, TOPS, DENSE, RANDOM, MAGNITUDE, REPLICATES, *_ = RULES
*_, SPREAD, VALIDATION, RECIPE, START, STATED, DONE, DIVERGED = RULES


def linted(store: Path, sweep: str = "study") -> dict[str, Finding]:
    with connect(store) as connection:
        return {found.rule: found for found in checking.lint(connection, sweep)}


def study(**changes: Any) -> Study:
    densities = [2.0**-n for n in range(1, POINTS + 1)]
    return Study(lambda _: 0.9, **{"densities": densities, **changes})


def test_every_rule_has_an_answer_and_a_sentence(tmp_path: Path) -> None:
    study().write(tmp_path)
    found = linted(tmp_path)
    assert list(found) == list(RULES)
    for finding in found.values():
        assert finding.evidence.endswith(".")
        assert finding.outcome == ("ok" if finding.answer == "yes" else "warning")


def test_a_sweep_that_has_not_run_leaves_the_checklist_unanswered(tmp_path: Path) -> None:
    write_sweep(tmp_path, "study", [trial(key_of("run"))])
    found = linted(tmp_path)
    assert found.pop(DONE).evidence == "0 of 1 trials are done."
    assert {finding.outcome for finding in found.values()} == {"not answered"}


def test_a_sweep_that_the_store_does_not_know_is_refused(tmp_path: Path) -> None:
    study().write(tmp_path)
    with pytest.raises(StoreError, match="no sweep 'other'; it has study"):
        linted(tmp_path, "other")


@pytest.mark.parametrize(
    ("rule", "changes", "answer", "says"),
    [
        (PAIRS, {"networks": ["a", "b", "c"]}, "yes", "3 pairs: a on digits, b on digits, c on"),
        (PAIRS, {"networks": ["a", "b"]}, "partly", "2 pairs"),
        (PAIRS, {}, "no", "1 pair: lenet_300_100 on digits"),
        (OPERATING, {}, "yes", "At least 5 points on each of 1 curve; 1 of them reach 32×"),
        (OPERATING, {"densities": [0.5, 0.4, 0.3, 0.2, 0.1]}, "partly", "the farthest 10×"),
        (OPERATING, {"densities": [0.5]}, "no", "At least 1 point on"),
        (DENSE, {}, "yes", "15 of 15"),
        (TOPS, {}, "no", "0 of 15"),
        (RANDOM, {"methods": ["random", "snip"]}, "partly", "(shuffled): no"),
        (
            RANDOM,
            {"methods": ["random", "snip"], "ablations": ["none", "shuffle"]},
            "yes",
            "(shuffled): yes",
        ),
        (RANDOM, {}, "no", "Random over the whole network: no"),
        (
            MAGNITUDE,
            {"of_method": {"magnitude": [{"scope": "global"}, {"scope": "layerwise"}]}},
            "yes",
            "layer by layer: yes",
        ),
        (MAGNITUDE, {}, "partly", "Magnitude with one threshold: yes"),
        (REPLICATES, {}, "yes", "n = 3 at 5 points"),
        (REPLICATES, {"replicates": [0, 1]}, "partly", "n = 2"),
        (REPLICATES, {"replicates": [0]}, "no", "n = 1"),
        (SPREAD, {"replicates": [0]}, "no", "0 of 5 points"),
        (VALIDATION, {}, "no", "eval: [train, val, test]"),
        (RECIPE, {"methods": ["snip", "random"]}, "yes", "same recipes"),
        (
            RECIPE,
            {"methods": ["snip", "random"], "of_method": {"random": [{"lr": 0.2}]}},
            "no",
            "different recipes in lenet_300_100 on digits",
        ),
        (
            RECIPE,
            {
                "methods": ["snip", "imp"],
                "of_method": {"snip": [{"finetune": "1 iterations"}, {"finetune": "2 iterations"}]},
            },
            "partly",
            "fine-tuning is not: 1 iterations, 2 iterations",
        ),
        (
            START,
            {
                "methods": ["snip", "random"],
                "of_method": {"snip": [{"init_seed": 0}], "random": [{"init_seed": 1}]},
            },
            "no",
            "0 of 3 replicates",
        ),
        (STATED, {}, "partly", "Code abc123"),
        (DONE, {}, "yes", "18 of 18"),
        (DIVERGED, {}, "yes", "0 of 15 trained trials diverged"),
    ],
)
def test_a_rule(rule: str, changes: dict[str, Any], answer: str, says: str, tmp_path: Path) -> None:
    if rule == MAGNITUDE:
        changes = {"methods": ["magnitude"], **changes}
    study(**changes).write(tmp_path)
    finding = linted(tmp_path)[rule]
    assert (finding.answer, says in finding.evidence) == (answer, True), finding


def test_a_diverged_run_is_told(tmp_path: Path) -> None:
    from tests.support.build_store import mask_row, run_row, write_live

    run, mask = key_of("run"), key_of("mask")
    write_sweep(tmp_path, "study", [trial(run, mask_key=mask)])
    write_live(tmp_path, run_row(run, density=0.5, diverged_at=3, flops=10, kept_flops=5))
    write_live(tmp_path, mask_row(mask, 0.5))
    found = linted(tmp_path)
    assert (found[DIVERGED].answer, found[SIZES].answer) == ("partly", "yes")
    assert found[DIVERGED].evidence == "1 of 1 trained trial diverged."
