"""Trials that hang, leak, kill their worker or delete a file: each is named, others finish."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.small import command, outcome, write_sweep
from tombola.store import layout
from tombola.store.verify import verify

pytestmark = pytest.mark.slow

HARMFUL = """
import os, signal, time
from pathlib import Path


def _scores(weights, module):
    return {n: weights[n].abs() for n, p in module.named_parameters() if p.ndim > 1}

def hangs(module, weights, kept, batches, seed):
    time.sleep(1000)

def kills(module, weights, kept, batches, seed):
    os.kill(os.getpid(), signal.SIGKILL)

def starves(module, weights, kept, batches, seed):
    raise MemoryError("no room")

def leaks(module, weights, kept, batches, seed):
    held = []
    while len(held) < 128:  # nobody's machine is to suffer where nobody stops it
        held.append(b"\\1" * (64 << 20))
    raise RuntimeError("8 GiB are held, and nobody stopped it")

def once(module, weights, kept, batches, seed):
    marker = Path(__file__).with_name("was-here")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return _scores(weights, module)
"""


def run(
    folder: Path, method: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    (folder / "harmful.py").write_text(HARMFUL)
    grids = [
        {"method": f"harmful:{method}", "levels": [1]},
        {"method": "random", "levels": [1, 2, 3]},
    ]
    write_sweep(folder, grids=grids)
    return command("run", "tiny.yaml", *options, cwd=folder, PYTHONPATH=str(folder), **environment)


GIB = 2**30
ROOM = 6 * GIB
"""Memory that is not Ray's may come and go by as much while a trial leaks."""


def memory() -> tuple[int, int]:
    """Return the bytes of memory of this machine, and the free ones."""
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(told[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, free


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("hangs", "1 x timeout: took longer than its limit of 15 s (after 2 tries)"),
        ("kills", "1 x worker lost:"),
        ("starves", "1 x out of memory"),
    ],
)
def test_a_harmful_trial_fails_by_its_class_and_everything_else_is_done(
    tmp_path: Path, method: str, said: str
) -> None:
    ended = run(tmp_path, method, *(["--timeout", "15"] if method == "hangs" else []))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert said in ended.stdout
    assert "blocked 1 tasks need a task that failed" in ended.stdout
    assert "4 of 5 trials done" in ended.stdout
    assert "Traceback" not in ended.stderr
    told = command("status", cwd=tmp_path)
    assert said.split(":", maxsplit=1)[0] in told.stdout
    assert verify(tmp_path / "store") == []


def test_a_trial_that_leaks_is_stopped_before_memory_is_full_and_everything_else_is_done(
    tmp_path: Path,
) -> None:
    """Ray kills tasks on a node that is nearly full; here a node with 6 GiB less free memory."""
    total, free = memory()
    if free < ROOM + 3 * GIB:
        pytest.skip("needs 9 GiB of free memory")
    watched = {
        "RAY_memory_usage_threshold": f"{(total - free + ROOM) / total:.4f}",
        "RAY_memory_monitor_refresh_ms": "50",
    }
    ended = run(tmp_path, "leaks", **watched)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 x out of memory:" in ended.stdout
    assert "killed due to the node running low on memory" in ended.stdout
    assert "4 of 5 trials done" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert verify(tmp_path / "store") == []


def test_a_trial_that_kills_its_worker_once_is_done_at_the_second_try(tmp_path: Path) -> None:
    ended = run(tmp_path, "once")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "5 of 5 trials done" in ended.stdout


def test_damaged_artifacts_are_removed_and_made_again_in_the_same_run(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    assert command("run", "tiny.yaml", "--executor", "inline", cwd=tmp_path).returncode == 0
    before = outcome(tmp_path / "store")
    for folder in (layout.STATES, layout.MASKS):
        for path in sorted((tmp_path / "store" / folder).rglob("*.safetensors"))[:4]:
            content = bytearray(path.read_bytes())
            content[-20] ^= 1
            path.write_bytes(bytes(content))
    more = [{"method": "imp", "levels": [1, 2, 3], "rewind_step": [0, 3]}]
    write_sweep(tmp_path, grids=more)
    ended = command("run", "tiny.yaml", "--executor", "inline", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    after = outcome(tmp_path / "store")
    assert {key: after[key] for key in before} == before


def _raylets(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")[0]
            if command.endswith(b"/raylet") and os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def test_a_driver_whose_only_node_died_says_so_and_loses_nothing(tmp_path: Path) -> None:
    write_sweep(
        tmp_path,
        replicates=4,
        recipe={"steps": 300, "batch_size": 64, "lr": 0.1, "evaluate_every": 100},
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tombola.cli", "run", "tiny.yaml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    live = tmp_path / "store" / layout.LIVE
    deadline = time.monotonic() + 120
    while not any(live.rglob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    for raylet in _raylets(process.pid):
        os.kill(raylet, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert "the Ray cluster has no node left; finished results are stored" in errors
    assert "Traceback" not in errors
    again = command("run", "tiny.yaml", "--executor", "inline", cwd=tmp_path)
    assert again.returncode == 0
