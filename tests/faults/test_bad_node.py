"""A node on which everything fails is found and fenced off; a bug in a trial blames no node."""

import os
from pathlib import Path

import pytest

from analysis.database import connection
from orchestrator.node.pack import Arrival, Pack, Returned
from orchestrator.node.worker import run_pack
from orchestrator.running import study
from orchestrator.scheduling.node_health import STREAK
from tests.support.small import write_sweep

SCORES = """
import os

def picky(module, weights, kept, batches, seed):
    if os.environ.get("TOMBOLA_TEST_NODE") == "bad":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return {n: weights[n].abs() for n, p in module.named_parameters() if p.ndim > 1}

def wrong(module, weights, kept, batches, seed):
    raise RuntimeError("a bug")
"""


class TwoNodes:
    """An executor that runs packs in this process, in turn as a good and as a bad node."""

    slots = widest = 1
    draining = False
    nodes = ("bad", "good")

    def __init__(self) -> None:
        self.packs: list[Pack] = []
        self.avoided: frozenset[str] = frozenset()
        self.turn = 0

    def submit(self, pack: Pack) -> None:
        self.packs.append(pack)

    def wait(self, seconds: float) -> list[Arrival]:
        if not self.packs:
            return []
        pack = self.packs.pop(0)
        usable = [node for node in self.nodes if node not in self.avoided]
        self.turn += 1
        os.environ["TOMBOLA_TEST_NODE"] = node = usable[self.turn % len(usable)]
        return [Returned(pack, tuple(run_pack(pack)), node)]

    def avoid(self, nodes: frozenset[str]) -> bool:
        if not set(self.nodes) - nodes:
            return False
        self.avoided = nodes
        return True

    def trainings(self) -> dict[str, int]:
        return {}

    def on_report(self, look: object) -> None:
        pass

    def fit(self, memory: float) -> None:
        pass

    def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


class OneBadNode(TwoNodes):
    nodes = ("bad",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fussy.py").write_text(SCORES)
    monkeypatch.setenv("TOMBOLA_TEST_NODE", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def launched(folder: Path, method: str, executor: TwoNodes) -> tuple[list[str], list[str]]:
    """Launch; return the nodes that were fenced off, and the distinct statuses of all trials."""
    grids = [{"method": f"fussy:{method}", "density": 0.5, "train": False}]
    asked = study.read(write_sweep(folder, replicates=60, grids=grids))
    progress = study.run(asked, folder / "store", executor)
    statuses = connection.connect(folder / "store").execute("SELECT DISTINCT status FROM trials")
    assert progress.settled == progress.total
    return progress.fenced, [row[0] for row in statuses.fetchall()]


def test_a_bad_node_is_fenced_off_and_what_failed_there_is_done_elsewhere(folder: Path) -> None:
    executor = TwoNodes()
    assert launched(folder, "picky", executor) == (["bad"], ["done"])
    assert executor.avoided == {"bad"}


def test_a_bug_in_a_trial_is_not_held_against_a_node(folder: Path) -> None:
    executor = TwoNodes()
    assert launched(folder, "wrong", executor) == ([], ["failed"])
    assert executor.avoided == frozenset()


def test_the_only_node_is_used_however_much_fails_there(folder: Path) -> None:
    assert STREAK < 60
    assert launched(folder, "picky", OneBadNode()) == ([], ["failed"])
