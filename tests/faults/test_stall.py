"""A task that makes no progress is stopped, and a training continues from its checkpoint."""

from pathlib import Path
from typing import Any

import pytest

from analysis.database import connection
from orchestrator.executors.inline import InlineExecutor
from orchestrator.node.pack import Arrival, Pack, Returned
from orchestrator.node.worker import run_pack
from orchestrator.running import study
from orchestrator.running.launch import Limits, launch
from tests.support.small import outcome, write_sweep

HANGS = """
import time
from pathlib import Path
import torch
from torch import nn


class Sticky(nn.Linear):
    calls = 0

    def forward(self, x):
        marker = Path(__file__).with_name("was-here")
        Sticky.calls += bool({where}) and not marker.exists()
        if Sticky.calls == 8 and not marker.exists():
            marker.touch()
            time.sleep(1000)
        return super().forward(x)


def sticky(network):
    return nn.Sequential(nn.Flatten(), Sticky(64, network.classes))
"""


class Limited(InlineExecutor):
    """An executor in this process, with the limits that workers of a cluster have."""

    def wait(self, seconds: float) -> list[Arrival]:
        if not self._waiting:
            return []
        pack: Pack = self._waiting.popleft()
        return [Returned(pack, tuple(run_pack(pack, limited=True)))]


SAID = "no progress in 2 s (--stall)"


@pytest.mark.parametrize(
    ("name", "where", "grid", "found"),
    [
        ("training", "self.training", {"method": "random"}, ("run", "stalled", SAID, 7)),
        (
            "scoring",
            "x.dtype == torch.float64",
            {"method": "synflow"},
            ("mask", "stalled", SAID, None),
        ),
    ],
)
def test_what_hangs_is_stopped_long_before_its_timeout_and_done_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    where: str,
    grid: dict[str, Any],
    found: tuple[object, ...],
) -> None:
    module = f"stuck_in_{name}"
    (tmp_path / f"{module}.py").write_text(HANGS.format(where=where))
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = study.read(
        write_sweep(
            tmp_path,
            network=f"{module}:sticky",
            dense=True,
            grids=[{**grid, "density": 0.5}],
        )
    )
    (tmp_path / "was-here").touch()
    study.run(asked, tmp_path / "undisturbed", InlineExecutor())
    (tmp_path / "was-here").unlink()

    planned, costs = study.plan_for(asked, tmp_path / "store")
    study.register(asked, tmp_path / "store")
    limits = Limits(stall=2.0, checkpoint=0)
    progress = launch(planned, tmp_path / "store", Limited(), costs=costs, limits=limits)
    assert progress.failures == []
    assert (tmp_path / "was-here").exists()
    assert outcome(tmp_path / "store") == outcome(tmp_path / "undisturbed")
    tried = connection.connect(tmp_path / "store").execute(
        "SELECT kind, failure, message, resumed_step "
        "FROM attempts JOIN tasks USING (key, kind) WHERE event = 'retried'"
    )
    assert tried.fetchall() == [found]
