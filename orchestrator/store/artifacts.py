"""States and masks as safetensors files that say what they are and prove they are whole.

The header holds the canonical value and a SHA-256 of the tensors, checked at every read.
Masks are packed to bits.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from orchestrator.errors import DamagedFile
from orchestrator.store import layout
from orchestrator.store.files import publish

Arrays = dict[str, npt.NDArray[Any]]

_CURE = "`tombola verify --repair` removes what is damaged; run the sweep again after it"


def write_state(store: Path, run_key: str, step: int, weights: Arrays) -> None:
    """Publish a run's weights and buffers after `step` iterations."""
    about = {"run": run_key, "step": step}
    publish(store / layout.state(run_key, step), _encode(weights, about))


def read_state(store: Path, run_key: str, step: int) -> Arrays:
    """Weights and buffers by name.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    return _decode(store / layout.state(run_key, step), {"run": run_key, "step": step})[0]


def write_mask(store: Path, key: str, kept: Arrays) -> None:
    """Publish a mask: bool arrays by the name of the prunable tensor."""
    shapes = {name: list(array.shape) for name, array in kept.items()}
    packed = {name: np.packbits(array, axis=None) for name, array in kept.items()}
    publish(store / layout.mask(key), _encode(packed, {"mask": key, "shapes": shapes}))


def read_mask(store: Path, key: str) -> Arrays:
    """Bool arrays by the name of the prunable tensor.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    packed, about = _decode(store / layout.mask(key), {"mask": key})
    shapes: dict[str, list[int]] = about["shapes"]
    return {
        name: np.unpackbits(packed[name], count=int(np.prod(shape))).astype(bool).reshape(shape)
        for name, shape in shapes.items()
    }


def write_checkpoint(store: Path, run_key: str, tensors: Arrays, about: dict[str, Any]) -> None:
    """Publish where a run could go on from; `about` is kept beside the tensors, as JSON."""
    publish(store / layout.checkpoint(run_key), _encode(tensors, {"checkpoint": run_key, **about}))


def read_checkpoint(store: Path, run_key: str) -> tuple[Arrays, dict[str, Any]]:
    """The tensors of a checkpoint, and what was said beside them.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    return _decode(store / layout.checkpoint(run_key), {"checkpoint": run_key})


def _encode(tensors: Arrays, about: dict[str, Any]) -> bytes:
    tensors = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    header = json.dumps({**about, "sha256": _checksum(tensors)}, sort_keys=True)
    return save(tensors, metadata={"tombola": header})


def _decode(path: Path, expected: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tombola"])
        tensors = load(content)
        whole = about["sha256"] == _checksum({name: tensors[name] for name in sorted(tensors)})
    except FileNotFoundError:
        raise DamagedFile(path, "is missing; run the sweep again") from None
    except (SafetensorError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DamagedFile(path, f"is truncated or altered; {_CURE}")
    if any(about.get(name) != value for name, value in expected.items()):
        raise DamagedFile(path, f"holds another value than its name says; {_CURE}")
    return tensors, about


def _checksum(tensors: Arrays) -> str:
    summary = hashlib.sha256()
    for name, array in tensors.items():
        summary.update(f"{name} {array.dtype} {array.shape}\n".encode())
        summary.update(array.tobytes())
    return summary.hexdigest()
