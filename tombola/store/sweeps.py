"""Register the trials of a sweep in the store, at each launch."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from tombola.store import layout, revisions, schema
from tombola.store.clock import after
from tombola.store.parquet import opened
from tombola.store.publish import publish
from tombola.store.results import Row, encode

_AT_ONCE = 10_000
"""Trials that are encoded together."""


Registration = tuple[str, bytes]
"""The file of a sweep's revision: its path within a store, and its content."""


def registration(
    store: Path, name: str, rows: Iterable[Row], definition: dict[str, Any], figures: list[Any]
) -> Registration:
    """Return the file that registers the trials of a sweep (rows of schema.TRIALS).

    The revision in its name is a hash of the trials. So the same sweep registers the same file
    again, with a new time. The latest revision of a name is the current one.
    """
    digest = hashlib.sha256()
    trials = _table(rows, digest.update)
    digest.update(json.dumps(figures, sort_keys=True).encode())
    revision = digest.hexdigest()[:12]
    metadata = {
        "name": name,
        "revision": revision,
        "registered_at": after(_registered(store, name)).isoformat(timespec="microseconds"),
        "definition": json.dumps(definition),
        "figures": json.dumps(figures),
    }
    return layout.sweep(name, revision), encode(schema.TRIALS, trials, metadata)


def register(store: Path, registration: Registration) -> str:
    """Publish the file of a sweep's revision, and return the revision."""
    path, content = registration
    publish(store / path, content)
    return PurePosixPath(path).stem.rpartition("-")[2]


def current_answers(store: Path, name: str) -> list[tuple[str | None, ...]]:
    """Return the keys (schema.ANSWERS) of each trial of a sweep's current revision."""
    known = []
    for path in _revisions(store, name):
        with suppress(OSError, ValueError):
            known.append(revisions.revision(path, opened(path)))
    if not known:
        return []
    latest = max(known, key=lambda revision: (revision.registered_at, revision.path.name))
    declared = pa.schema([schema.TRIALS.field(key) for key in schema.ANSWERS])
    with suppress(OSError, ValueError):
        rows = revisions.trials(opened(latest.path), latest, declared)
        return list(zip(*(rows[key].to_pylist() for key in schema.ANSWERS), strict=True))
    return []


def _revisions(store: Path, name: str) -> Iterator[Path]:
    """Yield the files of a sweep's revisions."""
    for path in layout.published(store / layout.SWEEPS, ".parquet"):
        if path.name.rpartition("-")[0] == name:
            yield path


def _table(rows: Iterable[Row], note: Callable[[bytes], None]) -> pa.Table:
    """Convert trials into a table, and pass their JSON to `note`, in parts to save memory."""
    parts, left = [schema.TRIALS.empty_table()], iter(rows)
    note(b"[")
    while part := list(islice(left, _AT_ONCE)):
        between = ", " if len(parts) > 1 else ""
        note((between + json.dumps(part, sort_keys=True)[1:-1]).encode())
        parts.append(pa.Table.from_pylist(part, schema=schema.TRIALS))
    note(b"]")
    return pa.concat_tables(parts)


def _registered(store: Path, name: str) -> Iterator[str]:
    """Yield the times at which a sweep was registered; skip damaged files."""
    for path in _revisions(store, name):
        with suppress(OSError, ValueError):
            yield revisions.revision(path, opened(path)).about["registered_at"]
