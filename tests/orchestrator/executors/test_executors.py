"""The contract of every executor: the same packs give the same outcomes and the same store."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors.base import Executor
from orchestrator.executors.inline import InlineExecutor
from orchestrator.node.pack import Arrival, Job, Pack, Returned, WorkerLost
from orchestrator.planning.planner import Nothing, plan
from orchestrator.running import study
from orchestrator.running.launch import _job
from orchestrator.scheduling.failures import Failure
from tasks.values import user_code
from tests.support.small import command, outcome, write_sweep
from tombola.store.publish import open_store


def ray() -> Executor:
    from orchestrator.executors.on_ray import RayExecutor

    return RayExecutor(num_cpus=1)


@pytest.fixture(scope="module", params=[InlineExecutor, ray], ids=["inline", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Callable[[], Executor] = request.param
    running = made()
    yield running
    running.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return open_store(tmp_path / "store", create=True)


def jobs(folder: Path, **sweep: Any) -> list[Job]:
    tasks = plan(study.read(write_sweep(folder, **sweep)).trials, Nothing()).tasks
    return [_job(task, 1) for task in list(tasks.values())[:6]]


def arrivals(executor: Executor, count: int) -> list[Arrival]:
    found: list[Arrival] = []
    for _ in range(300):
        found += executor.wait(1.0)
        if len(found) >= count:
            return found
    raise AssertionError("nothing came back")


def pack_of(store: Path, *jobs: Job, name: str = "p") -> Pack:
    return Pack(identity=name, jobs=jobs, store=str(store), launch="test")


@pytest.mark.slow
@pytest.mark.parametrize("home", ["writable", "not there"])
def test_a_job_with_a_long_temporary_folder_and_without_a_home_starts_ray(
    home: str, tmp_path: Path
) -> None:
    write_sweep(tmp_path, grids=[{"method": "random", "levels": [2]}])
    long = tmp_path / ("d" * 90)
    long.mkdir()
    ours = tmp_path / "home"
    ours.mkdir()
    named = {"HOME": str(ours) if home == "writable" else "/proc/nowhere", "TMPDIR": str(long)}
    ended = command("run", "tiny.yaml", "--num-cpus", "1", cwd=tmp_path, **named)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 of 2 trials done" in ended.stdout
    assert not list(ours.rglob("auth_token")), "a token in a file is one that others may read"


def test_it_has_at_least_one_slot(executor: Executor) -> None:
    assert executor.slots >= 1


def test_code_of_ones_own_is_still_looked_for_where_this_process_is(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only workers of the executor get the folder in which it was made."""
    (tmp_path / "written_later.py").write_text("def score(): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    assert user_code.file("written_later:score") == tmp_path / "written_later.py"


def test_a_pack_comes_back_with_an_outcome_for_each_job(
    executor: Executor, store: Path, tmp_path: Path
) -> None:
    work = jobs(tmp_path)
    pack = pack_of(store, *work)
    executor.submit(pack)
    [arrival] = arrivals(executor, 1)
    assert isinstance(arrival, Returned)
    assert arrival.pack == pack
    assert [o.key for o in arrival.outcomes] == [job.key for job in work]
    assert all(o.failure is None and o.seconds > 0 for o in arrival.outcomes)
    assert set(outcome(store)) == {job.key for job in work}


def test_nothing_arrives_when_nothing_was_submitted(executor: Executor) -> None:
    assert executor.wait(0.01) == []


def test_a_job_that_raises_is_an_outcome_and_those_who_need_it_are_skipped(
    executor: Executor, store: Path, tmp_path: Path
) -> None:
    good = jobs(tmp_path)[0]
    broken = Job(key="b" * 64, kind="run", value=good.value.replace("digits", "nothing"), attempt=1)
    needs_it = Job(key="c" * 64, kind="run", value=good.value, attempt=1, needs=(broken.key,))
    executor.submit(pack_of(store, broken, needs_it, good))
    [arrival] = arrivals(executor, 1)
    assert isinstance(arrival, Returned)
    assert [o.key for o in arrival.outcomes] == [broken.key, good.key]
    failed = arrival.outcomes[0]
    assert (failed.failure, arrival.outcomes[1].failure) == (Failure.RAISED, None)
    assert "no dataset 'nothing'" in failed.message
    assert "Traceback" in failed.traceback


def test_packs_in_flight_all_come_back(executor: Executor, store: Path, tmp_path: Path) -> None:
    work = jobs(tmp_path)[:1]
    for number in range(5):
        executor.submit(pack_of(store, *work, name=str(number)))
    found = arrivals(executor, 5)
    assert sorted(a.pack.identity for a in found) == ["0", "1", "2", "3", "4"]
    assert not any(isinstance(a, WorkerLost) for a in found)
    assert len(outcome(store)) == 1, "the same work done five times is one result"


def test_a_wide_pack_runs_too_and_the_only_node_cannot_be_avoided(
    executor: Executor, store: Path, tmp_path: Path
) -> None:
    executor.submit(replace(pack_of(store, *jobs(tmp_path)[:1]), width=executor.widest))
    [arrival] = arrivals(executor, 1)
    assert isinstance(arrival, Returned)
    assert arrival.outcomes[0].failure is None
    assert not executor.avoid(frozenset({arrival.node or "here"}))
    assert executor.avoid(frozenset())


def test_told_to_drain_each_pack_comes_back_and_nothing_more_is_begun(
    executor: Executor, store: Path, tmp_path: Path
) -> None:
    """It is the last test, since a drained executor stays drained."""
    hours = {"steps": 1_000_000, "batch_size": 64, "lr": 0.1}
    executor.submit(pack_of(store, *jobs(tmp_path, recipe=hours)))
    executor.drain()
    assert executor.draining
    [arrival] = arrivals(executor, 1)
    assert isinstance(arrival, Returned)
    assert set(outcome(store)) == {o.key for o in arrival.outcomes if o.failure is None}
    assert {o.failure for o in arrival.outcomes} <= {None, Failure.PREEMPTED}
    assert len(arrival.outcomes) < len(arrival.pack.jobs)
