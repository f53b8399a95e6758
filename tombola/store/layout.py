"""The layout of a store: relative paths from keys, and the published files of a folder.

store/
  states/<ab>/<run key>/<step>.safetensors     masks/<ab>/<mask key>.safetensors
  checkpoints/<ab>/<run key>.safetensors
  results/live/<ab>/<key>.parquet              results/segments/<table>-<id>.parquet
  repeats/<ab>/<key>-<launch>.parquet
  sweeps/<sweep>-<revision>.parquet            journal/<launch>/<n>.jsonl
                                               journal/<launch>/<n>-<m>.parquet
  requests/<sweep>/<id>.json                   (requests to a running launch)
  progress/<launch>.json                       (progress of a running launch)
  results.duckdb
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from tombola.store.location import linked, place_in_store, remote

STATES = "states"
MASKS = "masks"
CHECKPOINTS = "checkpoints"
LIVE = "results/live"
SEGMENTS = "results/segments"
REPEATS = "repeats"
SWEEPS = "sweeps"
JOURNAL = "journal"
REQUESTS = "requests"
PROGRESS = "progress"
DATABASE = "results.duckdb"

FOLDERS = (STATES, MASKS, CHECKPOINTS, LIVE, SEGMENTS, REPEATS, SWEEPS, JOURNAL)


def state(run_key: str, step: int) -> str:
    """Return the path of a run's weights after `step` iterations."""
    return f"{STATES}/{run_key[:2]}/{run_key}/{step}.safetensors"


def mask(key: str) -> str:
    """Return the path of a mask."""
    return f"{MASKS}/{key[:2]}/{key}.safetensors"


def checkpoint(run_key: str) -> str:
    """Return the path of the checkpoint of an unfinished run."""
    return f"{CHECKPOINTS}/{run_key[:2]}/{run_key}.safetensors"


def result(key: str) -> str:
    """Return the path of the live result that commits a task."""
    return f"{LIVE}/{key[:2]}/{key}.parquet"


def part(head: Path, table: str) -> Path:
    """Return the path of another table of the segment whose `tasks` file is `head`."""
    return head.with_name(head.name.replace("tasks-", f"{table}-", 1))


def segment(table: str, identity: str) -> str:
    """Return the path of a table of a segment, which exists once its `tasks` file does."""
    return f"{SEGMENTS}/{table}-{identity}.parquet"


def repeat(key: str, launch: str) -> str:
    """Return the path of the comparison of a task that a launch repeated."""
    return f"{REPEATS}/{key[:2]}/{key}-{launch}.parquet"


def sweep(name: str, revision: str) -> str:
    """Return the path of the trials of one revision of a sweep."""
    return f"{SWEEPS}/{name}-{revision}.parquet"


def requests(sweep: str) -> str:
    """Return the folder of the requests to a sweep's launches."""
    return f"{REQUESTS}/{sweep}"


def progress(launch: str) -> str:
    """Return the path of the progress of a running launch."""
    return f"{PROGRESS}/{launch}.json"


def journal(launch: str, part: int) -> str:
    """Return the path of the n-th part of a launch's journal."""
    return f"{JOURNAL}/{launch}/{part:06d}.jsonl"


def folded_journal(launch: str, first: int, last: int) -> str:
    """Return the path of the table of parts `first` to `last` of a launch's journal."""
    return f"{JOURNAL}/{launch}/{first:06d}-{last:06d}.parquet"


def journal_parts(store: Path) -> tuple[list[Path], list[Path]]:
    """List journal parts that no table holds, and the tables of the others; each event once.

    Parts are listed before tables, as folding moves events in that order.
    """
    parts = list(published(store / JOURNAL, ".jsonl"))
    folded: dict[Path, list[range]] = {}
    tables = []
    for path, covers in sorted(_folded(store), key=lambda pair: (pair[1].start, -pair[1].stop)):
        known = folded.setdefault(path.parent, [])
        if not any(covers.start in covered and covers[-1] in covered for covered in known):
            known.append(covers)
            tables.append(path)
    unfolded = [
        path
        for path in parts
        if not any(part_number(path) in covers for covers in folded.get(path.parent, ()))
    ]
    return unfolded, tables


def _folded(store: Path) -> Iterator[tuple[Path, range]]:
    for path in published(store / JOURNAL, ".parquet"):
        match = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", path.stem)
        if match and (covers := range(int(match[1]), int(match[2]) + 1)):
            yield path, covers


def part_number(part: Path) -> int:
    """Return the number of a journal part from its name; -1 if the name has none."""
    return int(part.stem) if re.fullmatch("[0-9]{1,18}", part.stem) else -1


_KEY = "[0-9a-f]{64}"
_FAN = "[0-9a-f]{2}"
_NAME = r"[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*"
_PLACES = re.compile(
    rf"{STATES}/{_FAN}/{_KEY}/[0-9]{{1,10}}\.safetensors"
    rf"|({MASKS}|{CHECKPOINTS})/{_FAN}/{_KEY}\.safetensors"
    rf"|{LIVE}/{_FAN}/{_KEY}\.parquet"
    rf"|{SEGMENTS}/(tasks|evals|layers|measurements)-{_NAME}\.parquet"
    rf"|{REPEATS}/{_FAN}/{_KEY}-{_NAME}\.parquet"
    rf"|{SWEEPS}/{_NAME}-{_NAME}\.parquet"
    rf"|{JOURNAL}/{_NAME}/{_NAME}\.(jsonl|parquet)"
    rf"|{REQUESTS}/{_NAME}/{_NAME}\.(json|txt)"
    rf"|{PROGRESS}/{_NAME}\.json"
)


def known(path: Path) -> bool:
    """Return whether a path is one of this layout. Readers ignore all other files."""
    return _PLACES.fullmatch("/".join(place_in_store(path))) is not None


def published(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files of a store with that suffix below one of its folders, sorted.

    Hidden (unfinished) files, files that are not of this layout, links, pipes, devices and
    everything behind a link are left out.
    """
    if place := remote(folder):
        yield from filter(known, cast("Iterator[Path]", place.published(suffix)))
    elif linked(folder) is None:
        yield from _below(folder, suffix, _DEPTH)


_DEPTH = 3
"""The most levels of folders below a folder of the store."""


def _below(folder: Path, suffix: str, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if depth:
                yield from _below(Path(entry.path), suffix, depth - 1)
        elif entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False):
            path = Path(entry.path)
            if known(path):
                yield path
