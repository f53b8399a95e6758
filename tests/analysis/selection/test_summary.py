"""The table at the end of a launch: means over replicates, and never over settings."""

from typing import Any

import duckdb
import pytest

from analysis.selection.selection import COLUMNS
from analysis.selection.summary import Summary, summary
from tombola.store.settings import RECIPE, SETTING

SAME: dict[str, Any] = {
    **dict.fromkeys(COLUMNS),
    "status": "done",
    "network": "lenet_300_100",
    "dataset": "digits",
    "ablation": "none",
    "requested_density": 0.5,
    "method": "random",
    "options": "{}",
    "lr": 0.1,
}


def summed(rows: list[dict[str, Any]]) -> Summary:
    connection = duckdb.connect()
    columns = ", ".join(f'"{n}" {_type(n)}' for n in ("sweep", *COLUMNS))
    connection.execute(f"CREATE TABLE trials ({columns})")
    for trial, row in enumerate(rows):
        whole = {"sweep": "s", **SAME, "trial": trial, "run_key": f"run {trial}", **row}
        places = ", ".join("?" * len(whole))
        names = ", ".join(f'"{name}"' for name in whole)
        connection.execute(f"INSERT INTO trials ({names}) VALUES ({places})", [*whole.values()])
    return summary(connection, "s")


def _type(name: str) -> str:
    if name in {"trial", "replicate", "grid", "prune_step", "rewind_step", "steps", "batch_size"}:
        return "INT"
    return "DOUBLE" if name in NUMBERS else "VARCHAR"


NUMBERS = {
    *("accuracy", "requested_density", "lr", "momentum", "weight_decay", "label_smoothing"),
    *("prune_fraction", "width", "validation", "warmup", "rescale_steps"),
}

OTHER: dict[str, Any] = {
    **dict.fromkeys(SETTING, "another"),
    **dict.fromkeys(sorted(NUMBERS & set(SETTING)), 7.0),
    **dict.fromkeys(("prune_step", "rewind_step", "steps", "batch_size"), 7),
    "options": '{"m": 8}',
    "nesterov": "true",
}


@pytest.mark.parametrize("column", [*SETTING, "network", "dataset"])
@pytest.mark.parametrize("method", ["random", "n_of_m_after_training", "own:score", "dense"])
def test_two_settings_are_two_lines_whatever_sets_them_apart(column: str, method: str) -> None:
    if method == "dense" and column not in {*RECIPE, "network", "dataset"}:
        return
    changed = {column: OTHER.get(column, "another")}
    found = summed(
        [
            {"method": method, "accuracy": 0.9, "replicate": 0},
            {"method": method, "accuracy": 0.7, "replicate": 1},
            {"method": method, "accuracy": 0.1, "replicate": 0, **changed},
        ]
    )
    means = [line[0.5] for line in found.lines.values()]
    assert sorted(means) == pytest.approx([10, 80])


def test_settings_that_no_column_names_are_told_apart_by_their_grid() -> None:
    found = summed([{"accuracy": 0.9, "grid": 0}, {"accuracy": 0.1, "grid": 1}])
    assert [line[0.5] for line in found.lines.values()] == pytest.approx([90, 10])
    assert found.headings == ("network", "method", "setting", "ablation")


def test_what_does_not_differ_is_no_column() -> None:
    found = summed([{"accuracy": 0.9}, {"accuracy": None, "status": "pending", "replicate": 1}])
    assert found.headings == ("network", "method", "ablation")
    assert found.lines == {("lenet_300_100", "random", "none"): {0.5: pytest.approx(90)}}
    assert (found.done, found.total) == (1, 2)


def test_what_is_not_done_is_none_and_what_was_not_asked_is_not_there() -> None:
    found = summed(
        [
            {"accuracy": None, "status": "pending"},
            {"accuracy": 0.8, "requested_density": 0.25, "ablation": "shuffle"},
        ]
    )
    assert found.densities == (0.5, 0.25)
    assert list(found.lines.values()) == [{0.5: None}, {0.25: pytest.approx(80)}]


def test_many_densities_are_spread_evenly() -> None:
    densities = [0.8**n for n in range(30)]
    found = summed([{"accuracy": 0.5, "requested_density": d} for d in densities])
    assert len(found.densities) <= 9
    assert found.densities[0] == 1
    assert found.densities[-1] == pytest.approx(densities[-1])
