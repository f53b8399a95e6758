"""SIGTERM with a grace period: trainings store a checkpoint and continue from it, bit for bit."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import cluster, processes, until
from tests.support.small import command, outcome, write_sweep
from tombola.store import layout
from tombola.store.verify import verify

pytestmark = pytest.mark.slow

LONG, LONGER = (
    {"steps": steps, "batch_size": 64, "lr": 0.1, "evaluate_every": 1000} for steps in (5000, 20000)
)
ONE_TRAINING = [{"method": "random", "levels": [1]}]
OFTEN = ("--checkpoint-every", "0.5")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return in_one_go(tmp_path_factory.mktemp("undisturbed"), LONG)


def in_one_go(folder: Path, recipe: dict[str, object]) -> dict[str, object]:
    write_sweep(folder, grids=ONE_TRAINING, recipe=recipe)
    assert command("run", "tiny.yaml", "--executor", "inline", cwd=folder).returncode == 0
    return outcome(folder / "store")


def start(
    folder: Path, *options: str, recipe: dict[str, object] = LONG, **environment: str
) -> subprocess.Popen[str]:
    write_sweep(folder, grids=ONE_TRAINING, recipe=recipe)
    return subprocess.Popen(
        [sys.executable, "-m", "tombola.cli", "run", "tiny.yaml", *OFTEN, *options],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def checkpoints(folder: Path) -> list[Path]:
    return list(layout.published(folder / "store" / layout.CHECKPOINTS, ".safetensors"))


def training(folder: Path) -> Callable[[], bool]:
    """Return whether a training is under way: it has stored its first checkpoint."""
    return lambda: bool(checkpoints(folder))


def resumed(folder: Path) -> int:
    told = command("sql", "SELECT max(resumed_step) AS s FROM tasks", "--format", "csv", cwd=folder)
    return int(told.stdout.split()[1])


def preempted(folder: Path) -> tuple[str, int]:
    """Return why trainings (one or two) were stopped, and the last step of their checkpoints."""
    query = "SELECT message FROM attempts WHERE failure = 'preempted'"
    told = command("sql", query, "--format", "csv", cwd=folder).stdout.splitlines()[1:]
    [why] = {message.partition("; continues from step ")[0] for message in told}
    return why, max(int(message.rpartition(" ")[2]) for message in told)


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_driver_told_to_stop_keeps_checkpoints_and_the_next_launch_goes_on(
    executor: str, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    process = start(tmp_path, "--executor", executor)
    until(training(tmp_path))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "SIGTERM: stopping at checkpoints, 30 s at most" in errors
    assert "finished results are stored. Continue with: tombola run tiny.yaml" in errors
    assert re.search(r"[12] trainings continue from their checkpoints", errors), errors
    assert "Traceback" not in errors
    assert checkpoints(tmp_path)
    why, step = preempted(tmp_path)
    assert why == "the launch is stopping"
    again = command("run", "tiny.yaml", "--executor", "inline", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert outcome(tmp_path / "store") == undisturbed
    assert resumed(tmp_path) == step
    assert verify(tmp_path / "store") == []


def test_a_second_sigterm_stops_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "--executor", "inline")
    until(training(tmp_path))
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_worker_told_to_stop_hands_its_training_back(
    tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    process = start(tmp_path)
    until(training(tmp_path))
    for worker in processes(process.pid, b"ray::run_pack"):
        os.kill(worker, signal.SIGTERM)
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, said + errors
    assert preempted(tmp_path) == ("SIGTERM", resumed(tmp_path))
    assert outcome(tmp_path / "store") == undisturbed
    assert verify(tmp_path / "store") == []


def test_a_node_that_is_drained_hands_its_training_to_another(
    tmp_path: Path,
) -> None:
    """As a spot machine sends SIGTERM to `ray start --block`; a node that joins later continues."""
    (tmp_path / "whole").mkdir()
    undisturbed = in_one_go(tmp_path / "whole", LONGER)
    with cluster() as nodes:
        nodes.head()
        leaving = nodes.worker()
        joined = ("--address", nodes.address)
        process = start(tmp_path, *joined, recipe=LONGER, **nodes.environment)
        until(training(tmp_path))
        leaving.process.send_signal(signal.SIGTERM)
        leaving.process.wait(timeout=60)
        nodes.worker()
        said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, said + errors
    assert preempted(tmp_path) == ("its node is drained", resumed(tmp_path))
    assert outcome(tmp_path / "store") == undisturbed
    assert verify(tmp_path / "store") == []
