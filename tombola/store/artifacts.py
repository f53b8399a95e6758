"""Read and write states, masks and checkpoints as files whose content is checked at each read.

Workers pass the cache of their node. A file is then looked for there first, and added to it
when it is read or written. Commands that maintain a store pass no cache.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from tombola.errors import DamagedFile
from tombola.store import layout, location, tensors
from tombola.store.node_cache import NodeCache
from tombola.store.publish import File, publish
from tombola.store.tensors import Arrays

_CURE = "`tombola verify --repair` removes what is damaged; run the sweep again after it"


def write_state(
    store: Path, run_key: str, step: int, weights: Arrays, cache: NodeCache | None = None
) -> None:
    """Publish a run's weights and buffers after `step` iterations."""
    about = {"run": run_key, "step": step}
    _write(store / layout.state(run_key, step), tensors.encode(weights, about), cache)


def read_state(store: Path, run_key: str, step: int, cache: NodeCache | None = None) -> Arrays:
    """Return the weights and buffers of a run after `step` iterations, by name.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    about = {"run": run_key, "step": step}
    return _decode(store / layout.state(run_key, step), about, cache)[0]


def mask_file(store: Path, key: str, kept: Arrays) -> File:
    """Encode a mask, bool arrays by the name of the prunable tensor, as a file to publish."""
    shapes = {name: list(array.shape) for name, array in kept.items()}
    about = {"mask": key, "shapes": shapes}
    return store / layout.mask(key), tensors.encode(tensors.packed(kept), about)


def write_mask(store: Path, key: str, kept: Arrays, cache: NodeCache | None = None) -> None:
    """Publish a mask."""
    _write(*mask_file(store, key, kept), cache)


def read_mask(store: Path, key: str, cache: NodeCache | None = None) -> Arrays:
    """Return a mask: bool arrays by the name of the prunable tensor, True where kept.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    path = store / layout.mask(key)
    packed, about = _decode(path, {"mask": key}, cache)
    try:
        return tensors.unpacked(packed, about.get("shapes"))
    except ValueError as error:
        raise DamagedFile(path, f"{error}; {_CURE}") from None


def write_checkpoint(store: Path, run_key: str, arrays: Arrays, about: dict[str, Any]) -> None:
    """Publish a checkpoint of a run; `about` is stored beside the arrays, as JSON."""
    content = tensors.encode(arrays, {"checkpoint": run_key, **about})
    publish(store / layout.checkpoint(run_key), content)


def read_checkpoint(store: Path, run_key: str) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays of a checkpoint, and the JSON object stored beside them.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    return _decode(store / layout.checkpoint(run_key), {"checkpoint": run_key})


def _write(path: Path, content: bytes, cache: NodeCache | None) -> None:
    publish(path, content)
    if cache is not None:
        cache.keep(path, content)


def _decode(
    path: Path, expected: dict[str, Any], cache: NodeCache | None = None
) -> tuple[Arrays, dict[str, Any]]:
    if cache is not None and (content := cache.find(path)) is not None:
        with suppress(DamagedFile):
            arrays = _opened(path, content, expected)
            cache.reads.node += 1
            return arrays
        cache.forget(path)
    try:
        content = location.read(path)
    except FileNotFoundError:
        raise DamagedFile(path, "is missing; run the sweep again") from None
    arrays = _opened(path, content, expected)
    if cache is not None:
        cache.reads.store += 1
        cache.keep(path, content)
    return arrays


def _opened(path: Path, content: bytes, expected: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    try:
        arrays, about = tensors.decode(content)
    except ValueError as error:
        raise DamagedFile(path, f"{error}; {_CURE}") from None
    if any(about.get(name) != value for name, value in expected.items()):
        raise DamagedFile(path, f"holds another value than its name says; {_CURE}")
    return arrays, about
