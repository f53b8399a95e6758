"""A store on a real S3 server that is held, killed or overloaded while a sweep runs."""

import http.server
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.s3 import Server, until
from tests.support.small import command, outcome, write_sweep
from tombola.store import layout
from tombola.store.verify import verify

pytestmark = pytest.mark.slow

GRIDS = [
    {"method": ["random", "snip"], "levels": [1, 2, 4, 8], "ablation": ["none", "shuffle"]},
    {"method": "imp", "levels": [1, 2, 3], "rewind_step": [0, 3]},
]
INLINE = ("run", "tiny.yaml", "--executor", "inline")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_sweep(folder, grids=GRIDS)
    assert command(*INLINE, cwd=folder).returncode == 0
    return outcome(folder / "store")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_sweep(tmp_path, grids=GRIDS)
    server = Server(tmp_path / "buckets").start()
    yield server
    server.kill()


def start(folder: Path, server: Server, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tombola.cli", *INLINE],
        cwd=folder,
        env={**os.environ, **server.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def committed(server: Server) -> int:
    return sum(1 for _ in (server.folder / layout.LIVE).rglob("*.parquet"))


def has_begun(server: Server, process: subprocess.Popen[str]) -> None:
    until(lambda: committed(server) >= 3 or process.poll() is not None)
    assert process.poll() is None, process.communicate()


def is_undisturbed(folder: Path, server: Server, undisturbed: dict[str, Any]) -> None:
    """Assert that a second launch finishes and leaves what an undisturbed run leaves."""
    again = command(*INLINE, cwd=folder, **server.environment)
    assert again.returncode == 0, again.stdout + again.stderr
    assert outcome(server.folder) == undisturbed
    assert verify(server.folder) == []
    told = command("verify", cwd=folder, **server.environment)
    assert told.stdout == f"{server.store}: every result, state and mask is whole\n"
    told = command("gc", cwd=folder, **server.environment)
    assert told.stdout.startswith("nothing to free")
    names = {path.name for path in server.folder.iterdir()}
    assert names <= {*(name.split("/")[0] for name in layout.FOLDERS), layout.DATABASE}


def test_a_server_that_is_held_is_waited_for(
    tmp_path: Path, server: Server, undisturbed: dict[str, Any]
) -> None:
    process = start(tmp_path, server)
    has_begun(server, process)
    server.stop()
    until(lambda: server.waiting() > 0)
    server.go_on()
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, said + errors
    assert outcome(server.folder) == undisturbed
    is_undisturbed(tmp_path, server, undisturbed)


def test_a_server_that_was_killed_ends_the_launch_in_one_line_and_loses_nothing(
    tmp_path: Path, server: Server, undisturbed: dict[str, Any]
) -> None:
    process = start(tmp_path, server, AWS_MAX_ATTEMPTS="2")
    has_begun(server, process)
    server.kill()
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 2, said + errors
    line = f"error: store {server.store} cannot be written: the endpoint http://127.0.0.1:"
    assert errors.startswith(line), errors
    assert errors.count("\n") == 1, errors
    assert 3 <= committed(server) < len(undisturbed)
    server.start()
    is_undisturbed(tmp_path, server, undisturbed)


class _Overloaded(http.server.BaseHTTPRequestHandler):
    """A server that answers 503 to every request and counts them."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.asked += 1  # type: ignore[attr-defined]

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *said: object) -> None:
        pass


class _Stand(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    asked = 0


def overload(port: int, answers: int) -> None:
    """Replace a server until a number of requests has been refused."""
    with _Stand(("127.0.0.1", port), _Overloaded) as stand:
        thread = threading.Thread(target=stand.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            until(lambda: stand.asked >= answers)
        finally:
            stand.shutdown()
            thread.join()


def test_answers_503_are_tried_again_until_it_recovers(
    tmp_path: Path, server: Server, undisturbed: dict[str, Any]
) -> None:
    process = start(tmp_path, server)
    has_begun(server, process)
    server.kill()
    overload(server.port, answers=2)
    server.start()
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, said + errors
    is_undisturbed(tmp_path, server, undisturbed)


def test_a_task_that_the_store_failed_is_tried_again_and_says_so(
    tmp_path: Path, server: Server, undisturbed: dict[str, Any]
) -> None:
    process = start(tmp_path, server, AWS_MAX_ATTEMPTS="1")
    has_begun(server, process)
    server.kill()
    overload(server.port, answers=2)
    server.start()
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, said + errors
    query = "SELECT count(*) AS n FROM attempts WHERE event = 'retried'"
    told = command("sql", query, "--format", "csv", cwd=tmp_path, **server.environment)
    assert int(told.stdout.split()[1]) >= 1
    is_undisturbed(tmp_path, server, undisturbed)
