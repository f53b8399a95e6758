"""Stores whose figures have a chosen number of series: methods by learning rates, and others."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from analysis import style
from tests.support.build_store import Row, key_of, mask_row, run_row, trial, write_segment
from tests.support.build_store import write_sweep as register
from tombola.store.artifacts import write_mask

COUNTS = (1, 7, 13, 24, 60)
FEWER = (7, 13, 60)

NETWORKS = ("lenet_5", "conv_2", "conv_4", "resnet20", "vgg16_bn")
DENSITIES = (0.5, 0.1, 0.02)
SIZES = (400, 300, 100)
STEPS = (0, 50, 100)
BEGAN = datetime.fromisoformat("2026-01-01")
_SHAPES = {24: (6, 4), 60: (12, 5)}
_METHODS = [*style.METHODS]


def settings(count: int) -> list[Row]:
    """Return `count` series: methods, and learning rates beyond the number of methods."""
    methods, rates = _SHAPES.get(count, (count, 1))
    return [
        {"method": method, "lr": 0.1 / 2**n}
        for method, n in product(_METHODS[:methods], range(rates))
    ]


def build(store: Path, series: Sequence[Row], named: str = "crowd") -> Path:
    """Sweeps of these series: `crowd` (with masks, times and two ablations), `steps` (of pruning),
    `ranked` (five networks) and `ticket` (an IMP chain of so many levels).
    """
    for name, made in (
        (named, _crowd),
        ("steps", _steps),
        ("ranked", _ranked),
        ("ticket", _ticket),
    ):
        trials, rows = zip(*made(store, series), strict=True)
        register(store, name, trials)
        flat = {row["key"]: row for some in rows for row in some}
        write_segment(store, name, list(flat.values()))
    return store


Made = Iterator[tuple[Row, list[Row]]]


def _crowd(store: Path, series: Sequence[Row]) -> Made:
    workers = len(series)
    for replicate, (n, setting) in product((0, 1), enumerate(series)):
        dense = key_of("dense", replicate, setting["lr"])
        shared = {"replicate": replicate, "dense_key": dense}
        yield (
            trial(dense, **shared | setting | {"method": "dense", "requested_density": 1.0}),
            [_run(dense, 0.96 - 0.01 * replicate, 1.0, 0, 1)],
        )
        for density, ablation in product(DENSITIES, ("none", "shuffle")):
            key, mask = (
                key_of(x, sorted(setting.items()), replicate, density, ablation) for x in "rm"
            )
            more = {**setting, "requested_density": density, "ablation": ablation}
            one = trial(key, mask_key=mask, **shared | more)
            reached = 0.95 - (0.1 + 0.03 * (n % 12)) * (1 - density) ** 3 - 0.01 * replicate
            reached -= 0.1 * (ablation != "none")
            yield (
                one,
                [
                    _mask(store, mask, density, n, replicate),
                    _run(key, reached, density, n, workers),
                ],
            )


def _steps(_: Path, series: Sequence[Row]) -> Made:
    for (n, setting), step, density in product(enumerate(series), (0, 20, 80), DENSITIES):
        key, mask = (key_of(x, "steps", sorted(setting.items()), step, density) for x in "rm")
        more = {**setting, "prune_step": step, "requested_density": density}
        one = trial(key, mask_key=mask, dense_key=key_of("dense", 0, setting["lr"]), **more)
        reached = 0.9 - 0.03 * (n % 12) + step / 2000
        yield one, [mask_row(mask, density, [50], 100), _run(key, reached, density, n, 1)]


def _ranked(_: Path, series: Sequence[Row]) -> Made:
    for (n, setting), (m, network) in product(enumerate(series), enumerate(NETWORKS)):
        key, mask = (key_of(x, "ranked", sorted(setting.items()), network) for x in "rm")
        one = trial(key, mask_key=mask, dense_key=None, network=network, **setting)
        reached = 0.9 - 0.003 * n - 0.01 * ((n * m) % 5)
        yield one, [mask_row(mask, 0.5, [50], 100), _run(key, reached, 0.5, n, 1)]


def _ticket(store: Path, series: Sequence[Row]) -> Made:
    """Build levels of IMP, each mask scored on the run before it."""
    before_run, before_mask = key_of("ticket", 0), None
    start = {"kind": "init", "seed": 0}
    first = run_row(before_run, 0.95, value=json.dumps({"start": start}))
    for level in range(1, len(series) + 1):
        density = 0.8**level
        key, mask = key_of("ticket", level), key_of("ticket's mask", level)
        one = trial(key, method="imp", mask_key=mask, requested_density=density)
        value = {"of": {"run": before_run, "step": 100}, "within": before_mask}
        row = mask_row(mask, density, [50], 100, value=json.dumps(value))
        run = run_row(key, 0.95 - 0.002 * level, density)
        run["value"] = json.dumps({"mask": mask, "start": start})
        yield one, [first, row, run]
        before_run, before_mask = key, mask


def _run(key: str, reached: float, density: float, n: int, workers: int) -> Row:
    evals = [
        {"step": step, "split": split, "accuracy": at, "loss": 1.5 - at, "top5": (1 + at) / 2}
        for step in STEPS
        for split in ("train", "val", "test")
        for at in (reached - (reached - 0.1) * (1 - step / 100) ** 3,)
    ]
    placed = {
        "launch": "L1",
        "worker": f"node-{n % 4}.cluster.example:{1000 + n % workers}",
        "device": "cpu",
        "seconds": 2.0 + n,
        "started_at": BEGAN + timedelta(seconds=3 * n),
    }
    flops = {"flops": 100_000, "kept_flops": round(100_000 * density**0.8)}
    return run_row(key, reached, density, evals=evals, value="{}", **placed, **flops)


def _mask(store: Path, key: str, density: float, n: int, replicate: int) -> Row:
    counts = [max(1, round(size * density * (0.7 + 0.05 * (n % 12)))) for size in SIZES]
    if n % 5 == 4 and density < 0.05:
        counts[0] = 0
    kept: dict[str, Any] = {}
    for layer, (size, count) in enumerate(zip(SIZES, counts, strict=True)):
        order = np.random.default_rng([layer, replicate, n % 7]).permutation(size)
        kept[f"{layer}.weight"] = np.isin(np.arange(size), order[:count])
    write_mask(store, key, kept)
    row = mask_row(key, density, counts)
    for layer, size in zip(row["layers"], SIZES, strict=True):
        layer |= {"size": size, "density": layer["kept"] / size}
    return row | {"flops": 100_000, "kept_flops": round(100_000 * density**0.8)}
