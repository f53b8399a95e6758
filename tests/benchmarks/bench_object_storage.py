"""A store on a real S3 server on loopback compared with one in a directory."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import s3fs

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report, timed

from analysis.database import connection as reading
from tasks.values.key import digest
from tests.support.commit import commit
from tests.support.s3 import Server
from tombola.store import layout, object_storage, results
from tombola.store.compact import compact
from tombola.store.location import contents, locate
from tombola.store.publish import open_store, publish, publish_all

COUNT, SOME = 2_000, 100
AWAY = 0.02
"""Seconds that a request takes to a server that is not on this machine."""

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests" / "golden" / "store"


def main() -> None:
    machine()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder)).start()
        os.environ.update(server.environment)
        try:
            compare_publishing(server)
            compare_reading(server)
            compare_sweeps(server, Path(folder))
        finally:
            server.kill()


def compare_publishing(server: Server) -> None:
    """Time masks and results of a pack, published in one stage each or object by object."""
    compare_commits(locate(server.store), "S3")
    with far_away(server.port) as port:
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        forget_clients()
        compare_commits(locate(server.store), f"S3, {1000 * AWAY:.0f} ms away")
    os.environ.update(server.environment)
    forget_clients()


def compare_commits(store: Path, name: str) -> None:
    def stages(of: str) -> list[list[tuple[Path, bytes]]]:
        return [
            [(store / "published" / of / kind / str(n), bytes(size)) for n in range(SOME)]
            for kind, size in (("masks", 30_000), ("results", 3_000))
        ]

    publish_all(*stages("first"))  # connections
    together, _ = timed(lambda: publish_all(*stages("together")))
    alone, _ = timed(lambda: [publish(*file) for stage in stages("alone") for file in stage])
    report(f"publish {SOME} masks, then {SOME} results, {name}", f"{together:.2f} s")
    report("one after another / together", f"{alone / together:.1f} x")


def compare_reading(server: Server) -> None:
    """Time both ways to read the same files: the server's folder is itself a store."""
    here, there = open_store(server.folder, create=True), locate(server.store)
    paths = list((SHIPPED / layout.LIVE).rglob("*.parquet"))
    rows = [results.read(path).to_pylist()[0] for path in paths]
    for number in range(COUNT):
        commit(here, {**rows[number % len(rows)], "key": digest(str(number))})
    reading.connect(there).close()  # the client and its connections
    for name, store in (("a directory", here), ("S3", there)):
        listed, _ = timed(lambda store=store: list(layout.published(store / layout.LIVE, "")))
        report(f"list {COUNT:,} live results, {name}", f"{listed:.2f} s")
        if store is there:
            compare_ways(there, "S3")
        connecting, _ = timed(_connected(store))
        report(f"connect, {COUNT:,} live results, {name}", f"{connecting:.2f} s")
    with far_away(server.port) as port:
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        forget_clients()
        compare_ways(locate(server.store), f"S3, {1000 * AWAY:.0f} ms away")
        connecting, _ = timed(_connected(locate(server.store)))
        report(f"connect, S3, {1000 * AWAY:.0f} ms away", f"{connecting:.2f} s")
    os.environ.update(server.environment)
    forget_clients()
    there = locate(server.store)
    compacting, merged = timed(lambda: compact(there))
    assert merged == COUNT
    report("compact them, S3", f"{compacting:.2f} s")
    for name, store in (("a directory", here), ("S3", there)):
        connecting, _ = timed(_connected(store), repeat=3)
        report(f"connect, one segment, {name}", f"{connecting:.2f} s")


def compare_ways(store: Path, name: str) -> None:
    """Time many objects, read together and one after another."""
    found = list(layout.published(store / layout.LIVE, ""))
    list(contents(found[:SOME]))  # connections
    together, _ = timed(lambda: list(contents(found)))
    alone, _ = timed(lambda: [path.read_bytes() for path in found[:SOME]])
    report(f"read {COUNT:,} concurrently, {name}", f"{together:.2f} s")
    report("one after another / concurrently", f"{alone * COUNT / SOME / together:.1f} x")


@contextmanager
def far_away(port: int) -> Iterator[int]:
    """Open a port that forwards requests to a server after a delay."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait: float) -> None:
        while content := await reader.read(1 << 16):
            await asyncio.sleep(wait)
            writer.write(content)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        with suppress(asyncio.CancelledError):  # at the end
            await asyncio.gather(pump(reader, back, AWAY), pump(there, writer, 0.0))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    begun = asyncio.start_server(serve, "127.0.0.1", 0)
    listening = asyncio.run_coroutine_threadsafe(begun, loop).result()
    yield listening.sockets[0].getsockname()[1]

    def end() -> None:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        ended.add_done_callback(lambda _: loop.stop())

    loop.call_soon_threadsafe(end)
    thread.join()


def forget_clients() -> None:
    """Drop cached clients, which keep the endpoint they were made with."""
    s3fs.S3FileSystem.clear_instance_cache()
    object_storage._s3_session.cache_clear()


def _connected(store: Path) -> Callable[[], None]:
    def work() -> None:
        with reading.connect(store) as connection:
            assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (COUNT,)

    return work


def compare_sweeps(server: Server, folder: Path) -> None:
    """Time `tombola run` from an empty store, on Ray."""
    taken = {}
    for name, store in (("a directory", folder / "store"), ("S3", f"{server.store}/quickstart")):
        command = [sys.executable, "-m", "tombola.cli", "run", "sweeps/quickstart.yaml"]
        began = time.perf_counter()
        subprocess.run([*command, "--store", str(store)], cwd=ROOT, check=True, capture_output=True)
        taken[name] = time.perf_counter() - began
        report(f"sweeps/quickstart.yaml, {name}", f"{taken[name]:.1f} s")
    report("S3 / directory", f"{taken['S3'] / taken['a directory']:.2f} x")


if __name__ == "__main__":
    main()
