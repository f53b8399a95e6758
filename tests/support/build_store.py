"""Stores written straight from the declared schema: no launch, no training, no torch."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tombola.store import layout, schema

Row = dict[str, Any]

DENSE_SIZE = 1000


def key_of(*parts: object) -> str:
    """Return a key that depends only on these parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def run_row(key: str, accuracy: float = 0.9, density: float = 1.0, **changes: Any) -> Row:
    """Build a finished run with metrics at steps 0 and 100; accuracy is the last on test."""
    return {
        **_row(key, "run", density),
        "first_step": 0,
        "last_step": 100,
        "evals": [
            {"step": step, "split": split, "loss": 1 - reached, "accuracy": reached}
            for step, reached in ((0, 0.1), (100, accuracy))
            for split in ("train", "test")
        ],
        **changes,
    }


def mask_row(
    key: str, density: float, kept: Sequence[int] = (), size: int = 100, **changes: Any
) -> Row:
    """Build a finished mask whose layers, each of `size` weights, keep `kept` of them."""
    layers = [
        {"position": i, "layer": f"{i}.weight", "size": size, "kept": k, "density": k / size}
        for i, k in enumerate(kept)
    ]
    return {**_row(key, "mask", density), "layers": layers, **changes}


def write_live(store: Path, row: Row) -> Path:
    """Commit one result."""
    return write(store / layout.result(row["key"]), schema.LIVE, [row])


def write_segment(store: Path, identity: str, rows: Sequence[Row]) -> None:
    """Publish results as one segment, its `tasks` last."""
    for table, declared, key in (
        ("evals", schema.EVALS, "run_key"),
        ("layers", schema.LAYERS, "mask_key"),
    ):
        flat = [{key: row["key"], **item} for row in rows for item in row.get(table) or ()]
        write(store / layout.segment(table, identity), declared, flat)
    write(store / layout.segment("tasks", identity), schema.TASKS, rows)


def write_sweep(
    store: Path,
    name: str,
    rows: Iterable[Row],
    *,
    revision: str = "r1",
    registered_at: str = "2026-01-01T00:00:00.000000",
    figures: Sequence[Any] = (),
) -> Path:
    """Register a sweep's trials."""
    about = {
        "name": name,
        "revision": revision,
        "registered_at": registered_at,
        "definition": "{}",
        "figures": json.dumps(figures),
    }
    numbered = [{"trial": n, **row, "sweep": name} for n, row in enumerate(rows)]
    return write(store / layout.sweep(name, revision), schema.TRIALS, numbered, about)


def note(store: Path, *events: Row, launch: str = "L1", part: int = 0) -> Path:
    """Write a closed part of a journal."""
    path = store / layout.journal(launch, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"launch": launch, **event}) + "\n" for event in events))
    return path


def write(
    path: Path, declared: pa.Schema, rows: Sequence[Row], about: Mapping[str, str] | None = None
) -> Path:
    """Write rows as a published Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bare = pa.schema([(f.name, f.type) for f in declared], {**declared.metadata, **(about or {})})
    aside = path.with_name(f".{path.name}.tmp")
    pq.write_table(pa.Table.from_pylist(list(rows), bare), aside, write_page_checksum=True)
    return aside.replace(path)


def trial(run_key: str, **changes: Any) -> Row:
    """Build a trial of SNIP on digits with one recipe."""
    return {
        "dataset": "digits",
        "network": "lenet_300_100",
        "method": "snip",
        "ablation": "none",
        "replicate": 0,
        "requested_density": 0.5,
        "options": "{}",
        "scope": "global",
        "grid": 0,
        "prune_step": 0,
        "steps": 100,
        "batch_size": 64,
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0,
        "run_key": run_key,
        "dense_key": key_of("dense"),
        **changes,
    }


# ---------------------------------------------------------------- whole studies


@dataclass(frozen=True)
class Study:
    """A sweep over axes whose accuracies and layer densities are functions of a trial."""

    accuracy: Callable[[Row], float]
    methods: Sequence[str] = ("snip",)
    densities: Sequence[float] = (0.5, 0.1)
    replicates: Sequence[int] = (0, 1, 2)
    ablations: Sequence[str] = ("none",)
    networks: Sequence[str] = ("lenet_300_100",)
    settings: Sequence[Row] = ({},)
    layers: Callable[[Row], Sequence[int]] = lambda row: [round(100 * row["requested_density"])] * 3
    size: int = 100
    of_method: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def trials(self) -> list[Row]:
        """Build the dense trials, then every combination."""
        found = []
        for network, replicate, setting in product(self.networks, self.replicates, self.settings):
            shared = {"network": network, "replicate": replicate, **setting}
            dense = key_of("dense", sorted(shared.items()))
            shared["dense_key"] = dense
            found.append(
                trial(dense, **shared, method="dense", requested_density=1.0, prune_step=None)
            )
            for method, density, ablation in product(self.methods, self.densities, self.ablations):
                for more in self.of_method.get(method, ({},)):
                    one = {**shared, "method": method, "requested_density": density, **more}
                    one["ablation"] = ablation
                    identity = sorted((k, str(v)) for k, v in one.items())
                    run, mask = key_of("run", identity), key_of("mask", identity)
                    found.append(trial(run, mask_key=mask, **one))
        return found

    def write(self, store: Path, name: str = "study", **about: Any) -> list[Row]:
        """Register the sweep and commit every result, as one segment; returns its trials."""
        trials = self.trials()
        write_sweep(store, name, trials, **about)
        rows = {}
        for one in trials:
            density = one["requested_density"]
            rows[one["run_key"]] = run_row(one["run_key"], self.accuracy(one), density)
            if one.get("mask_key"):
                kept = self.layers(one)
                rows[one["mask_key"]] = mask_row(one["mask_key"], density, kept, self.size)
        write_segment(store, name, list(rows.values()))
        return trials


def _row(key: str, kind: str, density: float) -> Row:
    return {
        "key": key,
        "kind": kind,
        "value": "{}",
        "digest": key_of("digest", key),
        "requested_density": density,
        "density": density,
        "size": DENSE_SIZE,
        "kept": round(density * DENSE_SIZE),
        "collapsed_layers": 0,
        "seconds": 1.0,
        "started_at": 0,
        "tombola": "0.1.0",
        "code": "abc123",
    }
