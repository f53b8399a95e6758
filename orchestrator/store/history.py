"""What tasks have cost in this store so far, for estimates."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import median

from orchestrator.errors import StoreError
from orchestrator.store import layout
from orchestrator.store.results import read
from orchestrator.store.segments import segments

SAMPLE = 200
_COLUMNS = ["kind", "value", "first_step", "last_step", "seconds", "device"]


def rates(store: Path, device: str = "cpu") -> dict[tuple[str, str], float]:
    """Median seconds by (network, "step" or the score's kind), of a sample of the results.

    Of tasks that ran on a CPU core, or with `device` "gpu" on anything else.

    Estimates only: a file that cannot be read is left to `verify`.
    """
    live = list(layout.published(store / layout.LIVE, ".parquet"))
    files = [*live[:: max(1, len(live) // SAMPLE)], *segments(store)[:1]]
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in files:
        try:
            rows = read(path).select(_COLUMNS)[:SAMPLE].to_pylist()
        except (OSError, StoreError):
            continue
        for row in rows:
            if (row["device"] == "cpu") != (device == "cpu"):
                continue
            value = json.loads(row["value"])
            if "network" not in value:
                continue  # a measurement: the model knows it well enough
            if row["kind"] == "mask":
                seen[value["network"]["name"], value["score"]["kind"]].append(row["seconds"])
            elif steps := row["last_step"] - row["first_step"]:
                seen[value["network"]["name"], "step"].append(row["seconds"] / steps)
    return {what: median(seconds) for what, seconds in seen.items()}
