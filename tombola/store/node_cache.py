"""Weights and masks on a node's own disk, for tasks there that read what was just written.

Advisory: whatever is found carries its checksum like the file in the store, and whoever finds
it damaged forgets it and asks the store. Entries belong to one launch, so that nothing is read
which a store held before. Workers of a node share the folder; one that is killed leaves at
most a hidden file, which the next sweep of the folder removes.
"""

import hashlib
import itertools
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = "TOMBOLA_CACHE"
"""Names the folder on a node's disk below which ours lies; by default that of temporary files."""

ENTRIES = 10_000
"""At most so many files, however small they are."""

SPARE_BYTES = 1 << 30
"""What the disk is left with by us; others need it too, and it may be memory."""

ABANDONED_SECONDS = 3600.0
"""After so long a file that is still being written is not."""

_SHARE = 64
"""Each process looks through the folder after it has written this part of the limit."""

_counter = itertools.count()


@dataclass
class Reads:
    """How many files this process read: what its node had, and what the store had to give."""

    node: int = 0
    store: int = 0


class Nearby:
    """A launch's files in a folder that holds at most about `limit` bytes of all launches.

    The file that was not read for the longest time goes first. Nothing here ever raises for a
    disk that is full or gone: then nothing is kept, or found.
    """

    def __init__(self, folder: Path, launch: str, limit: int) -> None:
        self._folder, self._launch, self._limit = folder, launch, limit
        self._bytes, self._files = limit, 0  # look through it at the first write
        self.reads = Reads()

    def find(self, path: Path) -> bytes | None:
        """What was kept for a file of the store; None where there is nothing."""
        entry = self._entry(path)
        with suppress(OSError):
            content = entry.read_bytes()
            os.utime(entry)
            return content
        return None

    def keep(self, path: Path, content: bytes) -> None:
        """Keep what the store has, or is known to have had, at `path`."""
        entry = self._entry(path)
        aside = entry.with_name(f".{entry.name}.{os.getpid()}.{next(_counter)}")
        with suppress(OSError):
            if len(content) > self._limit or self._spare() < len(content):
                return
            try:
                aside.write_bytes(content)
                aside.replace(entry)
            finally:
                aside.unlink(missing_ok=True)
            self._bytes, self._files = self._bytes + len(content), self._files + 1
            if self._bytes > self._limit / _SHARE or self._files > ENTRIES / _SHARE:
                self._sweep()
                self._bytes = self._files = 0

    def forget(self, path: Path) -> None:
        """Remove what was kept for it."""
        with suppress(OSError):
            self._entry(path).unlink()

    def _entry(self, path: Path) -> Path:
        return self._folder / hashlib.sha256(f"{self._launch}\n{path}".encode()).hexdigest()

    def _spare(self) -> int:
        return shutil.disk_usage(self._folder).free - SPARE_BYTES

    def _sweep(self) -> None:
        """Remove what was left unfinished, and the oldest of what is too much."""
        kept, total = [], 0
        for found in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another worker sweeps too
                about = found.stat(follow_symlinks=False)
                abandoned = time.time() - about.st_mtime > ABANDONED_SECONDS
                if found.name.startswith("."):
                    if abandoned:
                        Path(found.path).unlink()
                    continue
                kept.append((about.st_mtime_ns, about.st_size, found.path))
                total += about.st_size
        kept.sort(reverse=True)
        while kept and (total > self._limit or len(kept) > ENTRIES):
            _, size, oldest = kept.pop()
            Path(oldest).unlink(missing_ok=True)
            total -= size


@cache
def nearby(launch: str, limit: int) -> Nearby | None:
    """A launch's files on this node; None where there is no folder for them that is ours alone.

    Others may write to a folder of temporary files, and what they would put there in advance
    could carry a checksum as well.
    """
    if not limit:
        return None
    above = Path(os.environ.get(FOLDER) or tempfile.gettempdir())
    folder = above / f"tombola-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
    return Nearby(folder, launch, limit) if ours and not about.st_mode & 0o022 else None
