"""Two stores: where their results differ, and one taken into the other.

What is in both is compared and left as it is: a result that differs is a determinism alarm,
and neither it nor anything that stands on it is taken over. Everything that is taken is checked.
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
    """What a merge took over (counts, names of sweeps), what was here already, and the alarms.

    `refused` are results that stand on one that differs here.
    """

    results: int = 0
    agreed: int = 0
    refused: int = 0
    masks: int = 0
    states: int = 0
    sweeps: list[str] = field(default_factory=list)
    alarms: list[Apart] = field(default_factory=list)


def apart(ours: Path, theirs: Path, keys: Iterable[str]) -> Iterator[Apart]:
    """Those of the keys whose results differ between two stores."""
    for key in keys:
        first, second = results.find(ours, key), results.find(theirs, key)
        if first and second and (found := differences(first, second)):
            yield Apart(first, second, found[0])


def differing(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Keys that are in both with another digest; a later version's columns may be all of it."""
    return sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])


def merge(store: Path, other: Path) -> Merged:
    """Take into `store` what it lacks of `other`.

    Results, sweeps, journals, repeats, and of weights and masks those that the sweeps keep or
    still need (`keep` in a sweep file).

    Raises
    ------
    DamagedFile
        When a file of `other` is not what was written; what was taken before it is whole. Of a
        store with a sweep that no sweep file could ask for nothing is taken.
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
    """The keys, and those of all results that stand on them."""
    if not keys:
        return keys
    users: dict[str, list[str]] = defaultdict(list)
    for _, row in results.rows(other):
        for key in _KEY.findall(row["value"]):
            users[key].append(row["key"])
    tainted, unvisited = set(keys), list(keys)
    while unvisited:
        found = [key for key in users[unvisited.pop()] if key not in tainted]
        tainted.update(found)
        unvisited += found
    return tainted


def _take_notes(store: Path, other: Path, merged: Merged) -> None:
    """Sweeps, repeats and journals: files that no other result could take the name of."""
    for folder, suffix in (
        (layout.SWEEPS, ".parquet"),
        (layout.REPEATS, ".parquet"),
        (layout.JOURNAL, ".jsonl"),  # before the tables, for folding moves events that way
        (layout.JOURNAL, ".parquet"),
    ):
        here = _places(store, folder, suffix)
        paths = layout.published(other / folder, suffix)
        lacking = [path for path in paths if path.relative_to(other) not in here]
        for path, content in zip(lacking, contents(lacking), strict=True):
            if content is None:
                continue  # a part of a journal, folded meanwhile
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
        wanted = None  # a sweep of code that is not here: nothing is known to be surplus

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
    """Where files of a folder are, from the store's root."""
    return {path.relative_to(store) for path in layout.published(store / folder, suffix)}


def _check_mask(store: Path, other: Path, path: Path) -> None:
    """A mask keeps as many weights as its result says, here too."""
    kept = sum(int(np.count_nonzero(a)) for a in artifacts.read_mask(other, path.stem).values())
    row = results.find(store, path.stem)
    if row is not None and row["kept"] != kept:
        raise DamagedFile(path, f"keeps {kept} weights where its result says {row['kept']}")
