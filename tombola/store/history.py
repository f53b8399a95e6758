"""Measure what tasks cost in this store so far, for estimates."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from tombola.errors import StoreError
from tombola.store import layout
from tombola.store.location import contents
from tombola.store.results import parse
from tombola.store.segments import segments

SAMPLE = 200
_COLUMNS = ["kind", "value", "first_step", "last_step", "seconds", "device", "gang"]


def rates(store: Path, device: str = "cpu") -> dict[tuple[str, str], float]:
    """Return median seconds by (network, "step" or the kind of the score), from a sample.

    `device` "cpu" selects tasks that ran on a CPU core, "gpu" all others. The time of a process
    group counts once for each of its GPUs. Files that cannot be read are skipped.
    """
    live = list(layout.published(store / layout.LIVE, ".parquet"))
    files = [*live[:: max(1, len(live) // SAMPLE)], *segments(store)[:1]]
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for rows in _samples(files):
        for row in rows:
            if (row["device"] == "cpu") != (device == "cpu"):
                continue
            value = json.loads(row["value"])
            if "network" not in value:
                continue  # a measurement: the cost model is good enough
            if row["kind"] == "mask":
                seen[value["network"]["name"], value["score"]["kind"]].append(row["seconds"])
            elif steps := row["last_step"] - row["first_step"]:
                seen[value["network"]["name"], "step"].append(
                    row["seconds"] * (row.get("gang") or 1) / steps
                )
    return {kind: median(seconds) for kind, seconds in seen.items()}


def _samples(files: list[Path]) -> Iterator[list[dict[str, Any]]]:
    with suppress(OSError):
        for path, content in zip(files, contents(files), strict=True):
            with suppress(StoreError):
                table = parse(path, content or b"")
                present = [name for name in _COLUMNS if name in table.column_names]
                yield table.select(present)[:SAMPLE].to_pylist()
