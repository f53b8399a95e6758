"""A node's cache of the store on its own disk: whole files, bounded, and never required."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from analysis.database import connection as results
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from orchestrator.running.launch import Limits, launch
from tests.support.small import outcome, write_sweep
from tombola.cli.views.summary import print_reads
from tombola.errors import DamagedFile
from tombola.store import artifacts, layout
from tombola.store.node_cache import ABANDONED_SECONDS, NodeCache, open_cache
from tombola.store.verify import verify

RUN = "ab" * 32
WEIGHTS = {"fc": np.arange(6, dtype=np.float32)}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir()
    return tmp_path / "node"


@pytest.fixture
def near(node: Path) -> NodeCache:
    return NodeCache(node, "launch", 1 << 20)


def entries(node: Path) -> list[Path]:
    return sorted(node.iterdir())


def test_what_was_written_is_read_without_the_store_and_so_is_what_was_read(
    tmp_path: Path, near: NodeCache, node: Path
) -> None:
    artifacts.write_state(tmp_path, RUN, 5, WEIGHTS, near)
    (tmp_path / layout.state(RUN, 5)).rename(tmp_path / "away")
    assert (artifacts.read_state(tmp_path, RUN, 5, near)["fc"] == WEIGHTS["fc"]).all()
    with pytest.raises(DamagedFile, match="is missing"):
        artifacts.read_state(tmp_path, RUN, 5)

    (tmp_path / "away").rename(tmp_path / layout.state(RUN, 5))
    entries(node)[0].unlink()
    artifacts.read_state(tmp_path, RUN, 5, near)
    assert len(entries(node)) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "another", "empty"])
def test_a_damaged_entry_is_dropped_and_the_store_is_read_again(
    tmp_path: Path, near: NodeCache, node: Path, damage: str
) -> None:
    artifacts.write_state(tmp_path, RUN, 5, WEIGHTS, near)
    entry = entries(node)[0]
    whole = entry.read_bytes()
    artifacts.write_state(tmp_path, RUN, 6, WEIGHTS)
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    entry.write_bytes(
        {
            "truncated": whole[:-3],
            "flipped": bytes(flipped),
            "another": (tmp_path / layout.state(RUN, 6)).read_bytes(),
            "empty": b"",
        }[damage]
    )
    assert (artifacts.read_state(tmp_path, RUN, 5, near)["fc"] == WEIGHTS["fc"]).all()
    assert entry.read_bytes() == whole


def test_a_file_that_is_damaged_in_the_store_is_told_and_not_kept(
    tmp_path: Path, near: NodeCache, node: Path
) -> None:
    artifacts.write_state(tmp_path, RUN, 5, WEIGHTS)
    path = tmp_path / layout.state(RUN, 5)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedFile, match="truncated or altered") as caught:
        artifacts.read_state(tmp_path, RUN, 5, near)
    assert caught.value.path == path
    assert entries(node) == []


def test_another_launch_and_another_store_find_nothing(tmp_path: Path, node: Path) -> None:
    path = tmp_path / "store" / layout.state(RUN, 5)
    NodeCache(node, "one", 1000).keep(path, b"content")
    assert NodeCache(node, "one", 1000).find(path) == b"content"
    assert NodeCache(node, "other", 1000).find(path) is None
    assert NodeCache(node, "one", 1000).find(tmp_path / "else" / layout.state(RUN, 5)) is None


def test_what_was_not_read_for_the_longest_time_goes_first(tmp_path: Path, node: Path) -> None:
    near = NodeCache(node, "launch", 100)
    paths = [tmp_path / str(number) for number in range(6)]
    for age, path in enumerate(paths[:4]):
        near.keep(path, bytes(25))
        os.utime(near._entry(path), (age, age))
    assert near.find(paths[0]) is not None
    near.keep(paths[4], bytes(25))
    near.keep(paths[5], bytes(25))
    kept = [path.name for path in paths if near.find(path) is not None]
    assert kept == ["0", "3", "4", "5"]


def test_what_is_larger_than_the_bound_or_than_the_disk_has_spare_is_not_kept(
    tmp_path: Path, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = NodeCache(node, "launch", 100)
    near.keep(tmp_path / "a", bytes(101))
    monkeypatch.setattr(NodeCache, "_spare", lambda self: 10)
    near.keep(tmp_path / "b", bytes(11))
    assert entries(node) == []
    near.keep(tmp_path / "c", bytes(10))
    assert len(entries(node)) == 1


def test_what_a_killed_worker_left_unfinished_is_never_read_and_goes_in_time(
    tmp_path: Path, node: Path
) -> None:
    near = NodeCache(node, "launch", 100)
    name = near._entry(tmp_path / "a").name
    old, young = node / f".{name}.1.1", node / f".{name}.2.1"
    for half in (old, young):
        half.write_bytes(b"ha")
    long_ago = young.stat().st_mtime - ABANDONED_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    assert near.find(tmp_path / "a") is None
    near.keep(tmp_path / "b", b"whole")
    assert young in entries(node)
    assert old not in entries(node)


def test_workers_share_it(tmp_path: Path, node: Path) -> None:
    """Workers write, read and evict at once; files that are found are whole."""

    def work(worker: int) -> int:
        near, found = NodeCache(node, "launch", 2000), 0
        for turn in range(100):
            path = tmp_path / str((worker + turn) % 7)
            content = near.find(path)
            assert content in (None, path.name.encode() * 400)
            found += content is not None
            near.keep(path, path.name.encode() * 400)
        return found

    with ThreadPoolExecutor(4) as workers:
        assert sum(workers.map(work, range(4))) > 0
    assert sum(path.stat().st_size for path in entries(node)) <= 2000


def test_a_folder_that_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path))
    ours = tmp_path / f"tombola-{os.getuid()}"
    ours.mkdir()
    ours.chmod(0o777)
    assert open_cache("open to all", 100) is None
    ours.chmod(0o700)
    assert open_cache("ours", 100) is not None
    assert open_cache("not asked for", 0) is None
    ours.rmdir()
    ours.symlink_to("/tmp")
    assert open_cache("a link", 100) is None
    monkeypatch.setenv("TOMBOLA_CACHE", "/proc/nowhere")
    assert open_cache("no disk", 100) is None


def test_a_disk_that_is_gone_is_no_error(tmp_path: Path, node: Path) -> None:
    near = NodeCache(node, "launch", 100)
    node.rmdir()
    near.keep(tmp_path / "a", b"content")
    assert near.find(tmp_path / "a") is None
    near.forget(tmp_path / "a")


def test_a_launch_says_what_its_node_had_and_no_digest_knows_of_it(tmp_path: Path) -> None:
    asked = study.read(write_sweep(tmp_path, grids=[{"method": "imp", "levels": [1, 2]}]))
    progress = {}
    for name, limit in (("near", 1 << 30), ("far", 0)):
        planned, costs = study.plan_for(asked, tmp_path / name)
        study.register(asked, tmp_path / name)
        limits = Limits(node_cache=limit)
        progress[name] = launch(
            planned, tmp_path / name, InlineExecutor(), costs=costs, limits=limits
        )
    assert outcome(tmp_path / "near") == outcome(tmp_path / "far")
    assert verify(tmp_path / "near") == []
    counted = (
        "SELECT kind, sum(node_reads), sum(store_reads) FROM tasks GROUP BY kind ORDER BY kind"
    )
    with results.connect(tmp_path / "near") as connection:
        # Each level's mask reads weights and, from the second on, a mask; each run its mask.
        assert connection.execute(counted).fetchall() == [("mask", 3, 0), ("run", 2, 0)]
        assert told(connection, progress["near"].launch) == (
            "weights and masks: 5 read from the node cache, 0 from the store\n"
        )
    with results.connect(tmp_path / "far") as connection:
        assert connection.execute(counted).fetchall() == [("mask", None, None), ("run", None, None)]
        assert told(connection, progress["far"].launch) == ""


def told(connection: Any, launched: str) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_reads(console, connection, launched)
    return console.file.getvalue()
