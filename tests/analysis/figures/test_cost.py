"""Costs of trials: what they depend on, how shared work is divided, and the figures of costs."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis import figures
from analysis.database.connection import connect
from analysis.figures import costing
from tests.support.build_store import Row, key_of, mask_row, note, run_row, trial, write_segment
from tests.support.build_store import write_sweep as register
from tombola.errors import FigureError

DENSE, MASK, TICKET, LEARNT, MINED = (key_of(n) for n in ("d", "m", "t", "l", "g"))
BEGAN = datetime.fromisoformat("2026-01-01")


def value(**fields: Any) -> str:
    return json.dumps(fields)


def row(of: Row, start: float, seconds: float, worker: str = "vm:1", **changes: Any) -> Row:
    """Build a result that a worker computed from `start` (s) on, in launch L1."""
    began = BEGAN + timedelta(seconds=start)
    more = {"launch": "L1", "worker": worker, "device": "cpu", "flops": 1000, **changes}
    return {**of, "started_at": began, "seconds": seconds, **more}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Build a dense run of 10 s, a magnitude ticket rewound to step 40, and a learned mask."""
    trials = [
        trial(DENSE, method="dense", requested_density=1.0, dense_key=DENSE),
        trial(TICKET, method="imp", mask_key=MASK, dense_key=DENSE),
        trial(MINED, method="gem_miner", mask_key=LEARNT, dense_key=DENSE),
    ]
    register(tmp_path, "study", trials)
    learnt = value(score={"kind": "gem_miner", "steps": 500})
    of_dense = value(of={"run": DENSE, "step": 100}, within=None)
    rewound = value(start={"run": DENSE, "step": 40}, mask=MASK)
    rows = [
        row(run_row(DENSE, 0.9), 0, 10, kept_flops=1000),
        row(mask_row(MASK, 0.5, [50]), 10, 1, value=of_dense),
        row(run_row(TICKET, 0.8, 0.5, first_step=40), 11, 6, value=rewound, kept_flops=400),
        row(mask_row(LEARNT, 0.5, [50]), 0, 30, "vm:2", value=learnt),
        row(run_row(MINED, 0.7, 0.5), 30, 10, "vm:2", value=value(mask=LEARNT), kept_flops=500),
    ]
    write_segment(tmp_path, "a", rows)
    return tmp_path


def test_a_trial_stands_on_all_that_a_script_would_compute_for_it_alone(store: Path) -> None:
    each = "SELECT trial, sum(iterations), sum(seconds) FROM stands_on('study')"
    rows = connect(store).execute(f"{each} GROUP BY ALL ORDER BY ALL").fetchall()
    assert rows == [(0, 100, 10.0), (1, 160, 17.0), (2, 600, 40.0)]


def test_a_run_that_lends_its_weights_early_counts_up_to_there(store: Path) -> None:
    other = trial(key_of("early"), method="snip", trial=3)
    register(store, "study", [other], revision="r2", registered_at="2027-01-01")
    early = value(start={"run": DENSE, "step": 40}, mask=None)
    write_segment(store, "b", [row(run_row(key_of("early"), first_step=40), 0, 6, value=early)])
    asked = "SELECT key, iterations, seconds FROM stands_on('study')"
    found = {key: rest for key, *rest in connect(store).execute(asked).fetchall()}
    assert found == {key_of("early"): [60, 6.0], DENSE: [40, 4.0]}


def test_the_ledger_adds_up_to_what_was_spent(store: Path) -> None:
    asked = (
        "SELECT method, 3600 * hours, 3600 * alone_hours, 3600 * saved_hours FROM ledger('study')"
    )
    with connect(store) as connection:
        found = {method: rest for method, *rest in connection.execute(asked).fetchall()}
        [(spent,)] = connection.execute("SELECT sum(seconds) FROM tasks").fetchall()
    assert found["dense"] == pytest.approx([5, 10, 5]), "half of the run that two trials need"
    assert found["imp"] == pytest.approx([12, 17, 5])
    assert found["gem_miner"] == pytest.approx([40, 40, 0])
    assert sum(hours for hours, *_ in found.values()) == pytest.approx(spent)


def test_what_a_gang_took_counts_for_each_of_its_gpus(store: Path) -> None:
    register(store, "big", [trial(key_of("big"), dense_key=key_of("big"))])
    write_segment(store, "b", [row(run_row(key_of("big")), 0, 6, gang=4, value=value())])
    asked = "SELECT 3600 * hours, 3600 * alone_hours FROM ledger('big')"
    with connect(store) as connection:
        assert connection.execute(asked).fetchall() == [pytest.approx((24, 24))]


def test_figures_share_what_is_behind_the_trials_that_they_draw(store: Path) -> None:
    drawn = {"tickets": [DENSE, TICKET], "mined": [DENSE, MINED]}
    with connect(store) as connection:
        found = costing.by_figure(connection, "study", drawn).to_pylist()
    tickets, mined, both = ([3600 * v for k, v in r.items() if "hours" in k] for r in found)
    assert [row["figure"] for row in found] == ["tickets", "mined", "all together"]
    assert [row["trials"] for row in found] == [2, 2, 3]
    assert [row["tasks"] for row in found] == [3, 3, 5]
    assert tickets == pytest.approx([17, 7, 27, 10])
    assert mined == pytest.approx([50, 40, 50, 0])
    assert both == pytest.approx([57, 47, 67, 10]), "the dense run once"


@pytest.mark.parametrize(
    ("unit", "costs", "axis"),
    [
        ("iterations", {"Dense": 100, "IMP": 160, "Gem-Miner": 600}, "Training iterations"),
        ("seconds", {"Dense": 10, "IMP": 17, "Gem-Miner": 40}, "CPU seconds"),
    ],
)
def test_the_figure_shows_accuracy_against_the_whole_cost(
    store: Path, unit: str, costs: dict[str, float], axis: str
) -> None:
    with connect(store) as connection:
        facts = figures.select(connection, "study", "cost", {"unit": unit})
    [cell] = facts.cells
    assert {p.label: p.cost for p in cell.points} == pytest.approx(costs)
    assert {p.label: p.shown.centre for p in cell.points} == pytest.approx(
        {"Dense": 90, "IMP": 80, "Gem-Miner": 70}
    )
    assert facts.unit == axis
    with connect(store) as connection, pytest.raises(FigureError, match="unit takes"):
        figures.select(connection, "study", "cost", {"unit": "dollars"})


def test_the_pareto_front_is_what_nothing_else_beats(store: Path) -> None:
    with connect(store) as connection:
        [panel] = figures.select(connection, "study", "pareto", {}).panels
    found = {one.label: (one.points[0].work, one.points[0].best) for one in panel.curves}
    assert found == {"Dense": (100, True), "IMP": (40, True), "Gem-Miner": (50, False)}
    assert "(% of 1k)" in panel.work
    with connect(store) as connection, pytest.raises(FigureError, match="measure: latency"):
        figures.select(connection, "study", "pareto", {"against": "latency"})


def test_the_timeline_shows_who_was_busy_when(store: Path) -> None:
    retried = {"event": "retried", "key": MASK, "kind": "mask", "worker": "vm:1", "seconds": 3.0}
    note(store, {**retried, "noted_at": (BEGAN + timedelta(seconds=21)).isoformat()})
    with connect(store) as connection:
        facts = figures.select(connection, "study", "timeline", {})
        with pytest.raises(FigureError, match="in launch L2; it has L1"):
            figures.select(connection, "study", "timeline", {"launch": "L2"})
    one, two = facts.lanes
    assert one.busy == {"run": ((0, 10), (11, 17)), "mask": ((10, 11),), "failed": ((18, 21),)}
    assert two.busy == {"mask": ((0, 30),), "run": ((30, 40),)}
    assert facts.seconds == 40
    assert facts.utilisation[0] == 1
    assert facts.utilisation[-1] == pytest.approx(0.5), "the second worker alone at the end"
    assert sum(facts.utilisation) / len(facts.utilisation) == pytest.approx(60 / 80)
    assert "5 tasks in 40 s on 2 workers, busy 75 % of the time. 1 attempts failed" in facts.note
