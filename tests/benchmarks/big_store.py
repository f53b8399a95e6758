"""A store as a large sweep leaves it, written straight to the declared schemas: no training.

Every trial has a mask of `LAYERS` layers and a run with `EVALS` evaluations; segments hold what
a compaction in a launch merges, the journal two events for each task.
"""

import json
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.values.key import digest
from tombola.store import layout, schema
from tombola.store.publish import publish
from tombola.store.results import encode

EVALS, LAYERS = 20, 20
SEGMENT = 10_000
PART = 2_000
BEGAN = datetime(2026, 11, 1)  # noqa: DTZ001 - UTC, as the store's

METHODS = ("random", "magnitude", "snip", "grasp", "synflow")
DENSITIES = [float(f"{0.8**level:.12g}") for level in range(1, 21)]
_VALUE = json.dumps({"kind": "run", "recipe": {"steps": 1000, "padding": "x" * 300}, "of": "%s"})

Rows = dict[str, Any]


class Done(NamedTuple):
    """A finished task."""

    key: str
    kind: str
    density: float
    value: str


def trials(count: int) -> list[Rows]:
    """Build trials of 5 methods at 20 densities, with as many replicates as needed."""
    found = []
    for replicate, method, density in product(
        range(-(-count // 100)), range(len(METHODS)), DENSITIES
    ):
        name = f"{replicate} {method} {density}"
        found.append(
            {
                "sweep": "big",
                "trial": len(found),
                "dataset": "cifar10",
                "network": "resnet20",
                "method": METHODS[method],
                "ablation": "none",
                "replicate": replicate,
                "requested_density": density,
                "options": "{}",
                "scope": "global",
                "steps": 1000,
                "batch_size": 128,
                "lr": 0.1,
                "run_key": digest(f"run {name}"),
                "mask_key": digest(f"mask {name}"),
                "dense_key": digest(f"run {replicate} 0 {DENSITIES[0]}"),
            }
        )
    return found[:count]


def write(store: Path, asked: list[Rows]) -> None:
    """Write the store in which these trials are done."""
    keys = [(one[f"{kind}_key"], kind, one) for kind in ("mask", "run") for one in asked]
    write_tasks(store, [Done(k, d, one["requested_density"], _VALUE % k) for k, d, one in keys])
    write_sweep(store, asked)


def write_tasks(store: Path, tasks: list[Done]) -> None:
    """Write segments of tasks, and the journal of their launch."""
    tasks.sort()
    for first in range(0, len(tasks), SEGMENT):
        _write_segment(store, str(first), sorted(tasks[first : first + SEGMENT], key=_order))
    write_journal(store, [(task.key, task.kind) for task in tasks])


def write_sweep(store: Path, asked: list[Rows]) -> None:
    """Register the trials."""
    about = {
        "name": "big",
        "revision": "r",
        "registered_at": BEGAN.isoformat(),
        "definition": "{}",
        "figures": "[]",
    }
    publish(store / layout.sweep("big", "r"), encode(schema.TRIALS, asked, about))


def write_journal(store: Path, tasks: list[tuple[str, str]]) -> None:
    """Write one launch that dispatched and finished each task."""
    launch = "20261101T000000Z-abcdef"
    for part, first in enumerate(range(0, len(tasks), PART)):
        lines = []
        for number, (key, kind) in enumerate(tasks[first : first + PART], first):
            pack = {"attempt": 1, "pack": f"{launch}/{number // 8}"}
            about = {"launch": launch, "key": key, "kind": kind, **pack}
            for event, later in (("dispatched", 0.0), ("finished", 0.5)):
                at = (BEGAN + timedelta(seconds=number + later)).isoformat(timespec="microseconds")
                said = {"event": event, "noted_at": at, **about}
                if event == "finished":
                    said |= {"worker": "node-17:12345", "seconds": 1.25}
                lines.append(json.dumps(said))
        content = ("\n".join(lines) + "\n").encode()
        publish(store / layout.journal(launch, part), content)


def row(key: str, kind: str, density: float) -> Rows:
    """Build one result as a worker commits it."""
    found = {"key": key, "kind": kind, **_common(density), "value": _VALUE % key}
    found |= {"digest": digest(key), "started_at": BEGAN}
    if kind == "mask":
        layers = [
            {"position": i, "layer": f"blocks.{i}.conv.weight", "size": 9216, "flops": 10**6}
            | {"kept": int(9216 * density), "density": density, "effective": 9000}
            | {"score_mean": 0.1 / (i + 1), "score_std": 0.01 * i}
            for i in range(LAYERS)
        ]
        return {**found, "layers": layers}
    apart = int(key[:6], 16) * 1e-9  # no two runs are the same
    evals = [
        {"step": step, "split": split, "loss": 1 / (step + 1) + apart}
        | {"accuracy": 1 - 1 / (step + 1.1) - apart}
        for step in range(0, 1000, 2000 // EVALS)
        for split in ("train", "test")
    ]
    return {**found, "first_step": 0, "last_step": 1000, "evals": evals}


def write_keys(store: Path, identity: str, keys: list[str]) -> None:
    """Write a segment of runs of which only the key matters."""
    rows = [{"key": key, "kind": "run"} for key in keys]
    _write(store, "tasks", identity, pa.Table.from_pylist(rows, _bare(schema.TASKS)))


def _common(density: float) -> Rows:
    return {
        "requested_density": density,
        "density": density,
        "size": 184_320,
        "kept": int(184_320 * density),
        "parameters": 190_000,
        "collapsed_layers": 0,
        "flops": 40_000_000,
        "kept_flops": int(40_000_000 * density),
        "launch": "20261101T000000Z-abcdef",
        "attempt": 1,
        "pack": "20261101T000000Z-abcdef/1",
        "pack_size": 8,
        "host": "node-17",
        "worker": "node-17:12345",
        "device": "cpu",
        "threads": 1,
        "seconds": 1.25,
        "tombola": "0.1.0",
        "code": "0123456789ab",
        "torch": "2.13.0",
        "python": "3.11.7",
    }


def _order(task: Done) -> tuple[str, str]:
    return task.kind, task.key


def _write_segment(store: Path, identity: str, tasks: list[Done]) -> None:
    runs = [task.key for task in tasks if task.kind == "run"]
    masks = {task.key: task.density for task in tasks if task.kind == "mask"}
    head = pa.Table.from_pylist(
        [
            {"key": task.key, "kind": task.kind, "value": task.value, "digest": digest(task.key)}
            | {"checksum": digest(task.key[::-1]), "started_at": BEGAN, **_common(task.density)}
            for task in tasks
        ],
        _bare(schema.TASKS),
    )
    _write(store, "evals", identity, _evals(runs))
    _write(store, "layers", identity, _layers(masks))
    _write(store, "tasks", identity, head)


def _evals(runs: list[str]) -> pa.Table:
    rng = np.random.default_rng(len(runs))
    steps = np.arange(0, 1000, 2000 // EVALS, dtype=np.int32)
    accuracy = rng.uniform(0.1, 0.95, len(runs) * EVALS)
    return pa.table(
        {
            "run_key": pa.array(runs, pa.string()).take(np.repeat(np.arange(len(runs)), EVALS)),
            "step": np.tile(np.repeat(steps, 2), len(runs)),
            "split": ["train", "test"] * (len(runs) * EVALS // 2),
            "loss": -np.log(accuracy),
            "accuracy": accuracy,
            "top5": pa.nulls(len(accuracy), pa.float64()),
        },
        _bare(schema.EVALS),
    )


def _layers(masks: dict[str, float]) -> pa.Table:
    rng = np.random.default_rng(len(masks))
    count = len(masks) * LAYERS
    size = np.full(count, 9216)
    kept = rng.binomial(size, np.repeat(list(masks.values()), LAYERS))
    keys = pa.array(list(masks), pa.string())
    return pa.table(
        {
            "mask_key": keys.take(np.repeat(np.arange(len(masks)), LAYERS)),
            "position": np.tile(np.arange(LAYERS, dtype=np.int32), len(masks)),
            "layer": [f"blocks.{i}.conv.weight" for i in range(LAYERS)] * len(masks),
            "size": size,
            "kept": kept,
            "density": kept / size,
            "flops": np.full(count, 2_000_000),
            "effective": kept,
            "score_mean": rng.uniform(0, 1, count),
            "score_std": rng.uniform(0, 1, count),
        },
        _bare(schema.LAYERS),
    )


def _write(store: Path, table: str, identity: str, rows: pa.Table) -> None:
    path = store / layout.segment(table, identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, compression="zstd", write_page_checksum=True, row_group_size=16_384)


def _bare(declared: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, field.type) for field in declared])
