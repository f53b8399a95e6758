"""A disk that is full, read-only or lies, and a clock that jumps.

After each: launched again, the tables equal an undisturbed run's, nothing lies about, and
`verify` is silent.
"""

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis.database import connection as results
from analysis.database import export
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from orchestrator.running.launch import Progress
from orchestrator.scheduling.failures import Failure
from tests.support.s3 import until
from tests.support.small import command, outcome, write_sweep
from tombola.errors import StoreError
from tombola.store import clock, layout
from tombola.store.compact import compact
from tombola.store.segments import segment_keys, segments
from tombola.store.verify import repair, verify

INLINE = ("run", "tiny.yaml", "--executor", "inline")


def launch(folder: Path) -> Progress:
    return study.run(study.read(folder / "tiny.yaml"), folder / "store", InlineExecutor())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    write_sweep(folder)
    assert not launch(folder).failures
    return folder


@pytest.fixture(scope="module")
def undisturbed(template: Path) -> dict[str, Any]:
    return outcome(template / "store")


@pytest.fixture
def finished(template: Path, tmp_path: Path) -> Path:
    """Copy a store in which all is done."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


def is_undisturbed(folder: Path, undisturbed: dict[str, Any]) -> None:
    store = folder / "store"
    assert outcome(store) == undisturbed
    assert verify(store) == []
    assert [p for p in store.rglob(".*") if p.is_file() and p.name != ".compacting"] == []
    told = command("gc", cwd=folder)
    assert told.stdout.startswith("nothing to free"), told.stdout + told.stderr


# ---------------------------------------------------------------- a full disk


class Full:
    """Make syncs of files below a folder of the store fail, the first `times` of them."""

    def __init__(self, folder: str, times: float) -> None:
        self.folder, self.times, self.failed = folder, times, 0
        self._sync = os.fsync

    def __call__(self, file: int) -> None:
        name = str(Path(f"/proc/self/fd/{file}").readlink())
        if self.failed < self.times and f"/store/{self.folder}/" in name:
            self.failed += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sync(file)


WRITTEN = [layout.STATES, layout.MASKS, layout.LIVE, layout.JOURNAL]


@pytest.mark.parametrize("folder", WRITTEN)
def test_a_disk_that_is_full_for_a_moment_costs_a_try(
    folder: str, tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sweep(tmp_path)
    full = Full(folder, times=1)
    monkeypatch.setattr(os, "fsync", full)
    assert not launch(tmp_path).failures
    assert full.failed == 1
    is_undisturbed(tmp_path, undisturbed)


@pytest.mark.parametrize("folder", WRITTEN)
def test_a_disk_that_stays_full_fails_tasks_by_their_class(
    folder: str, tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sweep(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", Full(folder, times=float("inf")))
        failures = launch(tmp_path).failures
    assert bool(failures) == (folder != layout.JOURNAL)  # which is advisory
    for failed in failures:
        assert failed.why is Failure.STORE
        said = f"store {tmp_path}/store: No space left on device (after 3 tries)"
        assert failed.message == said
    assert not launch(tmp_path).failures
    is_undisturbed(tmp_path, undisturbed)


def test_where_nothing_can_be_written_any_more_the_launch_ends(
    tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sweep(tmp_path)

    def full(_file: int) -> None:
        if (tmp_path / "store" / layout.LIVE).exists() and any(
            (tmp_path / "store" / layout.LIVE).rglob("*.parquet")
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="cannot be written: No space left on device"):
            launch(tmp_path)
    assert not launch(tmp_path).failures
    is_undisturbed(tmp_path, undisturbed)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], bool]]:
    """Mount a disk for the store; calling the fixture mounts it again with other options."""
    store = tmp_path / "store"
    store.mkdir()

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(store)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mount("size=700k"):
        pytest.skip("this user may mount nothing; the same is tested with injected errors")
    yield mount
    subprocess.run(["umount", str(store)], check=True)


@pytest.mark.slow
def test_a_real_disk_fills_up(
    disk: Callable[[str], bool], tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    write_sweep(tmp_path)
    ended = command(*INLINE, cwd=tmp_path)
    assert ended.returncode in (1, 2), ended.stdout + ended.stderr
    assert "No space left on device" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert disk("remount,size=100m")
    again = command(*INLINE, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    is_undisturbed(tmp_path, undisturbed)


def test_a_database_that_does_not_fit_costs_no_result(
    disk: Callable[[str], bool], template: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    store = tmp_path / "store"
    assert disk("remount,size=100m")
    shutil.copytree(template / "store", store, dirs_exist_ok=True)
    assert disk(f"remount,size={shutil.disk_usage(store).used // 1024 + 128}k")
    with pytest.raises(StoreError, match=r"duckdb of .* cannot be written \(No space left"):
        export.publish(store)
    is_undisturbed(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_store_becomes_read_only_in_the_middle(
    disk: Callable[[str], bool], tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    write_sweep(tmp_path)
    assert disk("remount,size=100m")
    process = subprocess.Popen(
        [sys.executable, "-m", "tombola.cli", *INLINE],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: any((tmp_path / "store" / layout.LIVE).rglob("[!.]*.parquet")))
    until(lambda: disk("remount,ro"))  # busy while a file is being written
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 2, said + errors
    assert errors == "error: store store cannot be written: Read-only file system\n"
    assert disk("remount,rw")
    again = command(*INLINE, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    is_undisturbed(tmp_path, undisturbed)


# ---------------------------------------------------------------- a disk that lies


def truncate(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))])


def flip(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(content))


def files(store: Path, what: str) -> list[Path]:
    if what == layout.SEGMENTS:
        compact(store)
        return list(layout.published(store / layout.SEGMENTS, ".parquet"))
    suffix = ".parquet" if what == layout.LIVE else ".safetensors"
    return list(layout.published(store / what, suffix))


def rows(store: Path) -> list[Any]:
    with results.connect(store) as connection:
        return [connection.sql(f"FROM {table} ORDER BY ALL").fetchall() for table in results.TABLES]


@pytest.mark.parametrize("damage", [truncate, flip])
@pytest.mark.parametrize("what", [layout.STATES, layout.MASKS, layout.LIVE, layout.SEGMENTS])
def test_what_a_disk_changes_is_found_and_computed_again(
    what: str,
    damage: Callable[[Path, random.Random], None],
    finished: Path,
    undisturbed: dict[str, Any],
) -> None:
    store, dice = finished / "store", random.Random(f"{what} {damage.__name__}")
    damaged = dice.sample(files(store, what), 3)
    before = rows(store)
    for path in damaged:
        damage(path, dice)
    found = verify(store)
    if {finding.path for finding in found} != set(damaged):
        assert rows(store) == before  # a bit that nobody reads
    repair(found)
    for _ in range(2):  # what a lost segment knew is asked of again, then its states
        assert not launch(finished).failures
    held = {key for head in segments(store) for key in segment_keys(head)}
    assert held | outcome(store).keys() == undisturbed.keys()
    assert verify(store) == []
    if what != layout.SEGMENTS:
        is_undisturbed(finished, undisturbed)


# ---------------------------------------------------------------- a clock that jumps


def set_clock(patched: pytest.MonkeyPatch, moment: Callable[[], datetime]) -> None:
    patched.setattr(clock, "now", moment)
    patched.setattr("orchestrator.node.worker.now", moment)


def test_a_clock_that_jumps_by_days_during_a_launch_changes_nothing(
    tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sweep(tmp_path)
    dice, real = random.Random(1), clock.now
    set_clock(monkeypatch, lambda: real() + timedelta(days=dice.uniform(-1, 1)))
    assert not launch(tmp_path).failures
    is_undisturbed(tmp_path, undisturbed)
    with results.connect(tmp_path / "store") as connection:
        orders = connection.sql(
            "SELECT DISTINCT events FROM (SELECT list(event ORDER BY noted_at) AS events"
            " FROM attempts GROUP BY key)"
        ).fetchall()
    assert orders == [(["dispatched", "finished"],)]


def test_the_latest_launch_and_revision_count_though_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clock.now
    write_sweep(tmp_path, grids=[{"method": "no_such_file:score", "levels": [1]}])
    (tmp_path / "no_such_file.py").write_text("def score(*_): raise ValueError('not yet')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    set_clock(monkeypatch, lambda: real() + timedelta(days=1))
    assert [failed.why for failed in launch(tmp_path).failures] == [Failure.RAISED]
    write_sweep(tmp_path, grids=[{"method": "random", "levels": [1, 2]}])
    set_clock(monkeypatch, real)
    assert not launch(tmp_path).failures
    with results.connect(tmp_path / "store") as connection:
        trials = connection.sql("SELECT DISTINCT method, status FROM trials ORDER BY 1").fetchall()
        last = connection.sql("SELECT DISTINCT arg_max(event, noted_at) FROM attempts").fetchall()
    assert trials == [("dense", "done"), ("random", "done")]
    assert last == [("finished",)]
    told = command("status", cwd=tmp_path)
    assert "0 dispatched, 0 failed, 0 blocked; last heard of 0 s ago" in told.stdout
