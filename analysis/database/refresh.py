"""Refresh of `results.duckdb` during a launch, for other DuckDB clients.

A child process of low priority writes the file. Its memory is freed when it ends, and neither the
loop of the launch nor the workers on this machine wait for it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis.database import children, export
from tombola.errors import TombolaError
from tombola.store import arrow

FIRST_SECONDS = 5.0
"""Seconds to the first refresh; a shorter launch publishes the file only at its end."""

SHARE = 0.05
"""Share of the time that refreshes may take."""

_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.1


@contextmanager
def refreshing(store: Path) -> Iterator[None]:
    """Refresh the store's database while the context lasts; stop an unfinished refresh at its end.

    If a refresh fails (a full disk, a store that is unavailable), the old file stays and no error
    is reported. The launch publishes the file again at its end, and reports errors then.
    """
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(store, over), name="refresh", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(store: Path, over: threading.Event) -> None:
    shown, pause = None, FIRST_SECONDS
    while not over.wait(pause):
        began = time.monotonic()
        with suppress(TombolaError, OSError):
            now = arrow.mark(store)
            if now != shown and _made(store, over):
                shown = now
        pause = max(FIRST_SECONDS, (time.monotonic() - began) * (1 / SHARE - 1))


def _made(store: Path, over: threading.Event) -> bool:
    words, environment = children.command("analysis.database.refresh", str(store))
    silent = subprocess.DEVNULL
    with subprocess.Popen(
        words, env=environment, stdin=silent, stdout=silent, stderr=silent
    ) as process:
        while process.poll() is None:
            if over.wait(_LOOK_SECONDS):
                _end(process)
    return process.returncode == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _main(store: str) -> int:
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # raises KeyboardInterrupt, so the unfinished file is removed
    os.nice(5)
    try:
        export.publish(store)
    except (TombolaError, OSError, KeyboardInterrupt):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
