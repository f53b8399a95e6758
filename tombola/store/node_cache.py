"""Cache weights and masks on the disk of a node.

Tasks often read what another task on the same node has just written. The cache is advisory:
each entry has the checksums of the file in the store, and a damaged entry is removed and read
from the store. Entries belong to one launch, so that no entry is older than the launch. The
workers of a node share the folder. A killed worker leaves at most one hidden file, which a
later clean-up of the folder removes.
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
"""Environment variable: the folder that holds the cache; default: that of temporary files."""

ENTRIES = 10_000
"""The most files in the folder, however small they are."""

SPARE_BYTES = 1 << 30
"""Free bytes that the cache leaves on the disk: others need it too, and it may be memory."""

ABANDONED_SECONDS = 3600.0
"""Age at which an unfinished file is taken to be left by a killed worker."""

_SHARE = 64
"""A process cleans up the folder each time it has written 1/64 of the limit."""

_counter = itertools.count()


@dataclass
class Reads:
    """Number of files that this process read from the node cache, and from the store."""

    node: int = 0
    store: int = 0


class NodeCache:
    """The cache of one launch, in a folder that holds about `limit` bytes of all launches.

    The file that was not read for the longest time is removed first. A full or missing disk
    raises no error: nothing is added or found then.
    """

    def __init__(self, folder: Path, launch: str, limit: int) -> None:
        self._folder, self._launch, self._limit = folder, launch, limit
        self._bytes, self._files = limit, 0  # clean up at the first write
        self.reads = Reads()

    def find(self, path: Path) -> bytes | None:
        """Return the cached content of a file of the store, or None."""
        entry = self._entry(path)
        with suppress(OSError):
            content = entry.read_bytes()
            os.utime(entry)
            return content
        return None

    def keep(self, path: Path, content: bytes) -> None:
        """Add the content of the file at `path` of the store."""
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
        """Remove the entry of a file."""
        with suppress(OSError):
            self._entry(path).unlink()

    def _entry(self, path: Path) -> Path:
        return self._folder / hashlib.sha256(f"{self._launch}\n{path}".encode()).hexdigest()

    def _spare(self) -> int:
        return shutil.disk_usage(self._folder).free - SPARE_BYTES

    def _sweep(self) -> None:
        """Remove abandoned files, and the oldest entries beyond the limits."""
        kept, total = [], 0
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another worker cleans up too
                about = entry.stat(follow_symlinks=False)
                abandoned = time.time() - about.st_mtime > ABANDONED_SECONDS
                if entry.name.startswith("."):
                    if abandoned:
                        Path(entry.path).unlink()
                    continue
                kept.append((about.st_mtime_ns, about.st_size, entry.path))
                total += about.st_size
        kept.sort(reverse=True)
        while kept and (total > self._limit or len(kept) > ENTRIES):
            _, size, oldest = kept.pop()
            Path(oldest).unlink(missing_ok=True)
            total -= size


@cache
def open_cache(launch: str, limit: int) -> NodeCache | None:
    """Return the cache of a launch on this node, or None without a private folder for it.

    Other users can write to a folder of temporary files. They could put files with valid
    checksums there, so a folder that others can write to is not used.
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
    return NodeCache(folder, launch, limit) if ours and not about.st_mode & 0o022 else None
