"""The driver is killed (-9) between any two of the things that it does to files.

A forked child counts what it does to the store's files, and kills itself at a number drawn
from a seed: before the file is synced, between that and the move into place, or after it. The
next child goes on. Nothing here depends on how fast anything is.
"""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from orchestrator.running.chaos import Verdict, chaos, digests
from tests.support.small import outcome, tables, write_sweep
from tombola.store.verify import repair, verify

GRIDS = [
    {"method": ["random", "snip"], "levels": [2, 5, 8], "ablation": ["none", "shuffle"]},
    {"method": "imp", "levels": [3], "rewind_step": [0, 3]},
]
KILLS = 24
LIVES = (12, 12, 12, 40)
"""Syncs and moves that a child may make at the most, of about a hundred of the whole sweep: the
longest life reaches beyond the thirty-odd that the largest pack makes before its first result."""


def run(path: Path, store: Path, fuse: int | None) -> None:
    """Run the sweep in this process and die at file operation number `fuse`."""
    if fuse is not None:
        left = [fuse]

        def deadly(work: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
            def counted(*args: Any, **more: Any) -> Any:
                left[0] -= 1
                if left[0] == 0 and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                found = work(*args, **more)
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            return counted

        os.fsync = deadly(os.fsync, after=False)
        os.replace = deadly(os.replace, after=bool(fuse % 2))
    study.run(study.read(path), store, InlineExecutor())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork of a process with threads
def test_a_driver_killed_at_two_dozen_points_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, grids=GRIDS)
    run(path, tmp_path / "whole", None)
    expected, store = outcome(tmp_path / "whole"), tmp_path / "store"
    dice, fork = random.Random("kill points"), multiprocessing.get_context("fork")
    lives = [dice.randint(1, dice.choice(LIVES)) for _ in range(KILLS)]
    for life in (*lives, None):
        child = fork.Process(target=run, args=(path, store, life))
        child.start()
        child.join()
        assert child.exitcode == (-signal.SIGKILL if life else 0)
    left = verify(store)
    assert all(finding.leftover for finding in left), left
    repair(left)
    assert outcome(store) == expected
    assert tables(store) == tables(tmp_path / "whole")
    assert verify(store) == []


@pytest.mark.slow
def test_chaos_kills_a_driver_and_finds_the_same_tables(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    words = [str(path), "--executor=inline"]
    told: list[str] = []
    verdict = chaos(words, tmp_path, kills=2, seed=1, victims=("driver",), tell=told.append)
    assert verdict.survived, verdict
    assert verdict.killed["driver"] == sum(line.startswith("killed the driver") for line in told)
    assert verdict.killed["driver"] >= 1


def test_chaos_sees_a_result_that_differs(tmp_path: Path) -> None:
    run(write_sweep(tmp_path), tmp_path / "store", None)
    found = digests(tmp_path / "store")
    changed = {**found, min(found): "0" * 64}
    assert Verdict({}, found, dict(found), 0).survived
    assert not Verdict({}, changed, found, 0).survived
    assert Verdict({}, changed, found, 0).differing == 2
    assert not Verdict({}, dict(list(found.items())[1:]), found, 0).survived
