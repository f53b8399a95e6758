"""End the processes that a local Ray leaves behind, from a small process beside the driver.

When the driver is killed, the kernel ends its children. The children of the raylet (its agents)
try for another minute to reach the dead cluster. This file is run by its path, without site
packages, so it imports only the standard library.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PATIENCE_SECONDS = 3.0
"""Seconds that the processes get to end by themselves."""

_LOOK_SECONDS = 0.05


class Process(NamedTuple):
    """A process: its number, and its start time, as numbers are reused."""

    number: int
    began: str

    @property
    def alive(self) -> bool:
        """Return whether it still runs; a zombie does not."""
        about = _about(self.number)
        return about is not None and about[19] == self.began and about[0] not in "ZX"


class Watcher:
    """Ends the children of a process when this process ends or closes the watcher."""

    def __init__(self, parent: int) -> None:
        named = [f"{child.number}:{child.began}" for child in children(parent)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *named],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # not reached by Ctrl-C or a kill of the process group
        )

    def close(self) -> None:
        """End the children, and wait until they have ended."""
        with suppress(subprocess.TimeoutExpired, BrokenPipeError):
            self._process.communicate(timeout=2 * PATIENCE_SECONDS)


def children(parent: int) -> list[Process]:
    """Return the children of a process; none on a system without /proc."""
    numbers = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    pairs = [(number, _about(number)) for number in numbers]
    return [Process(n, about[19]) for n, about in pairs if about and about[1] == str(parent)]


def _about(number: int) -> list[str] | None:
    """Return the fields of /proc/<number>/stat (proc(5)) from the third, or None."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _main(named: list[str]) -> None:
    """Wait until the driver closes the pipe or dies, then end the remaining processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    left = [Process(int(number), began) for number, _, began in (n.partition(":") for n in named)]
    sys.stdin.buffer.read()
    until = time.monotonic() + PATIENCE_SECONDS
    while any(process.alive for process in left) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    for process in left:
        with suppress(OSError):
            if process.alive:
                os.kill(process.number, signal.SIGKILL)


if __name__ == "__main__":
    _main(sys.argv[1:])
