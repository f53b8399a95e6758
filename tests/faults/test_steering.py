"""A running launch is paused, resumed, reduced and told to try again, from another process.

Tasks wait until a file appears, so nothing depends on speed.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from analysis.database import connection
from tests.support.small import command
from tombola.store import layout

GATED = """
import time
from pathlib import Path

HERE = Path(__file__).parent

def gated(module, weights, kept, batches, seed):
    while not (HERE / "go").exists():
        time.sleep(0.02)
    if seed == 0 and not (HERE / "fixed").exists():
        raise RuntimeError("the data are not mounted")
    return {n: weights[n].abs() for n, p in module.named_parameters() if p.ndim > 1}
"""
SWEEP = {
    "name": "gated",
    "dataset": "digits",
    "network": "lenet_300_100",
    "replicates": 12,
    "recipe": {"steps": 2, "batch_size": 64, "lr": 0.1},
    "grids": [{"method": "gate:gated", "density": 0.5, "train": False}],
}


def wait_for(happened: object, what: str) -> None:
    assert callable(happened)
    for _ in range(1200):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


class Running:
    """`tombola run` in its own process with one worker, and the requests of others to it."""

    def __init__(self, folder: Path) -> None:
        (folder / "gate.py").write_text(GATED)
        (folder / "gated.yaml").write_text(yaml.safe_dump(SWEEP))
        self.folder = folder
        command = [sys.executable, "-m", "tombola.cli", "run", "gated.yaml", "--num-cpus=1"]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        wait_for(self._started, "a task was dispatched")

    def _started(self) -> bool:
        return any(layout.published(self.folder / "store" / layout.JOURNAL, ".jsonl"))

    def ask(self, *words: str) -> str:
        ended = command(*words, cwd=self.folder)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def ended(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=240)
        return self.process.returncode, said

    def waiting(self) -> list[int]:
        """Return the replicates that are not yet in a worker's queue."""
        rows = connection.connect(self.folder / "store").execute(
            "SELECT replicate FROM trials WHERE mask_key NOT IN (SELECT key FROM attempts)"
        )
        return [row[0] for row in rows.fetchall()]

    def statuses(self) -> dict[int, str]:
        rows = connection.connect(self.folder / "store").execute(
            "SELECT replicate, status FROM trials"
        )
        return dict(rows.fetchall())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    launched = Running(tmp_path)
    yield launched
    launched.process.kill()
    launched.process.communicate()


@pytest.mark.slow
def test_pause_cancel_resume_and_retry_of_parts_of_a_launch(running: Running) -> None:
    (running.folder / "fixed").touch()
    held, out, back = running.waiting()[:3]
    running.ask("pause", "gated", "--where", f"replicate IN ({held}, {out}, {back})")
    told = running.ask("cancel", "gated", "--where", f"replicate IN ({out}, {back})")
    assert "2 tasks are cancelled" in told
    (running.folder / "go").touch()
    wait_for(lambda: list(running.statuses().values()).count("done") == 9, "the rest is done")
    assert running.statuses()[held] == "pending"
    assert running.process.poll() is None
    told = running.ask("retry", "gated", "--where", f"replicate = {back}")
    assert "1 tasks are tried again" in told
    assert "0 tasks are paused" in running.ask("resume", "gated")
    code, said = running.ended()
    assert (code, "1 tasks were cancelled" in said) == (0, True), said
    assert [seed for seed, status in running.statuses().items() if status != "done"] == [out]
    again = command("run", "gated.yaml", "--where", f"replicate = {out}", cwd=running.folder)
    assert "1 tasks for 1 of 12 trials" in again.stdout, again.stdout + again.stderr
    assert set(running.statuses().values()) == {"done"}
    assert not any(layout.published(running.folder / "store" / layout.REQUESTS, ""))


@pytest.mark.slow
def test_what_failed_is_tried_again_while_the_rest_goes_on(running: Running) -> None:
    running.ask("pause", "gated", "--where", f"replicate = {running.waiting()[-1]}")
    (running.folder / "go").touch()
    wait_for(lambda: running.statuses()[0] == "failed", "the first failed")
    told = running.ask("status")
    assert "failed: 1 x raised at gate.py:11 in gated: the data are not mounted" in told
    (running.folder / "fixed").touch()
    assert "1 tasks are tried again" in running.ask("retry", "gated")
    running.ask("resume", "gated")
    code, said = running.ended()
    assert code == 0, said
    assert set(running.statuses().values()) == {"done"}


@pytest.mark.slow
def test_when_nothing_runs_whoever_asks_is_told(running: Running) -> None:
    (running.folder / "fixed").touch()
    (running.folder / "go").touch()
    running.ended()
    for words, said in [
        (("pause", "gated"), "no launch of gated answered"),
        (("retry", "nosuch"), "no trial in this store"),
        (("cancel", "gated", "--where", "replicate = 99"), "no trial for which replicate = 99"),
        (("cancel", "gated", "--where", "1); DROP TABLE x; --"), "error:"),
    ]:
        ended = command(*words, cwd=running.folder)
        assert ended.returncode == 2, words
        assert said in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
