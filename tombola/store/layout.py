"""Where things lie in a store: relative paths from keys, and what a folder has published.

store/
  states/<ab>/<run key>/<step>.safetensors     masks/<ab>/<mask key>.safetensors
  checkpoints/<ab>/<run key>.safetensors
  results/live/<ab>/<key>.parquet              results/segments/<table>-<id>.parquet
  repeats/<ab>/<key>-<launch>.parquet
  sweeps/<sweep>-<revision>.parquet            journal/<launch>/<n>.jsonl
                                               journal/<launch>/<n>-<m>.parquet
  requests/<sweep>/<id>.json                   (what people ask of a launch that runs)
  progress/<launch>.json                       (how far it is, while it runs)
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
    """Path of a run's weights after `step` iterations."""
    return f"{STATES}/{run_key[:2]}/{run_key}/{step}.safetensors"


def mask(key: str) -> str:
    """Path of a mask's kept weights."""
    return f"{MASKS}/{key[:2]}/{key}.safetensors"


def checkpoint(run_key: str) -> str:
    """Path of what a run that is under way could go on from."""
    return f"{CHECKPOINTS}/{run_key[:2]}/{run_key}.safetensors"


def result(key: str) -> str:
    """Path of the one file whose presence commits a task."""
    return f"{LIVE}/{key[:2]}/{key}.parquet"


def part(head: Path, table: str) -> Path:
    """Another table of the segment whose `tasks` file is `head`."""
    return head.with_name(head.name.replace("tasks-", f"{table}-", 1))


def segment(table: str, identity: str) -> str:
    """Path of one compacted table; a segment counts once its `tasks` file is there."""
    return f"{SEGMENTS}/{table}-{identity}.parquet"


def repeat(key: str, launch: str) -> str:
    """Path of how a task came out that a launch did once more on purpose."""
    return f"{REPEATS}/{key[:2]}/{key}-{launch}.parquet"


def sweep(name: str, revision: str) -> str:
    """Path of the trials that one revision of a sweep file asks for."""
    return f"{SWEEPS}/{name}-{revision}.parquet"


def requests(sweep: str) -> str:
    """Folder of what is asked of a sweep's launches."""
    return f"{REQUESTS}/{sweep}"


def progress(launch: str) -> str:
    """Path of how far a launch is that runs."""
    return f"{PROGRESS}/{launch}.json"


def journal(launch: str, part: int) -> str:
    """Path of the n-th closed part of a launch's journal."""
    return f"{JOURNAL}/{launch}/{part:06d}.jsonl"


def folded_journal(launch: str, first: int, last: int) -> str:
    """Path of parts of a launch's journal, both ends among them, as one table."""
    return f"{JOURNAL}/{launch}/{first:06d}-{last:06d}.parquet"


def journal_parts(store: Path) -> tuple[list[Path], list[Path]]:
    """Parts that no table holds, and the tables that hold the others; each event once.

    Parts are listed before tables, for folding moves events that way.
    """
    parts = list(published(store / JOURNAL, ".jsonl"))
    folded: dict[Path, list[range]] = {}
    tables = []
    for path, covers in sorted(_folded(store), key=lambda one: (one[1].start, -one[1].stop)):
        known = folded.setdefault(path.parent, [])
        if not any(covers.start in one and covers[-1] in one for one in known):
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
        found = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", path.stem)
        if found and (covers := range(int(found[1]), int(found[2]) + 1)):
            yield path, covers


def part_number(part: Path) -> int:
    """Which part of its launch's journal a file is; -1 where its name does not say."""
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
    """Whether a path is one that a store has: what is called otherwise is no reader's."""
    return _PLACES.fullmatch("/".join(place_in_store(path))) is not None


def published(folder: Path, suffix: str) -> Iterator[Path]:
    """Files of a store with that suffix below a folder of it, sorted.

    Left out are hidden (unfinished) ones, what has no name of a store's, and what a store does
    not have: links, pipes, devices, and whatever lies behind a link.
    """
    if place := remote(folder):
        yield from filter(known, cast("Iterator[Path]", place.published(suffix)))
    elif linked(folder) is None:
        yield from _below(folder, suffix, _DEPTH)


_DEPTH = 3
"""Folders within each other below one of a store's, at the most."""


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
