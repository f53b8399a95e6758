"""Which trials a sweep asks for, registered in the store when it is launched."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.store import layout, schema
from orchestrator.store.files import publish
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
        "registered_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
        "definition": json.dumps(definition),
        "figures": json.dumps(figures),
    }
    content = encode(schema.TRIALS, rows, metadata)
    publish(store / layout.sweep(name, revision), content)
    return revision
