"""How many tasks share a GPU, from the memory that one takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import study
from orchestrator.executors.base import Arrival, Outcome, Returned
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.sharing import Share, gpu_share
from orchestrator.launch import launch
from orchestrator.plan import Nothing, plan
from orchestrator.store.files import open_store
from tests.small import write_sweep

NODE = {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}}


@pytest.mark.parametrize(
    ("memory", "share", "slots", "widest"),
    [(0.04, 1 / 16, 16, 16), (0.1, 1 / 8, 16, 8), (0.3, 3 / 8, 4, 2), (0.9, 1.0, 2, 1)],
)
def test_a_quarter_more_than_what_a_task_takes_in_sixteenths(
    memory: float, share: float, slots: int, widest: int
) -> None:
    assert gpu_share(memory) == share
    assert Share(1.0, share).slots([NODE]) == slots
    assert Share(1.0, share).widest(16.0) == widest


def test_without_gpus_the_whole_is_a_node() -> None:
    assert Share(4.0, 0.0).widest(16.0) == 4


class Sharing(InlineExecutor):
    """Rehearsals that take a fraction of a GPU, as if there were one."""

    fitted: float | None = None

    def wait(self, seconds: float) -> list[Arrival]:
        found = []
        for arrival in super().wait(seconds):
            assert isinstance(arrival, Returned)
            outcomes = [self._measured(one, n) for n, one in enumerate(arrival.outcomes)]
            found.append(replace(arrival, outcomes=tuple(outcomes)))
        return found

    def _measured(self, outcome: Outcome, number: int) -> Outcome:
        return replace(outcome, memory=0.2 - 0.01 * number)

    def fit(self, memory: float) -> None:
        self.fitted = memory


def test_a_launch_shares_by_the_largest_of_its_rehearsals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.launch.WORTH_SECONDS", 0.0)
    planned = plan(study.read(write_sweep(tmp_path)).trials, Nothing())
    executor = Sharing()
    progress = launch(planned, open_store(tmp_path / "store", create=True), executor)
    assert executor.fitted == 0.2
    assert progress.settled == progress.total
