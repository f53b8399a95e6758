"""`results.duckdb` made anew while a launch goes on, so that any DuckDB client can follow it.

In a process of its own, which steps aside for others: its memory is given back, and neither the
launch's loop nor the workers of this machine wait for it.
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
from analysis.errors import AnalysisError
from tombola.store import arrow

FIRST_SECONDS = 5.0
"""After which it is made first: what is over sooner has it published at its end alone."""

SHARE = 0.05
"""Of the time, that may go by in making it."""

_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.1


@contextmanager
def refreshing(store: Path) -> Iterator[None]:
    """While the context lasts the store's database follows it; what is half made is dropped then.

    Where it cannot be had (a full disk, a store that is away) it stays what it was and nobody is
    told: at a launch's end it is published again, and then what is wrong is said.
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
        with suppress(AnalysisError, OSError):
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was written aside is removed
    os.nice(5)
    try:
        export.publish(store)
    except (AnalysisError, OSError, KeyboardInterrupt):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
