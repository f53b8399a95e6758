"""Progress and forecast of a launch, over invented histories and recorded ones."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean
from typing import NamedTuple

import pytest

from orchestrator.node.pack import REPORT_SECONDS
from orchestrator.planning.cost import Costs, graph
from orchestrator.planning.planner import Nothing, Plan, plan
from orchestrator.running import study
from orchestrator.running.progress import (
    WATCHED_SECONDS,
    WATCHED_SHARE,
    Pace,
    Snapshot,
    Tracker,
    sentence,
)
from orchestrator.scheduling.graph import Graph
from orchestrator.scheduling.simulate import simulate
from tests.support.small import write_sweep

STORIES = sorted((Path(__file__).parent / "stories").glob("*.json"))


class Moment(NamedTuple):
    """A time, the work done and left by then, running tasks, and the longest path left."""

    at: float
    paid: float
    running: int
    work: float
    path: float


class Forecast(NamedTuple):
    at: float
    least: float
    most: float


def forecasts(story: list[Moment]) -> list[Forecast]:
    pace, told = Pace(), []
    for now in story:
        pace.note(now.at, now.paid, now.running)
        if left := pace.left(now.work, now.path):
            told.append(Forecast(now.at, *left))
    return told


def made_up(tasks: Graph, workers: int, slower: float, start: float) -> list[Moment]:
    """Yield 300 moments of a launch that is slower than planned and begins late."""
    spans = [
        (one.key, start + slower * one.start, start + slower * one.end)
        for one in simulate(tasks, workers).intervals
    ]
    end = max(stop for _, _, stop in spans)
    story = []
    for at in (end * tick / 300 for tick in range(301)):
        shares = {key: share(at, begun, stop) for key, begun, stop in spans}
        running = sum(begun <= at < stop for _, begun, stop in spans)
        paid = sum(tasks.nodes[key].seconds * done for key, done in shares.items())
        path = max(
            (
                tasks.remaining[key] - tasks.nodes[key].seconds * done
                for key, done in shares.items()
                if done < 1
            ),
            default=0.0,
        )
        story.append(Moment(at, paid, running, tasks.work - paid, path))
    return story


def share(at: float, begun: float, stop: float) -> float:
    """Return the share of a task that is reported as done: long tasks report their step."""
    if at >= stop or at < begun:
        return float(at >= stop)
    return (at - begun) / (stop - begun) if stop - begun > REPORT_SECONDS else 0.0


LEVELS = {
    "many short tasks": {"replicates": 20},
    "one chain": {"grids": [{"method": "imp", "levels": [60]}]},
    "chains and leaves": {
        "replicates": 6,
        "grids": [{"method": "imp", "levels": [30]}, {"method": "snip", "levels": "1..20"}],
    },
}


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("slower", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("kind", LEVELS)
def test_what_is_foretold_is_right_however_wrong_the_plan_was(
    kind: str, slower: float, workers: int, tmp_path: Path
) -> None:
    recipe = {"steps": 2000, "batch_size": 64, "lr": 0.1}
    asked = study.read(write_sweep(tmp_path, recipe=recipe, **LEVELS[kind]))
    tasks = graph(plan(asked.trials, Nothing()), Costs())
    story = made_up(tasks, workers, slower, start=12.0)
    told = forecasts(story)
    end = story[-1].at
    assert told or end < 12 + 3 * WATCHED_SECONDS
    for least, most, left in ((one.least, one.most, end - one.at) for one in told):
        assert least / 1.6 - 2 <= left <= 1.6 * most + 2


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_of_launches_that_were_recorded_it_foretells_the_end(path: Path) -> None:
    """Times were recorded on a machine with two cores and other work."""
    recorded = json.loads(path.read_text())
    story = [Moment(*numbers) for numbers in recorded["moments"]]
    told, end = forecasts(story), recorded["end"]
    began = next(one.at for one in story if one.paid)
    assert all(one.at >= began + WATCHED_SECONDS for one in told)
    assert told[0].at <= story[0].at + 0.2 * (end - story[0].at)
    off = [factor(one, max(3.0, end - one.at)) for one in told]
    assert geometric_mean(off) < 1.5
    assert max(off) < 4, "it was 40"


def factor(one: Forecast, left: float) -> float:
    """Return by which factor the true remaining time lies outside the forecast interval."""
    return max(1.0, left / one.most, one.least / left)


def test_nothing_is_foretold_before_enough_was_seen() -> None:
    pace = Pace()
    assert pace.left(100.0, 1.0) is None
    for second in range(500):
        pace.note(float(second), 0.0, 2)  # a cluster starts
        assert pace.left(100.0, 1.0) is None
    pace.note(500.0, 1.0, 2)
    assert pace.left(99.0, 1.0) is None
    pace.note(500.0 + WATCHED_SECONDS, 1.0 + 100 * WATCHED_SHARE - 0.1, 2)
    assert pace.left(94.1, 1.0) is None
    pace.note(501.0 + WATCHED_SECONDS, 1.0 + 100 * WATCHED_SHARE, 2)
    assert pace.left(94.0, 1.0)


def test_after_two_minutes_any_share_will_do_and_a_standstill_never_ends() -> None:
    pace = Pace()
    for second in range(121):
        pace.note(float(second), 1.0 + second / 100, 2)
    least, most = pace.left(10_000.0, 1.0) or (0.0, 0.0)
    assert least == pytest.approx(1e6, rel=0.01)
    for second in range(121, 400):
        pace.note(float(second), 2.2, 2)
    least, most = pace.left(10_000.0, 1.0) or (0.0, 0.0)
    assert most > 3e6


def test_the_rest_of_a_chain_is_not_shared_among_workers() -> None:
    pace = Pace()
    for second in range(60):
        pace.note(float(second), 4.0 * second + 1, 4)
    least, most = pace.left(50.0, 50.0) or (0.0, 0.0)
    assert (least, most) == pytest.approx((50.0, 50.0), rel=0.05)


# ---------------------------------------------------------------- snapshots


def imp(folder: Path) -> Plan:
    sweep = write_sweep(
        folder,
        grids=[{"method": "imp", "levels": [2], "rewind_step": 3}],
        recipe={"steps": 1000, "batch_size": 64, "lr": 0.1},
    )
    return plan(study.read(sweep).trials, Nothing())


def test_a_snapshot_counts_what_running_trainings_have_done(tmp_path: Path) -> None:
    planned = imp(tmp_path)
    tracker = Tracker(graph(planned, Costs()), planned.tasks, at=100.0, slots=2)
    dense, _, run, *_ = planned.tasks.values()
    counts = {"settled": 0, "total": len(planned.tasks)}
    look = {"cores": 2, "ready": 0.0}
    now = tracker.look([], [], {dense.key}, {}, at=110.0, **look, **counts)
    assert (now.steps, now.all_steps, now.elapsed) == (0, 1000 + 997 + 997, 10.0)
    assert now.running == 1, "two cores, and one task"
    assert "planned" in sentence(now)
    now = tracker.look([], [], {dense.key}, {dense.key: 250}, at=112.0, **look, **counts)
    assert now.steps == 250
    now = tracker.look(
        [dense], [], {run.key}, {run.key: 503, dense.key: 900}, at=130.0, **look, **counts
    )
    assert now.steps == 1000 + 500, "of a run that starts at step 3; what is done counts once"
    last = list(planned.tasks.values())[-1]
    now = tracker.look([dense], [last], {run.key}, {}, at=131.0, **look, **counts)
    assert now.all_steps == 1000 + 997, "what was given up is not waited for"


def test_one_long_training_is_foretold_by_its_iterations(tmp_path: Path) -> None:
    """Otherwise an IMP chain on MNIST would show 0/90 for minutes."""
    planned = imp(tmp_path)
    tracker = Tracker(graph(planned, Costs()), planned.tasks, at=0.0, slots=2)
    dense = next(iter(planned.tasks.values()))
    counts = {"settled": 0, "total": len(planned.tasks), "cores": 1, "ready": 0.0}
    told = [
        tracker.look([], [], {dense.key}, {dense.key: 5 * second}, at=20.0 + second, **counts)
        for second in range(0, 100, 2)
    ]
    assert told[0].least is None
    assert told[-1].least == pytest.approx((2994 - 490) / 5, rel=0.1)
    assert told[-1].most == pytest.approx(told[-1].least, rel=0.05)
    assert "0/6 tasks  1 running  490/2,994 iterations" in sentence(replace(told[-1], total=6))


WORDS = {
    "3/10 tasks  2 running  40/100 iterations  elapsed 12 s  planned 1 min 30 s": {},
    "3/10 tasks  2 running  40/100 iterations  elapsed 12 s  about 1 min 05 s left": {
        "least": 60.0,
        "most": 70.0,
    },
    "3/10 tasks  2 running  40/100 iterations  elapsed 12 s  1 min 00 s to 2 min 00 s left": {
        "least": 60.0,
        "most": 120.0,
    },
    "10/10 tasks  2 running  40/100 iterations  elapsed 12 s": {"settled": 10},
    "3/10 tasks  2 running  elapsed 12 s  planned 1 min 30 s  2 failed, 1 blocked  1 cancelled  "
    "4 paused": {"all_steps": 0, "failed": 2, "blocked": 1, "cancelled": 1, "paused": 4},
}


@pytest.mark.parametrize("line", WORDS)
def test_a_snapshot_in_words(line: str) -> None:
    one = Snapshot(3, 10, 2, 40, 100, elapsed=12.0, planned=90.0)
    now = replace(one, **WORDS[line])
    assert sentence(now) == line
    assert Snapshot.of(json.loads(json.dumps(now.numbers()))) == now


@pytest.mark.parametrize("numbers", [{}, {"settled": 1}, {"settled": "[red]"}, {"settled": [1]}])
def test_what_is_no_snapshot_is_refused(numbers: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Snapshot.of(numbers)
