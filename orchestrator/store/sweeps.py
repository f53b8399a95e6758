"""Which trials a sweep asks for, registered in the store when it is launched."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.store import layout, schema
from orchestrator.store.clock import after
from orchestrator.store.files import publish
from orchestrator.store.place import source
from orchestrator.store.results import Row, encode


def register(
    store: Path, name: str, rows: list[Row], definition: dict[str, Any], figures: list[Any]
) -> str:
    """Publish a sweep's trials (rows of schema.TRIALS); returns the revision.

    The revision is a hash of the trials, so the same sweep registers the same file again,
    with a new time: the latest revision of a name is the current one.
    """
    text = json.dumps(rows, sort_keys=True) + json.dumps(figures, sort_keys=True)
    revision = hashlib.sha256(text.encode()).hexdigest()[:12]
    metadata = {
        "name": name,
        "revision": revision,
        "registered_at": after(_registered(store, name)).isoformat(timespec="microseconds"),
        "definition": json.dumps(definition),
        "figures": json.dumps(figures),
    }
    content = encode(schema.TRIALS, rows, metadata)
    publish(store / layout.sweep(name, revision), content)
    return revision


def _registered(store: Path, name: str) -> Iterator[str]:
    """When the revisions of a sweep were registered; what is damaged is left to `verify`."""
    for path in layout.published(store / layout.SWEEPS, ".parquet"):
        if path.name.startswith(f"{name}-"):
            with suppress(OSError, pa.ArrowException, KeyError, TypeError, ValueError):
                moment = pq.read_metadata(source(path)).metadata[b"registered_at"].decode()
                datetime.fromisoformat(moment)
                yield moment
