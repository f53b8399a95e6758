"""Is everything in a store what it says it is? Reads all of it; repairs by removing.

What is removed is computed again by the next launch that needs it.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.errors import DamagedFile
from orchestrator.store import artifacts, asked, layout, results, schema, segments
from orchestrator.store.place import remote, remove
from tasks.key import digest

_LEFTOVER = "left behind by a process that was killed"


@dataclass(frozen=True)
class Finding:
    """A file that is wrong or left over, and why."""

    path: Path
    problem: str

    @property
    def leftover(self) -> bool:
        """Whether it is what a killed process was writing, which damages nothing."""
        return self.problem == _LEFTOVER


def verify(store: Path, observe: Callable[[int], None] = lambda _: None) -> list[Finding]:
    """All that is wrong with a store; `observe` hears how many files were read."""
    findings: list[Finding] = []
    kept: dict[str, int] = {}
    for count, finding in enumerate(_check_all(store, kept)):
        observe(count)
        if finding is not None:
            findings.append(finding)
    return findings


def repair(findings: list[Finding]) -> None:
    """Remove what was found."""
    remove(finding.path for finding in findings)


def _check_all(store: Path, kept: dict[str, int]) -> Iterator[Finding | None]:
    live = list(layout.published(store / layout.LIVE, ".parquet"))
    for path in live:
        yield _checked(path, lambda path=path: _check_live(path, kept))  # type: ignore[misc]
    for path in segments.segments(store):
        for part in (path, *segments.segment_parts(path).values()):
            yield _checked(part, lambda part=part: _check_segment(part, kept))  # type: ignore[misc]
    for path in layout.published(store / layout.MASKS, ".safetensors"):
        yield _checked(path, lambda path=path: _check_mask(store, path, kept))  # type: ignore[misc]
    for path in layout.published(store / layout.STATES, ".safetensors"):
        yield _checked(path, lambda path=path: _check_state(store, path))  # type: ignore[misc]
    for path in layout.published(store / layout.CHECKPOINTS, ".safetensors"):
        yield _checked(path, lambda path=path: artifacts.read_checkpoint(store, path.stem))  # type: ignore[misc]
    for path in layout.published(store / layout.SWEEPS, ".parquet"):
        yield _checked(path, lambda path=path: _check_sweep(path))  # type: ignore[misc]
    for folder in (layout.REPEATS, layout.JOURNAL):
        for path in layout.published(store / folder, ".parquet"):
            yield _checked(path, lambda path=path: results.read(path))  # type: ignore[misc]
    for path in store.rglob(".*.tmp*") if remote(store) is None else ():
        if _abandoned(path):
            yield Finding(path, _LEFTOVER)


def _checked(path: Path, check: Callable[[], object]) -> Finding | None:
    try:
        check()
    except FileNotFoundError:
        return Finding(path, "missing")
    except (DamagedFile, ValueError, KeyError) as error:
        return Finding(path, str(error).split(";")[0].removeprefix(str(path)).strip())
    return None


def _check_live(path: Path, kept: dict[str, int]) -> None:
    row = results.read(path).to_pylist()[0]
    if row["key"] != path.stem or digest(row["value"]) != row["key"]:
        raise ValueError("its key is not that of the value in it")
    lost = set(schema.LIVE.names) - schema.ADDED - row.keys()
    if lost or results.row_checksum(row) != row["checksum"]:
        raise ValueError("its columns are not those that were written")
    if row["kind"] == "mask":
        kept[row["key"]] = row["kept"]


def _check_segment(path: Path, kept: dict[str, int]) -> None:
    table = results.read(path)
    if not path.name.startswith("tasks-"):
        return
    for row in table.select(["key", "value", "kind", "kept"]).to_pylist():
        if digest(row["value"]) != row["key"]:
            raise ValueError(f"the key {row['key'][:12]} is not that of its value")
        if row["kind"] == "mask":
            kept[row["key"]] = row["kept"]


def _check_mask(store: Path, path: Path, kept: dict[str, int]) -> None:
    arrays = artifacts.read_mask(store, path.stem)
    count = sum(int(np.count_nonzero(array)) for array in arrays.values())
    if count != kept.get(path.stem, count):
        raise ValueError(f"keeps {count} weights where its result says {kept[path.stem]}")


def _check_sweep(path: Path) -> None:
    trials = results.read(path)
    said = {name.decode(): value.decode() for name, value in (trials.schema.metadata or {}).items()}
    about = {name: said[name] for name in schema.SWEEP_METADATA}
    asked.check_metadata(about)
    asked.check_trials(trials, about["name"])


def _check_state(store: Path, path: Path) -> None:
    if not path.stem.isdigit():
        raise ValueError("a state's file is named by its step")
    artifacts.read_state(store, path.parent.name, int(path.stem))


def _abandoned(path: Path) -> bool:
    """Temporary files are named for host and process (files.temporary)."""
    found = re.search(
        rf"\.{re.escape(socket.gethostname())}\.(\d+)\.(\d+\.)?tmp(\.wal)?$", path.name
    )
    if found is None:
        return False
    process = int(found.group(1))
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return process == os.getpid()
