"""Replay of recorded launches in the simulator."""

import json

import pytest

from orchestrator.running.replay import replay
from tombola.errors import TombolaError


def row(key: str, began: float, seconds: float, *needs: str) -> tuple[str, str, float, float]:
    return key, json.dumps({"kind": "run", "mask": None, "within": list(needs)}), began, seconds


def test_a_launch_that_lost_time_is_shorter_in_the_simulator() -> None:
    recorded = [row("a", 0, 10), row("b", 1, 10), row("c", 15, 10, "a"), row("d", 16, 10, "b")]
    found = replay(recorded)
    assert (found.tasks, found.simulated.workers) == (4, 2)
    assert found.makespan == 26
    assert found.simulated.makespan == 20
    assert found.utilisation == pytest.approx(40 / 52)


def test_what_needs_another_follows_it() -> None:
    chain = [row("a", 0, 5), row("b", 5, 5, "a"), row("c", 5, 5, "a")]
    assert replay(chain).simulated.critical_path == 10


def test_names_that_are_no_task_of_the_launch_are_no_needs() -> None:
    assert replay([row("a", 0, 5, "elsewhere")]).simulated.makespan == 5


def test_a_launch_without_tasks_is_refused() -> None:
    with pytest.raises(TombolaError, match="finished no task"):
        replay([])
