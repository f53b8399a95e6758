"""Which trials a sweep asks for, registered in the store when it is launched."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from tombola.store import layout, revisions, schema
from tombola.store.clock import after
from tombola.store.parquet import opened
from tombola.store.publish import publish
from tombola.store.results import Row, encode

_AT_ONCE = 10_000
"""Trials that are written out together."""


def register(
    store: Path, name: str, rows: Iterable[Row], definition: dict[str, Any], figures: list[Any]
) -> str:
    """Publish a sweep's trials (rows of schema.TRIALS); returns the revision.

    The revision is a hash of the trials, so the same sweep registers the same file again,
    with a new time: the latest revision of a name is the current one.
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
    content = encode(schema.TRIALS, trials, metadata)
    publish(store / layout.sweep(name, revision), content)
    return revision


@contextmanager
def undone_on_error(store: Path, name: str) -> Iterator[None]:
    """Put a sweep's registrations back as they were, should what is within not succeed."""
    before = {path: path.read_bytes() for path in _revisions(store, name)}
    try:
        yield
    except BaseException:
        for path in list(_revisions(store, name)):
            if path not in before:
                path.unlink(missing_ok=True)
        for path, content in before.items():
            publish(path, content)
        raise


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
