"""Compare two stores, and import one into the other.

Results that are in both stores are compared and not changed. A result that differs is a
determinism alarm; neither it nor results that depend on it are imported. Every imported file is
checked.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from orchestrator.maintenance import gc
from tombola.errors import DamagedFile, StoreError
from tombola.store import artifacts, journal, layout, location, results
from tombola.store.compact import publish_segment
from tombola.store.compare import Compared, Row, differences
from tombola.store.location import contents
from tombola.store.publish import publish
from tombola.store.spool import Spool

BATCH = 5_000
"""Results in memory at a time, and in one segment."""

_KEY = re.compile(r'"([0-9a-f]{64})"')


class Apart(NamedTuple):
    """Two results of one key that differ, and the first place where they do."""

    first: Row
    second: Row
    where: Compared


@dataclass
class Merged:
    """The outcome of an import: counts, names of sweeps, and alarms.

    `agreed` counts results that both stores have. `refused` counts results that were not
    imported, as they depend on one that differs.
    """

    results: int = 0
    agreed: int = 0
    refused: int = 0
    masks: int = 0
    states: int = 0
    sweeps: list[str] = field(default_factory=list)
    alarms: list[Apart] = field(default_factory=list)


def apart(ours: Path, theirs: Path, keys: Iterable[str]) -> Iterator[Apart]:
    """Yield the results of these keys that differ between two stores."""
    for key in keys:
        first, second = results.find(ours, key), results.find(theirs, key)
        if first and second and (values := differences(first, second)):
            yield Apart(first, second, values[0])


def differing(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Return keys with different digests; columns of a later version may be the only reason."""
    return sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])


def merge(store: Path, other: Path) -> Merged:
    """Import into `store` what it lacks of `other`.

    That is results, sweeps, journals, repeats, and the weights and masks that sweeps keep or
    need (`keep` in a sweep file).

    Raises
    ------
    DamagedFile
        When a file of `other` is damaged. Files imported before it are whole. If a sweep's file
        is damaged or invalid, nothing is imported.
    """
    for path in layout.published(other / layout.SWEEPS, ".parquet"):
        results.read(path)
    ours, theirs = results.digests(store), results.digests(other)
    merged = Merged(agreed=len(ours.keys() & theirs.keys()))
    merged.alarms = list(apart(store, other, differing(ours, theirs)))
    merged.agreed -= len(merged.alarms)
    tainted = _tainted(other, {alarm.first["key"] for alarm in merged.alarms})
    wanted = theirs.keys() - ours.keys() - tainted
    merged.refused = len(tainted - ours.keys())
    with Spool() as spool:
        for row in _checked(other, wanted):
            spool.add(row)
        fresh = spool.rows()
        while batch := list(islice(fresh, BATCH)):
            publish_segment(store, batch)
            merged.results += len(batch)
    live = {path.stem for path in layout.published(store / layout.LIVE, ".parquet")}
    merged.alarms += apart(store, other, sorted(live & wanted))  # committed here meanwhile
    _take_notes(store, other, merged)
    _take_artifacts(store, other, tainted, merged)
    return merged


def _checked(other: Path, wanted: set[str]) -> Iterator[Row]:
    for path, row in results.rows(other):
        if row["key"] in wanted:
            results.check(path, row)
            yield row


def _tainted(other: Path, keys: set[str]) -> set[str]:
    """Return the keys, and the keys of all results that depend on them."""
    if not keys:
        return keys
    users: dict[str, list[str]] = defaultdict(list)
    for _, row in results.rows(other):
        for key in _KEY.findall(row["value"]):
            users[key].append(row["key"])
    tainted, unvisited = set(keys), list(keys)
    while unvisited:
        fresh = [key for key in users[unvisited.pop()] if key not in tainted]
        tainted.update(fresh)
        unvisited += fresh
    return tainted


def _take_notes(store: Path, other: Path, merged: Merged) -> None:
    """Import sweeps, repeats and journals, whose file names are unique."""
    for folder, suffix in (
        (layout.SWEEPS, ".parquet"),
        (layout.REPEATS, ".parquet"),
        (layout.JOURNAL, ".jsonl"),  # before the tables, as folding moves events in that order
        (layout.JOURNAL, ".parquet"),
    ):
        here = _places(store, folder, suffix)
        paths = layout.published(other / folder, suffix)
        lacking = [path for path in paths if path.relative_to(other) not in here]
        for path, content in zip(lacking, contents(lacking), strict=True):
            if content is None:
                continue  # a journal part that was folded meanwhile
            if suffix == ".parquet":
                results.parse(path, content)
            else:
                _check_journal(path, content)
            publish(store / path.relative_to(other), content)
            if folder == layout.SWEEPS:
                merged.sweeps.append(path.stem.rpartition("-")[0])


def _check_journal(path: Path, content: bytes) -> None:
    try:
        journal.check(content)
    except ValueError as error:
        raise DamagedFile.altered(path, error) from None


def _take_artifacts(store: Path, other: Path, tainted: set[str], merged: Merged) -> None:
    try:
        wanted = {path.relative_to(store) for path in gc.wanted(store)}
    except StoreError:
        wanted = None  # a sweep names code that is not here: import all artifacts

    def lacking(folder: str) -> Iterator[Path]:
        here = _places(store, folder, ".safetensors")
        for path in layout.published(other / folder, ".safetensors"):
            place = path.relative_to(other)
            if place not in here and (wanted is None or place in wanted):
                yield path

    for path in lacking(layout.MASKS):
        if path.stem not in tainted:
            _check_mask(store, other, path)
            publish(store / path.relative_to(other), location.read(path))
            merged.masks += 1
    for path in lacking(layout.STATES):
        if path.parent.name not in tainted:
            artifacts.read_state(other, path.parent.name, int(path.stem))
            publish(store / path.relative_to(other), location.read(path))
            merged.states += 1


def _places(store: Path, folder: str, suffix: str) -> set[PurePath]:
    """Return the paths of a folder's files, relative to the root of the store."""
    return {path.relative_to(store) for path in layout.published(store / folder, suffix)}


def _check_mask(store: Path, other: Path, path: Path) -> None:
    """Check that a mask keeps as many weights as its result has, also in this store."""
    kept = sum(int(np.count_nonzero(a)) for a in artifacts.read_mask(other, path.stem).values())
    row = results.find(store, path.stem)
    if row is not None and row["kept"] != kept:
        raise DamagedFile(path, f"keeps {kept} weights; its result has {row['kept']}")
