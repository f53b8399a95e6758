"""A cluster whose head does not answer is given up after a while; no call to Ray waits for it."""

import pytest

from orchestrator.executors import address
from orchestrator.executors.on_ray import executor
from tests.support.cluster import free_port
from tombola.errors import ClusterLost, ExitCode


def test_a_head_that_does_not_answer_is_lost_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "GONE_SECONDS", 0.0)
    joined = object.__new__(executor.RayExecutor)
    joined._where = address.parse(f"127.0.0.1:{free_port()}")
    with pytest.raises(ClusterLost, match=r"has not answered for 0 s; finished results are stored"):
        joined._await_head()
    assert ClusterLost.exit_code == ExitCode.CLUSTER_LOST
    joined._where = None
    joined._await_head()
