"""Trainings divided among the nodes of a real cluster give the same runs if any node is lost.

Nodes claim a GPU that they do not have; their processes then train on the CPU, by gloo.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.database import connection
from tests.support.cluster import Cluster, Node, cluster, ip, processes, two_hosts, until
from tests.support.small import command, write_sweep
from tombola.store import layout
from tombola.store.verify import repair, verify

pytestmark = pytest.mark.slow

RUN = (sys.executable, "-m", "tombola.cli", "run", "tiny.yaml", "--checkpoint-every", "0.5")
ACROSS = ("--gpus-per-task", "2", "--across-nodes")
RECIPE = {"steps": 2500, "batch_size": 64, "lr": 0.02, "evaluate_every": 500}
SWEEP = {"dense": False, "grids": [{"method": "random", "sparsity": 0.5}], "recipe": RECIPE}
"""One mask and one training."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    write_sweep(folder, **SWEEP)
    assert command("run", "tiny.yaml", "--executor", "inline", cwd=folder).returncode == 0
    return folder


def start(
    folder: Path, *options: str, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.Popen[str]:
    write_sweep(folder, **SWEEP)
    return subprocess.Popen(
        [*prefix, *RUN, *options],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> int:
    said, errors = process.communicate(timeout=300)
    print(said, errors)
    return process.returncode


def checkpoint(folder: Path) -> int:
    """Return when the last checkpoint was stored, ns; 0 before the first."""
    kept = layout.published(folder / "store" / layout.CHECKPOINTS, ".safetensors")
    return max((path.stat().st_mtime_ns for path in kept), default=0)


def goes_on(folder: Path) -> None:
    """Wait until the training stores one more checkpoint."""
    before = checkpoint(folder)
    until(lambda: checkpoint(folder) > before)


def first(node: Node) -> list[int]:
    return node.workers()


def other(node: Node) -> list[int]:
    return processes(node.process.pid, b"ray::join_group")


def asked(folder: Path, query: str) -> list[tuple[object, ...]]:
    return connection.connect(folder / "store").sql(query).fetchall()


def assert_same_run(folder: Path, alone: Path) -> None:
    """Assert equality up to the order of sums; the run did not start again, leftovers are named."""
    query = "SELECT step, split, accuracy FROM evals ORDER BY ALL"
    pairs = list(zip(asked(folder, query), asked(alone, query), strict=True))
    assert len(pairs) == 12
    for one, expected in pairs:
        assert one[:2] == expected[:2]
        assert one[2] == pytest.approx(expected[2], abs=0.01)
    [[resumed]] = asked(folder, "SELECT resumed_step FROM tasks WHERE kind = 'run'")
    assert asked(folder, "SELECT DISTINCT gang FROM tasks WHERE kind = 'run'") == [(2,)]
    assert isinstance(resumed, int)
    assert resumed > 0
    repair([found for found in verify(folder / "store") if found.leftover])
    assert verify(folder / "store") == []


def failures(folder: Path) -> set[object]:
    query = "SELECT failure FROM attempts WHERE failure IS NOT NULL"
    return {failure for [failure] in asked(folder, query)}


def strike(nodes: Cluster, folder: Path, member: str) -> None:
    """Kill the node of a member once the training, divided among two, has stored a checkpoint."""
    works = {"first": first, "other": other}[member]
    goes_on(folder)
    [struck] = [node for node in nodes.nodes if works(node)]
    struck.kill()


def test_a_run_goes_on_after_the_node_of_either_member_is_killed(
    tmp_path: Path, alone: Path
) -> None:
    with cluster() as nodes:
        nodes.head()
        for _ in range(3):
            nodes.worker("--num-gpus=1")
        process = start(tmp_path, *ACROSS, "--address", nodes.address, **nodes.environment)
        strike(nodes, tmp_path, "other")
        strike(nodes, tmp_path, "first")  # one is left: the gang waits for another
        until(lambda: not any(first(node) or other(node) for node in nodes.nodes))
        nodes.worker("--num-gpus=1")
        assert ended(process) == 0
    assert failures(tmp_path) == {"node lost"}
    assert_same_run(tmp_path, alone)


SOON = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""After some seconds of silence a node counts as dead."""


def test_a_run_of_two_hosts_goes_on_after_the_cable_was_pulled(tmp_path: Path, alone: Path) -> None:
    """Nobody closes the connection then, so the waiting process must be ended."""
    with two_hosts() as names, cluster("10.199.0.1", **SOON) as nodes:
        head, far = (("ip", "netns", "exec", name) for name in names)
        nodes.head("--num-gpus=1", prefix=head, cpus=1)
        lost = nodes.worker("--num-gpus=1", prefix=far)
        address = ("--address", nodes.address)
        process = start(tmp_path, *ACROSS, *address, prefix=head, **nodes.environment)
        goes_on(tmp_path)
        here = {*first(nodes.nodes[0]), *other(nodes.nodes[0])}
        assert len(here) == 1, "a member on each host"
        ip("-n", names[0], "link", "set", f"t{os.getpid()}a", "down")
        until(lambda: not here & {*first(nodes.nodes[0]), *other(nodes.nodes[0])})
        ip("-n", names[0], "link", "set", f"t{os.getpid()}a", "up")
        ip("-n", names[0], "route", "add", "default", "via", "10.199.0.2")
        lost.kill()
        nodes.worker("--num-gpus=1", prefix=far)
        assert ended(process) == 0
    assert failures(tmp_path) == {"node lost"}
    assert_same_run(tmp_path, alone)


def test_told_to_stop_a_gang_keeps_a_checkpoint_and_goes_on_from_it(
    tmp_path: Path, alone: Path
) -> None:
    """On one machine: it needs no network and no option for one."""
    here = ("--num-gpus", "2", "--gpus-per-task", "2")
    process = start(tmp_path, *here)
    goes_on(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 130
    assert failures(tmp_path) == {"preempted"}
    assert ended(start(tmp_path, *here)) == 0
    assert_same_run(tmp_path, alone)
