"""`results.duckdb` during a launch: any client sees the results so far."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from analysis.database import refresh
from tests.support.small import write_sweep
from tombola.cli import app
from tombola.store import layout

WATCHER = '''
"""A score that waits until another process sees, in the database, the run that it stands on."""
import subprocess, sys, threading

CLIENT = """
import duckdb, sys, time
until = time.monotonic() + 60
while time.monotonic() < until:
    try:
        with duckdb.connect(sys.argv[1], read_only=True) as client:
            if client.execute("SELECT count(*) FROM tasks WHERE kind = 'run'").fetchone()[0]:
                sys.exit(0)
    except duckdb.IOException:
        pass  # not there yet
    time.sleep(0.1)
sys.exit("no result was seen")
"""


def score(module, weights, kept, batches, seed):
    subprocess.run([sys.executable, "-c", CLIENT, "store/results.duckdb"], check=True)
    assert [one for one in threading.enumerate() if one.name == "refresh"]
    return {name: weights[name].abs() for name, p in module.named_parameters() if p.ndim > 1}
'''


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(refresh, "SHARE", 0.5)


def test_a_client_sees_results_of_the_launch_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    (tmp_path / "watcher.py").write_text(WATCHER)
    write_sweep(tmp_path, grids=[{"method": "watcher:score", "prune_step": 3, "sparsity": 0.5}])
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    told = CliRunner().invoke(app, ["run", "tiny.yaml", "--executor", "inline", "--no-canary"])
    assert told.exit_code == 0, told.output
    assert signal.getsignal(signal.SIGTERM) is before
    assert not [one for one in threading.enumerate() if one.name == "refresh"]
    assert [path.name for path in (tmp_path / "store").iterdir() if path.is_file()] == [
        layout.DATABASE
    ]


def test_what_is_half_made_at_the_end_is_dropped_and_errors_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def hanging(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
        begun.append(popen([sys.executable, "-c", "import time; time.sleep(600)"], **options))
        return begun[-1]

    with refresh.refreshing(tmp_path / "nowhere"):
        pass
    monkeypatch.setattr(refresh.subprocess, "Popen", hanging)
    with refresh.refreshing(tmp_path):
        while not begun:
            threading.Event().wait(0.01)
    assert begun[0].returncode is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 1.0])
def test_a_truncated_database_is_made_anew_by_the_next_run(
    kept: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sweep(tmp_path, grids=[{"method": "random", "levels": [2]}])
    monkeypatch.chdir(tmp_path)
    words = ["run", "tiny.yaml", "--executor", "inline", "--no-canary"]
    assert CliRunner().invoke(app, words).exit_code == 0
    path = tmp_path / "store" / layout.DATABASE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    told = CliRunner().invoke(app, words)
    assert ("was written again" in told.stdout) == (kept < 1)
    with duckdb.connect(str(path), read_only=True) as client:
        assert client.execute("SELECT count(loss) FROM evals").fetchone() != (0,)
