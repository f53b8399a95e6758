"""Which trials a sweep asks for, registered in the store when it is launched."""

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
"""Trials that are written out together."""


Registration = tuple[str, bytes]
"""A sweep's file as it is to be: where it goes within a store, and its content."""


def registration(
    store: Path, name: str, rows: Iterable[Row], definition: dict[str, Any], figures: list[Any]
) -> Registration:
    """The file that says which trials a sweep asks for (rows of schema.TRIALS).

    The revision in its name is a hash of the trials, so the same sweep registers the same file
    again, with a new time: the latest revision of a name is the current one.
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
    """Publish a sweep's file; returns the revision."""
    path, content = registration
    publish(store / path, content)
    return PurePosixPath(path).stem.rpartition("-")[2]


def current_answers(store: Path, name: str) -> list[tuple[str | None, ...]]:
    """What answers each trial of a sweep's current revision, in the order of schema.ANSWERS."""
    found = []
    for path in _revisions(store, name):
        with suppress(OSError, ValueError):
            found.append(revisions.revision(path, opened(path)))
    if not found:
        return []
    latest = max(found, key=lambda one: (one.registered_at, one.path.name))
    declared = pa.schema([schema.TRIALS.field(key) for key in schema.ANSWERS])
    with suppress(OSError, ValueError):
        rows = revisions.trials(opened(latest.path), latest, declared)
        return list(zip(*(rows[key].to_pylist() for key in schema.ANSWERS), strict=True))
    return []


def _revisions(store: Path, name: str) -> Iterator[Path]:
    """Files of a sweep's revisions."""
    for path in layout.published(store / layout.SWEEPS, ".parquet"):
        if path.name.rpartition("-")[0] == name:
            yield path


def _table(rows: Iterable[Row], note: Callable[[bytes], None]) -> pa.Table:
    """Trials as a table, their JSON being noted: a part at a time, to save memory."""
    parts, left = [schema.TRIALS.empty_table()], iter(rows)
    note(b"[")
    while part := list(islice(left, _AT_ONCE)):
        between = ", " if len(parts) > 1 else ""
        note((between + json.dumps(part, sort_keys=True)[1:-1]).encode())
        parts.append(pa.Table.from_pylist(part, schema=schema.TRIALS))
    note(b"]")
    return pa.concat_tables(parts)


def _registered(store: Path, name: str) -> Iterator[str]:
    """When the revisions of a sweep were registered; what is damaged is left to `verify`."""
    for path in _revisions(store, name):
        with suppress(OSError, ValueError):
            yield revisions.revision(path, opened(path)).about["registered_at"]
