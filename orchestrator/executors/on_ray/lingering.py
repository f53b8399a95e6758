"""End what a local Ray leaves behind: a small process of its own waits for the driver's end.

The kernel ends what the driver has started when the driver is killed. What the raylet has
started (its agents) tries for another minute to tell a cluster that is gone. This file is run
by its path without site packages, so it imports the standard library alone.
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
"""How long they get to end by themselves."""

_LOOK_SECONDS = 0.05


class Process(NamedTuple):
    """A process: its number, and when it began, by which a later one of that number differs."""

    number: int
    began: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        about = _about(self.number)
        return about is not None and about[19] == self.began and about[0] not in "ZX"


class Watcher:
    """Watches over the children of a process until this one ends or closes the watcher."""

    def __init__(self, parent: int) -> None:
        named = [f"{child.number}:{child.began}" for child in children(parent)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *named],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and a killed group of processes do not reach it
        )

    def close(self) -> None:
        """Have the children ended, and wait for that."""
        with suppress(subprocess.TimeoutExpired, BrokenPipeError):
            self._process.communicate(timeout=2 * PATIENCE_SECONDS)


def children(parent: int) -> list[Process]:
    """The processes that a process has started; none where there is no /proc."""
    numbers = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    found = [(number, _about(number)) for number in numbers]
    return [Process(n, about[19]) for n, about in found if about and about[1] == str(parent)]


def _about(number: int) -> list[str] | None:
    """Fields of /proc/<number>/stat (proc(5)) from the third, the state; None without it."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _main(named: list[str]) -> None:
    """Wait until the driver closes the pipe or is gone, then end whoever is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    left = [Process(int(number), began) for number, _, began in (n.partition(":") for n in named)]
    sys.stdin.buffer.read()
    until = time.monotonic() + PATIENCE_SECONDS
    while any(one.alive for one in left) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    for one in left:
        with suppress(OSError):
            if one.alive:
                os.kill(one.number, signal.SIGKILL)


if __name__ == "__main__":
    _main(sys.argv[1:])
