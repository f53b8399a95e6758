"""After any process is killed, tables equal those of an undisturbed run. Real processes."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.small import command, outcome, write_sweep
from tombola.errors import ExitCode
from tombola.store import layout
from tombola.store.verify import repair, verify

GRIDS = [
    {"method": ["random", "snip", "synflow"], "levels": [2, 5, 8], "ablation": ["none", "shuffle"]},
    {"method": "imp", "levels": "1..5", "rewind_step": [0, 10]},
]
RECIPE = {"steps": 40, "batch_size": 64, "lr": 0.1, "evaluate_every": 10}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_sweep(folder, grids=GRIDS, recipe=RECIPE)
    assert command("run", "tiny.yaml", "--executor", "inline", cwd=folder).returncode == 0
    return outcome(folder / "store")


def committed(folder: Path) -> int:
    return sum(1 for _ in (folder / "store" / layout.LIVE).rglob("[!.]*.parquet"))


def start(folder: Path, *options: str, sweep: str = "tiny.yaml") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tombola.cli", "run", sweep, *options],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def until(condition: object, process: subprocess.Popen[bytes], seconds: float = 120) -> bool:
    """Wait for a condition; return False if the process ended first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    raise AssertionError("neither happened")


def settle(folder: Path) -> None:
    """Remove half-written files of a killed process; assert that nothing else is wrong."""
    left = verify(folder / "store")
    assert all(finding.leftover for finding in left), left
    repair(left)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_driver_killed_at_random_moments(
    executor: str, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    write_sweep(tmp_path, grids=GRIDS, recipe=RECIPE)
    dice = random.Random(executor)
    for _ in range(3):
        target = committed(tmp_path) + dice.randrange(1, len(undisturbed) // 4)
        process = start(tmp_path, "--executor", executor)
        until(lambda target=target: committed(tmp_path) >= target, process)
        process.kill()
        process.wait()
    last = command("run", "tiny.yaml", "--executor", executor, cwd=tmp_path)
    assert last.returncode == 0, last.stdout + last.stderr
    settle(tmp_path)
    assert outcome(tmp_path / "store") == undisturbed
    assert verify(tmp_path / "store") == []


def workers(session: int) -> list[int]:
    """List the Ray workers of a session that run a pack."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            group = os.getsid(int(entry.name))
        except OSError:
            continue
        if command.startswith(b"ray::run_pack") and group == session:
            found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_a_worker_killed_in_the_middle(tmp_path: Path, undisturbed: dict[str, object]) -> None:
    write_sweep(tmp_path, grids=GRIDS, recipe=RECIPE)
    process = start(tmp_path)
    killed = 0
    for target in (3, 20):
        if until(lambda target=target: committed(tmp_path) >= target, process):
            until(lambda: workers(process.pid), process)
            for worker in workers(process.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
                killed += 1
    assert process.wait(timeout=200) == 0
    assert killed
    settle(tmp_path)
    assert outcome(tmp_path / "store") == undisturbed
    journal = "".join(p.read_text() for p in (tmp_path / "store" / "journal").rglob("*.jsonl"))
    assert '"event": "retried"' in journal


def processes(session: int) -> dict[int, bytes]:
    """List the command lines of a session's running processes."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if os.getsid(int(entry.name)) == session and state not in "ZX":
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["driver", "raylet", "gcs_server"])
def test_of_a_local_ray_nothing_outlives_the_launch_and_a_lost_one_is_told_in_a_line(
    victim: str, tmp_path: Path
) -> None:
    write_sweep(tmp_path, grids=GRIDS, recipe=RECIPE)
    process = subprocess.Popen(
        [sys.executable, "-m", "tombola.cli", "run", "tiny.yaml", "--num-cpus", "1"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    until(lambda: committed(tmp_path) >= 3, process)  # type: ignore[arg-type]
    if victim == "driver":
        process.kill()
    else:
        found = [n for n, line in processes(process.pid).items() if victim.encode() in line]
        os.kill(min(found), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    if victim != "driver":
        assert process.returncode == ExitCode.CLUSTER_LOST, errors
        said = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert said == [
            f"error: Ray on this machine is gone: its {victim} died; finished results are stored: "
            "run the same command again"
        ]
    deadline = time.monotonic() + 20
    while left := processes(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_at_once_and_says_how_to_go_on(
    tmp_path: Path, stop: signal.Signals, undisturbed: dict[str, object]
) -> None:
    write_sweep(tmp_path, grids=GRIDS, recipe=RECIPE)
    process = subprocess.Popen(
        [sys.executable, "-m", "tombola.cli", "run", "tiny.yaml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background of a shell has had SIGINT ignored for all.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    until(lambda: committed(tmp_path) >= 3, process)  # type: ignore[arg-type]
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finished results are stored. Continue with: tombola run tiny.yaml" in errors
    assert "Traceback" not in errors
    assert 3 <= committed(tmp_path) < len(undisturbed)


@pytest.mark.slow
def test_two_drivers_on_one_store_at_once(tmp_path: Path, undisturbed: dict[str, object]) -> None:
    write_sweep(tmp_path, grids=GRIDS, recipe=RECIPE)
    both = [start(tmp_path, "--executor", "inline") for _ in range(2)]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    assert outcome(tmp_path / "store") == undisturbed
    assert verify(tmp_path / "store") == []


@pytest.mark.slow
def test_two_drivers_with_sweeps_that_overlap(tmp_path: Path) -> None:
    """Their levels overlap; results that both want are in the tables once."""
    some = [{"method": ["random", "snip"], "levels": [2, 5]}, {"method": "imp", "levels": "1..3"}]
    more = [{"method": ["random", "snip"], "levels": [5, 8]}, {"method": "imp", "levels": "2..5"}]
    write_sweep(tmp_path, grids=some, recipe=RECIPE)
    write_sweep(tmp_path, name="other", grids=more, recipe=RECIPE)
    both = [
        start(tmp_path, "--executor", "inline"),
        start(tmp_path, "--executor", "inline", sweep="other.yaml"),
    ]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    found = outcome(tmp_path / "store")
    alone = tmp_path / "alone"
    alone.mkdir()
    write_sweep(alone, grids=[*some, *more], recipe=RECIPE)
    assert command("run", "tiny.yaml", "--executor", "inline", cwd=alone).returncode == 0
    assert found == outcome(alone / "store")
    assert verify(tmp_path / "store") == []


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_result(tmp_path: Path) -> None:
    long = {"steps": 1500, "batch_size": 64, "lr": 0.1, "evaluate_every": 500}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        write_sweep(folder, grids=[{"method": "imp", "levels": [1]}], recipe=long)
    assert command("run", "tiny.yaml", "--executor", "inline", cwd=whole).returncode == 0
    options = ("--executor", "inline", "--checkpoint-every", "0")
    process = start(cut, *options)
    checkpoints = cut / "store" / layout.CHECKPOINTS
    until(lambda: any(checkpoints.rglob("[!.]*.safetensors")), process)  # type: ignore[arg-type]
    process.kill()
    process.wait()
    assert committed(cut) == 0
    last = command("run", "tiny.yaml", "--executor", "inline", cwd=cut)
    assert last.returncode == 0, last.stdout + last.stderr
    settle(cut)
    assert outcome(cut / "store") == outcome(whole / "store")
    told = command("sql", "SELECT max(resumed_step) AS s FROM tasks", "--format", "csv", cwd=cut)
    assert int(told.stdout.split()[1]) >= 1
    assert not any(checkpoints.rglob("[!.]*.safetensors"))
