"""A training that stands still is found by its pulse, and goes on from its checkpoint."""

from pathlib import Path

import pytest

from analysis import results
from orchestrator import study
from orchestrator.executors.base import Arrival, Pack, Returned
from orchestrator.executors.inline import InlineExecutor
from orchestrator.launch import Limits, launch
from orchestrator.worker import run_pack
from tests.small import outcome, write_sweep

HANGS = """
import time
from pathlib import Path
from torch import nn


class Sticky(nn.Linear):
    calls = 0

    def forward(self, x):
        Sticky.calls += self.training
        marker = Path(__file__).with_name("was-here")
        if Sticky.calls == 8 and not marker.exists():
            marker.touch()
            time.sleep(1000)
        return super().forward(x)


def sticky(network):
    return nn.Sequential(nn.Flatten(), Sticky(64, network.classes))
"""


class Limited(InlineExecutor):
    """In this process, and with the limits that workers of a cluster keep."""

    def wait(self, seconds: float) -> list[Arrival]:
        if not self._waiting:
            return []
        pack: Pack = self._waiting.popleft()
        return [Returned(pack, tuple(run_pack(pack, limited=True)))]


def test_a_training_that_hangs_is_stopped_long_before_its_timeout_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stuck.py").write_text(HANGS)
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = study.read(
        write_sweep(
            tmp_path,
            network="stuck:sticky",
            dense=True,
            grids=[{"method": "random", "density": 0.5}],
        )
    )
    (tmp_path / "was-here").touch()
    study.run(asked, tmp_path / "undisturbed", InlineExecutor())
    (tmp_path / "was-here").unlink()
    __import__("stuck").Sticky.calls = 0

    planned, costs = study.plan_for(asked, tmp_path / "store")
    study.register(asked, tmp_path / "store")
    limits = Limits(stall=0.5, checkpoint=0)
    progress = launch(planned, tmp_path / "store", Limited(), costs=costs, limits=limits)
    assert progress.failures == []
    assert (tmp_path / "was-here").exists()
    assert outcome(tmp_path / "store") == outcome(tmp_path / "undisturbed")
    tried = results.connect(tmp_path / "store").execute(
        "SELECT failure, message, resumed_step FROM attempts JOIN tasks USING (key) "
        "WHERE event = 'retried'"
    )
    assert tried.fetchall() == [("stalled", "no batch in 0 s (--stall)", 7)]
