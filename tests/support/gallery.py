"""A store with data for every figure: written, not computed, and always the same."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from tests.support.build_store import Row, key_of, mask_row, run_row, trial, write_live, write_sweep
from tombola.store.artifacts import write_mask

METHODS = ("random", "snip", "synflow", "imp")
DENSITIES = (0.64, 0.32, 0.16, 0.08)
ABLATIONS = ("none", "shuffle", "reinit")
REPLICATES = (0, 1, 2)
NETWORKS = ("lenet_5", "conv_2", "conv_4", "resnet20", "vgg16_bn", "wrn_16_8")
SIZES = (1200, 900, 300)
STEPS = (0, 25, 50, 75, 100)
BEGAN = datetime.fromisoformat("2026-01-01")

_WORST = {"random": 0.25, "snip": 0.1, "synflow": 0.06, "imp": 0.03}
_DENSER = {"random": (1.0, 1.0, 1.0), "snip": (0.8, 1.0, 1.8), "synflow": (0.7, 1.1, 1.9)}


def build(store: Path) -> Path:
    """Sweeps `study` (methods, ablations, IMP with barriers), `early` (steps of pruning),
    `timed` (part of `study`, with latencies) and `ranked` (several networks).
    """
    for row in _placed(_study(store)):
        write_live(store, row)
    for row in _timed(store):
        write_live(store, row)
    for name, made in (("early", _early), ("ranked", _ranked)):
        trials = list(made())
        write_sweep(store, name, [one for one, _ in trials])
        for _, rows in trials:
            for row in rows:
                write_live(store, row)
    return store


def accuracy(method: str, density: float, ablation: str, replicate: int) -> float:
    """Return an accuracy that falls with density, faster when ablated; replicates vary."""
    ablated = {"none": 1.0, "reinit": 1.6, "shuffle": 2.2}[ablation]
    noise = crc32(repr((method, density, ablation, replicate)).encode()) / 2**32
    return 0.95 - ablated * _WORST[method] * (1 - density) ** 3 - 0.02 * noise


def _dense(replicate: int) -> tuple[str, dict[str, Any], Row]:
    """Return a replicate's dense key, the labels its trials share, and its dense trial."""
    dense = key_of("dense", replicate)
    shared = {"replicate": replicate, "dense_key": dense}
    one = trial(dense, **shared, method="dense", requested_density=1.0, prune_step=None)
    return dense, shared, one


def _study(store: Path) -> Iterator[Row]:
    trials = []
    for replicate in REPLICATES:
        dense, shared, one = _dense(replicate)
        trials.append(one)
        start = {"kind": "init", "seed": replicate}
        yield _run(dense, 0.955 - 0.004 * replicate, 1.0, {"start": start})
        for method, ablation in product(METHODS, ABLATIONS):
            before_run, before_mask = dense, None
            for level, density in enumerate(DENSITIES, 1):
                key, mask = (key_of(x, method, ablation, replicate, density) for x in "rm")
                barrier = key_of("b", replicate, density) if method == "imp" else None
                more = {"method": method, "ablation": ablation, "requested_density": density}
                trials.append(trial(key, mask_key=mask, barrier_key=barrier, **shared, **more))
                of = {"run": before_run, "step": 100} if method == "imp" else None
                yield _mask(store, mask, method, ablation, replicate, density, of, before_mask)
                reached = accuracy(method, density, ablation, replicate)
                yield _run(key, reached, density, {"mask": mask, "start": start})
                if method == "imp" and ablation == "none":
                    before_run, before_mask = key, mask
                    yield _barrier(barrier, 0.05 + 0.1 * level + 0.01 * replicate)
    write_sweep(store, "study", trials)


def _early() -> Iterator[tuple[Row, list[Row]]]:
    for method, step, replicate in product(METHODS[:3], (0, 20, 40, 80), REPLICATES):
        key, mask = (key_of(x, "early", method, step, replicate) for x in "rm")
        more = {"method": method, "prune_step": step, "replicate": replicate}
        one = trial(key, mask_key=mask, dense_key=key_of("dense", replicate), **more)
        reached = accuracy(method, 0.16, "none", replicate) + step / 2000
        yield one, [mask_row(mask, 0.5, [150, 150], 300), _run(key, reached, 0.5)]


def _ranked() -> Iterator[tuple[Row, list[Row]]]:
    """Build trials in which random is the worst on each network and IMP seldom the best."""
    for (n, network), method in product(enumerate(NETWORKS), METHODS):
        for density in DENSITIES[2:]:
            key, mask = (key_of(x, "ranked", network, method, density) for x in "rm")
            more = {"network": network, "method": method, "requested_density": density}
            one = trial(key, mask_key=mask, dense_key=None, **more)
            reached = accuracy(method, density, "none", n)
            yield one, [mask_row(mask, density, [150, 150], 300), _run(key, reached, density)]


def _timed(store: Path) -> Iterator[Row]:
    """Build runs of `study`: SNIP gains no time, removed units of a sparse network do."""
    trials = []
    for replicate in REPLICATES:
        _, shared, one = _dense(replicate)
        trials.append(one)
        for method, density in product(("snip", "synflow"), DENSITIES):
            key, mask = (key_of(x, method, "none", replicate, density) for x in "rm")
            asked = {"method": method, "requested_density": density}
            timed = key_of("l", method, replicate, density)
            trials.append(trial(key, mask_key=mask, latency_key=timed, **shared, **asked))
            share = 1.0 if method == "snip" else density**0.5
            yield _latency(timed, 2.0 + 0.1 * replicate, share)
    write_sweep(store, "timed", trials)


def _latency(key: str, dense: float, share: float) -> Row:
    """Build the latency of a network that takes `dense` ms, and `share` of it when shrunk."""
    found = [{"name": "bytes", "value": 1e4 * share}, {"name": "dense_bytes", "value": 1e4}]
    blank = {"requested_density": None, "density": None, "size": None, "kept": None}
    timed = {"latency": dense * share, "dense_latency": dense, "device": "cpu"}
    about = {"kind": "latency", "value": json.dumps({"batch_size": 64}), "measurements": found}
    return {**run_row(key), "evals": [], **about, **blank, **timed}


def _run(key: str, reached: float, density: float, value: dict[str, Any] | None = None) -> Row:
    """Build a run that learns fast and overfits a little towards the end."""
    evals = [
        {"step": step, "split": split, "accuracy": at, "loss": loss + gap, "top5": (1 + at) / 2}
        for step in STEPS
        for split, gap in (
            ("train", -0.05),
            ("val", 0.1 + max(step - 70, 0) / 90 * density),
            ("test", 0.1),
        )
        for at in (reached - (reached - 0.1) * (1 - step / 100) ** 3,)
        for loss in (1.5 * (1 - at) + 0.1,)
    ]
    return run_row(key, reached, density, evals=evals, value=json.dumps(value or {})) | _flops(
        density
    )


def _flops(density: float) -> Row:
    return {"flops": 100_000, "kept_flops": round(100_000 * density**0.8)}


def _mask(
    store: Path,
    key: str,
    method: str,
    ablation: str,
    replicate: int,
    density: float,
    of: Row | None,
    within: str | None,
) -> Row:
    """Build a mask; each layer keeps the first of a fixed order, so sparser masks are nested."""
    shape = _DENSER.get(method, (0.9, 1.0, 1.4))
    counts = [max(1, min(n, round(n * density * s))) for n, s in zip(SIZES, shape, strict=True)]
    if (method, density) == ("random", 0.08):
        counts[0] = 0
    kept = {}
    for layer, (size, count) in enumerate(zip(SIZES, counts, strict=True)):
        order = np.random.default_rng([layer, replicate, METHODS.index(method)]).permutation(size)
        kept[f"{layer}.weight"] = np.isin(np.arange(size), order[:count])
    write_mask(store, key, kept)
    value = {"of": of or {"kind": "init"}, "within": within}
    row = mask_row(key, density, counts, value=json.dumps(value)) | _flops(density)
    for layer, size in zip(row["layers"], SIZES, strict=True):
        layer |= {"size": size, "density": layer["kept"] / size}
    total = {"kept": sum(counts), "size": sum(SIZES), "collapsed_layers": counts.count(0)}
    return row | total


def _barrier(key: str | None, height: float) -> Row:
    found = [{"name": "barrier", "split": s, "value": height} for s in ("train", "test")]
    blank = {"requested_density": None, "density": None, "size": None, "kept": None}
    return {**run_row(str(key)), "kind": "barrier", "evals": [], "measurements": found, **blank}


def _placed(rows: Iterator[Row]) -> Iterator[Row]:
    """Place rows as four workers of one launch computed them, each in turn."""
    free = [0.0, 0.5, 1.0, 20.0]
    for row in rows:
        worker = free.index(min(free))
        seconds = (
            {"run": 2.0 + 3 * row["density"], "mask": 0.6}.get(row["kind"], 1.0)
            if row["density"]
            else 1.0
        )
        yield row | {
            "launch": "L1",
            "worker": f"node:{worker + 1}",
            "device": "cpu",
            "seconds": seconds,
            "started_at": BEGAN + timedelta(seconds=free[worker]),
        }
        free[worker] += seconds + 0.05
