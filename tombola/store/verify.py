"""Verify a store by reading all of it; repair it by removing damaged files.

The next launch that needs a removed file computes it again.
"""

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from tasks.values.key import digest
from tombola.errors import StoreError
from tombola.store import artifacts, journal, layout, location, parquet, results, schema, segments
from tombola.store.lineage import Lineage
from tombola.store.location import LARGEST, TOP, linked, place_in_store, remote, remove
from tombola.store.publish import leftovers
from tombola.store.results import Row

_LEFTOVER = "left behind by a process that was killed"
_AGAIN = "run its sweep again"


@dataclass(frozen=True)
class Finding:
    """A file that is damaged or left over, and why; or a result that `lacks` one of its inputs."""

    path: Path
    problem: str
    lacks: str | None = None

    @property
    def leftover(self) -> bool:
        """Return whether it is an unfinished file of a killed process, which is no damage."""
        return self.problem == _LEFTOVER

    @property
    def removable(self) -> bool:
        """Return whether removing the file repairs the store; otherwise the next launch does."""
        return self.lacks is None


class _Seen:
    """Facts from undamaged results: weights kept by each mask, and the lineage.

    `damaged` tells whether a result is damaged.
    """

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.lineage = Lineage()
        self.damaged = False

    def note(self, row: Row, path: Path) -> None:
        value = json.loads(row["value"])
        if not isinstance(value, dict):
            raise ValueError(f"the value of {row['key'][:12]} is not an object")
        if row["kind"] == "mask":
            self.kept[row["key"]] = row["kept"]
        self.lineage.add(row["key"], value, path)


def verify(store: Path, observe: Callable[[int], None] = lambda _: None) -> list[Finding]:
    """Return all problems of a store; `observe` is called with the number of files read."""
    findings: list[Finding] = []
    seen = _Seen()
    for count, finding in enumerate(_check_all(store, seen)):
        observe(count)
        if finding is not None:
            findings.append(finding)
    return findings


def repair(findings: list[Finding]) -> None:
    """Remove the files of findings, except results that only lack an input.

    A folder is removed with its content, a link without its target. A segment is removed as a
    whole, its `tasks` file first, as its rows are incomplete without one of the files.
    """
    for finding in findings:
        if not finding.removable:
            continue
        path = finding.path
        here = remote(path) is None and not path.is_symlink() and linked(path) is None
        if here and path.is_dir():
            shutil.rmtree(path)
        elif layout.known(path) and place_in_store(path)[:2] == _IN_SEGMENTS:
            identity = path.name.partition("-")[2]
            remove(path.with_name(f"{table}-{identity}") for table in ("tasks", *schema.PARTS))
        else:
            remove([path])


_IN_SEGMENTS = tuple(layout.SEGMENTS.split("/"))


def _check_all(store: Path, seen: _Seen) -> Iterator[Finding | None]:
    for finding in _check_results(store, seen):
        seen.damaged |= finding is not None
        yield finding
    yield from _check_lineage(store, seen)
    for path in layout.published(store / layout.MASKS, ".safetensors"):
        yield _checked(path, lambda path=path: _check_mask(store, path, seen))  # type: ignore[misc]
    for path in layout.published(store / layout.STATES, ".safetensors"):
        yield _checked(path, lambda path=path: _check_state(store, path))  # type: ignore[misc]
    for path in layout.published(store / layout.CHECKPOINTS, ".safetensors"):
        yield _checked(path, lambda path=path: artifacts.read_checkpoint(store, path.stem))  # type: ignore[misc]
    yield from _check_notes(store)
    if remote(store) is None:
        yield from _strange(store)
    for path in leftovers(store):
        yield Finding(path, _LEFTOVER)


def _check_notes(store: Path) -> Iterator[Finding | None]:
    for folder in (layout.SWEEPS, layout.REPEATS, layout.JOURNAL):
        for path in layout.published(store / folder, ".parquet"):
            yield _checked(path, lambda path=path: results.read(path))  # type: ignore[misc]
    for path in layout.published(store / layout.JOURNAL, ".jsonl"):
        yield _checked(path, lambda path=path: journal.check(location.read(path, LARGEST)))  # type: ignore[misc]


def _check_results(store: Path, seen: _Seen) -> Iterator[Finding | None]:
    live = list(layout.published(store / layout.LIVE, ".parquet"))
    for path in live:
        yield _checked(path, lambda path=path: _check_live(path, seen))  # type: ignore[misc]
    for path in segments.segments(store):
        for part in (path, *segments.segment_parts(path).values()):
            yield _checked(part, lambda part=part: _check_segment(part, seen))  # type: ignore[misc]


def _check_lineage(store: Path, seen: _Seen) -> Iterator[Finding]:
    """Yield missing inputs of results, unless a damaged result may explain them."""
    for gap in () if seen.damaged else seen.lineage.gaps():
        if results.find(store, gap.lacks) is None:
            problem = f"{gap.user[:12]} needs {gap.lacks[:12]}, which has no result; {_AGAIN}"
            yield Finding(gap.path, problem, gap.lacks)


_SUFFIXES = (".safetensors", ".parquet", ".jsonl")


def _strange(store: Path) -> Iterator[Finding]:
    """Yield everything among the files of a store that readers ignore: links, foreign files."""
    for top in sorted(TOP):
        if (store / top).is_symlink():
            yield Finding(store / top, _LINK)
            continue
        for folder, inner, names in os.walk(store / top):
            for name in [*inner, *names]:
                path = Path(folder) / name
                if problem := _problem(path):
                    yield Finding(path, problem)
            inner[:] = [name for name in inner if not name.endswith(_SUFFIXES)]


_LINK = "is a symbolic link, which a store ignores"


def _problem(path: Path) -> str | None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return _LINK
    if stat.S_ISDIR(mode):
        return "is a folder where a file should be" if path.name.endswith(_SUFFIXES) else None
    if not stat.S_ISREG(mode):
        return "is a pipe, a socket or a device"
    stray = path.name.endswith(_SUFFIXES) and not path.name.startswith(".")
    return "is not a file name of a store" if stray and not layout.known(path) else None


def _checked(path: Path, check: Callable[[], object]) -> Finding | None:
    try:
        check()
    except FileNotFoundError:
        return Finding(path, "missing")
    except PermissionError:
        raise
    except (StoreError, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        return Finding(path, str(error).split(";")[0].removeprefix(str(path)).strip()[:300])
    return None


def _check_live(path: Path, seen: _Seen) -> None:
    row = results.read(path).to_pylist()[0]
    if row["key"] != path.stem or digest(row["value"]) != row["key"]:
        raise ValueError("its key does not match its value")
    if results.row_checksum(row) != row["checksum"]:
        raise ValueError("its columns do not match its checksum")
    seen.note(row, path)


def _check_segment(path: Path, seen: _Seen) -> None:
    table = results.read(path)
    key = table.column_names[0]
    if not all(isinstance(k, str) for k in pc.unique(table[key]).to_pylist()):
        raise ValueError(f"a {key} in it is missing")
    if not path.name.startswith("tasks-"):
        return
    for row in table.select(["key", "value", "kind", "kept"]).to_pylist():
        if digest(row["value"]) != row["key"]:
            raise ValueError(f"the key {row['key'][:12]} does not match its value")
        seen.note(row, path)
    _check_rows(path)


def _check_rows(head: Path) -> None:
    """Compare the rows of an older segment, whose files lack checksums, with their checksums."""
    parts = (head, *segments.segment_parts(head).values())
    if not all(parquet.has_checksums(location.read(part)) for part in parts):
        for row in segments.segment_rows(head):
            results.check(head, row)


def _check_mask(store: Path, path: Path, seen: _Seen) -> None:
    arrays = artifacts.read_mask(store, path.stem)
    count = sum(int(np.count_nonzero(array)) for array in arrays.values())
    if count != seen.kept.get(path.stem, count):
        raise ValueError(f"keeps {count} weights; its result has {seen.kept[path.stem]}")


def _check_state(store: Path, path: Path) -> None:
    if not path.stem.isdigit():
        raise ValueError("its name is not the number of a step")
    artifacts.read_state(store, path.parent.name, int(path.stem))
