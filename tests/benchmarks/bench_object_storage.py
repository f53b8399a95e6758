"""A store on a real S3 server on loopback beside one in a directory: connecting, a whole sweep."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report, timed

from analysis import results as reading
from orchestrator.store import layout, results
from orchestrator.store.compact import compact
from orchestrator.store.files import open_store
from orchestrator.store.place import contents, locate
from tasks.key import digest
from tests.s3 import Server

COUNT = 2_000
ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests" / "golden" / "store"


def main() -> None:
    machine()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder)).start()
        os.environ.update(server.environment)
        try:
            compare_reading(server)
            compare_sweeps(server, Path(folder))
        finally:
            server.kill()


def compare_reading(server: Server) -> None:
    """The server's folder is itself a store: the same files, read both ways."""
    here, there = open_store(server.folder, create=True), locate(server.store)
    paths = list((SHIPPED / layout.LIVE).rglob("*.parquet"))
    rows = [results.read(path).to_pylist()[0] for path in paths]
    for number in range(COUNT):
        results.commit(here, {**rows[number % len(rows)], "key": digest(str(number))})
    reading.connect(there).close()  # the client and its connections
    for name, store in (("a directory", here), ("S3", there)):
        listed, found = timed(lambda store=store: list(layout.published(store / layout.LIVE, "")))
        report(f"list {COUNT:,} live results, {name}", f"{listed:.2f} s")
        if store is there:
            together, _ = timed(lambda found=found: list(contents(found)))
            alone, _ = timed(lambda found=found: [path.read_bytes() for path in found[:200]])
            report("read them, concurrently", f"{together:.2f} s")
            report("one after another", f"{alone * COUNT / 200:.2f} s")
        connecting, _ = timed(_connected(store))
        report(f"connect, {COUNT:,} live results, {name}", f"{connecting:.2f} s")
    compacting, merged = timed(lambda: compact(there))
    assert merged == COUNT
    report("compact them, S3", f"{compacting:.2f} s")
    for name, store in (("a directory", here), ("S3", there)):
        connecting, _ = timed(_connected(store), repeat=3)
        report(f"connect, one segment, {name}", f"{connecting:.2f} s")


def _connected(store: Path) -> Callable[[], None]:
    def work() -> None:
        with reading.connect(store) as connection:
            assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (COUNT,)

    return work


def compare_sweeps(server: Server, folder: Path) -> None:
    """`tombola run` from an empty store, on Ray."""
    taken = {}
    for name, store in (("a directory", folder / "store"), ("S3", f"{server.store}/quickstart")):
        command = [sys.executable, "-m", "orchestrator.cli", "run", "sweeps/quickstart.yaml"]
        began = time.perf_counter()
        subprocess.run([*command, "--store", str(store)], cwd=ROOT, check=True, capture_output=True)
        taken[name] = time.perf_counter() - began
        report(f"sweeps/quickstart.yaml, {name}", f"{taken[name]:.1f} s")
    report("S3 / directory", f"{taken['S3'] / taken['a directory']:.2f} x")


if __name__ == "__main__":
    main()
