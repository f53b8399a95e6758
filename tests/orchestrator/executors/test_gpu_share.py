"""Number of tasks that share a GPU, from the memory of one task."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors.gpu_share import Share, gpu_share
from orchestrator.executors.inline import InlineExecutor
from orchestrator.node.pack import Arrival, Outcome, Returned
from orchestrator.planning.planner import Nothing, plan
from orchestrator.running import study
from orchestrator.running.launch import launch
from tests.support.small import write_sweep
from tombola.errors import TombolaError
from tombola.store.publish import open_store

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


def cluster(*gpus: int, cpus: float = 8.0) -> list[dict[str, Any]]:
    return [{"Alive": True, "Resources": {"CPU": cpus, "GPU": float(n)}} for n in gpus]


@pytest.mark.parametrize(
    ("gpus", "on_one_node", "anywhere"), [(1, 7, 7), (2, 3, 3), (3, 1, 2), (4, 1, 1), (7, 0, 1)]
)
def test_a_gang_is_of_one_node_unless_it_may_go_across(
    gpus: int, on_one_node: int, anywhere: int
) -> None:
    """Nodes have 4, 2 and 1 GPUs; a dead node has none."""
    nodes = [*cluster(4, 2, 1), {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}}]
    assert Share(1.0, gpus).slots(nodes) == on_one_node
    assert Share(1.0, gpus, across_nodes=True).slots(nodes) == anywhere


def test_members_divide_the_cpus_of_their_task() -> None:
    assert Share(6.0, 4.0).bundle == {"GPU": 1.0, "CPU": 1.5}
    assert 3 * Share(1.0, 3.0).bundle["CPU"] <= 1.0
    assert Share(16.0, 4.0).slots(cluster(4, 4)) == 0, "no node has 16 CPUs"
    assert Share(16.0, 4.0, across_nodes=True).slots(cluster(4, 4)) == 1, "two nodes have"
    assert Share(0.0, 2.0).bundle == {"GPU": 1.0}


def test_where_only_the_cluster_has_so_many_gpus_the_option_is_named() -> None:
    said = Share(1.0, 4.0).no_room(cluster(2, 2))
    assert said == (
        "no node has 1 CPU and 4 GPU for a task: the cluster has 16 CPU and 4 GPU; --across-nodes "
        "divides a training among nodes; its processes then listen on the network of the nodes, "
        "where anyone can connect"
    )
    assert "--across-nodes" not in Share(1.0, 5.0).no_room(cluster(2, 2))
    assert Share(1.0, 5.0, across_nodes=True).no_room(cluster(2, 2)) == (
        "the cluster has 16 CPU and 4 GPU, not 1 CPU and 5 GPU for a task"
    )


def test_more_than_a_gpu_is_whole_ones() -> None:
    with pytest.raises(TombolaError, match=r"whole GPUs or a part of one, not 1\.5"):
        Share(1.0, 1.5)


class Sharing(InlineExecutor):
    """Rehearsals that take a fraction of a GPU, as if there were a GPU."""

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
    monkeypatch.setattr("orchestrator.running.launch.WORTH_SECONDS", 0.0)
    planned = plan(study.read(write_sweep(tmp_path)).trials, Nothing())
    executor = Sharing()
    progress = launch(planned, open_store(tmp_path / "store", create=True), executor)
    assert executor.fitted == 0.2
    assert progress.settled == progress.total
