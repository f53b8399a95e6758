"""The networks of a store in PyTorch: weights, masks, and modules that hold both."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.data.batches import load
from tasks.measures.layers import fitted
from tasks.networks.build import initial_weights, loaded
from tasks.training import train as training
from tasks.values.key import parse
from tasks.values.records import Mask, Run, State
from tasks.values.training import Network
from tasks.values.trust import nothing_is_run
from tombola.errors import StoreError
from tombola.store import artifacts, layout, results
from tombola.store.location import locate
from tombola.store.publish import open_store

FEWEST_DIGITS = 6
"""Digits of a key that may stand for all of it."""


def weights(
    store: str | Path, key: str, step: int | None = None, *, train: bool, run_code: bool
) -> dict[str, Tensor]:
    """See `tombola.weights`."""
    root = open_store(locate(store))
    with _only_trusted(run_code):
        return _weights(root, _run(root, key), step, train)


def mask(store: str | Path, key: str) -> dict[str, Tensor]:
    """See `tombola.mask`."""
    root = open_store(locate(store))
    row = _result(root, key)
    if row["kind"] == "mask":
        return _tensors(artifacts.read_mask(root, row["key"]))
    if row["kind"] == "run":
        return _mask(root, _typed(row).mask)
    raise StoreError(f"{key} is the key of a {row['kind']}, not of a mask or a run")


def module(
    store: str | Path, key: str, step: int | None = None, *, train: bool, run_code: bool
) -> nn.Module:
    """See `tombola.module`."""
    root = open_store(locate(store))
    with _only_trusted(run_code):
        row = _run(root, key)
        run = _typed(row)
        state = _weights(root, row, step, train)
        for name, kept in _fitted(root, run.network, run.mask).items():
            state[name] = state[name] * kept
        return loaded(run.network, state).eval()


def _weights(root: Path, row: dict[str, Any], step: int | None, train: bool) -> dict[str, Tensor]:
    key, run = row["key"], _typed(row)
    first, step = run.first_step, row["last_step"] if step is None else step
    if (root / layout.state(key, step)).exists():
        return _tensors(artifacts.read_state(root, key, step))
    if step == first:
        return _start(root, run, train)
    if train and first < step <= row["last_step"]:
        return _trained(root, run, row["last_step"], step)
    folder = (root / layout.state(key, first)).parent
    steps = sorted({first, *(int(p.stem) for p in layout.published(folder, ".safetensors"))})
    raise StoreError(
        f"run {key[:12]} trained from step {first} to {row['last_step']}, and its weights at step "
        f"{step} are not stored (stored: {', '.join(map(str, steps))}); "
        "train=True trains it again"
    )


def _start(root: Path, run: Run, train: bool) -> dict[str, Tensor]:
    if isinstance(run.start, State):
        return _weights(root, _run(root, run.start.run.key), run.start.step, train)
    return initial_weights(run.network, run.start)


def _trained(root: Path, run: Run, last_step: int, step: int) -> dict[str, Tensor]:
    """Train the run as it was trained, with the random numbers of its key."""
    ended = training.train(
        run.network,
        run.recipe,
        load(run.dataset),
        _start(root, run, train=True),
        _fitted(root, run.network, run.mask) or None,
        order_seed=run.order_seed,
        first_step=run.first_step,
        last_step=last_step,
        save=(step,),
    )
    return {name: tensor.detach().cpu() for name, tensor in ended.states[step].items()}


def _fitted(root: Path, network: Network, mask: Mask | None) -> dict[str, Tensor]:
    """Return a mask; a layer whose shape differs on this dataset stays dense."""
    return fitted(network, _mask(root, mask)) if mask else {}


def _mask(root: Path, mask: Mask | None) -> dict[str, Tensor]:
    return {} if mask is None else _tensors(artifacts.read_mask(root, mask.key))


def _typed(row: dict[str, Any]) -> Run:
    """Return the run of a row; its mask, and the run it starts from, are references.

    Raises
    ------
    StoreError
        When this version computes no such run.
    """
    try:
        run = parse(row["value"])
    except (LookupError, TypeError, ValueError) as error:
        raise StoreError(
            f"run {row['key'][:12]} is of another version of this software: {error}"
        ) from None
    assert isinstance(run, Run)
    return run


@contextmanager
def _only_trusted(run_code: bool) -> Iterator[None]:
    """Run no code that the store names, unless it may be run; users' networks are such code."""
    try:
        with nullcontext() if run_code else nothing_is_run():
            yield
    except ValueError as error:
        raise StoreError(str(error)) from None


def _tensors(arrays: Any) -> dict[str, Tensor]:
    return {name: torch.tensor(array) for name, array in arrays.items()}


def _run(root: Path, key: str) -> dict[str, Any]:
    row = _result(root, key)
    if row["kind"] != "run":
        raise StoreError(f"{key} is the key of a {row['kind']}, not of a run")
    return row


def _result(root: Path, key: str) -> dict[str, Any]:
    """Return the result of a key, or of the one key that begins so."""
    if not re.fullmatch(rf"[0-9a-f]{{{FEWEST_DIGITS},64}}", key):
        raise StoreError(f"a key has {FEWEST_DIGITS} to 64 digits (0-9, a-f), not {key[:80]!r}")
    matches = [key]
    if len(key) < 64:
        matches = [full for full in results.inventory(root).results if full.startswith(key)]
    if len(matches) > 1:
        raise StoreError(f"{len(matches)} keys begin with {key}: give more digits")
    row = results.find(root, matches[0]) if matches else None
    if row is None:
        raise StoreError(f"{root} has no result {key}; `SELECT run_key FROM trials` has the keys")
    return row
