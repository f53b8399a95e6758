"""Tensors as bytes that say what they are and prove they are whole; masks packed to bits.

Safetensors: the header holds what was said about the tensors and a SHA-256 of them, checked
at every reading. Knows no folder, so that readers of a store can share it.
"""

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

Arrays = dict[str, npt.NDArray[Any]]


def seal(tensors: Arrays, about: dict[str, Any]) -> bytes:
    """The bytes of a file; `about` is kept as JSON."""
    tensors = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    header = json.dumps({**about, "sha256": _checksum(tensors)}, sort_keys=True)
    return save(tensors, metadata={"tombola": header})


def unseal(content: bytes) -> tuple[Arrays, dict[str, Any]]:
    """The tensors, and what was said about them.

    Raises
    ------
    ValueError
        When the bytes are truncated or altered.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tombola"])
        tensors = load(content)
        whole = about["sha256"] == _checksum({name: tensors[name] for name in sorted(tensors)})
    except (SafetensorError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError("is truncated or altered")
    return tensors, about


def packed(kept: Arrays) -> Arrays:
    """Bool arrays of any shape as bits, eight to a byte, the last byte filled up with 0."""
    return {name: np.packbits(array, axis=None) for name, array in kept.items()}


def unpacked(bits: Arrays, shapes: dict[str, list[int]]) -> Arrays:
    """Bool arrays of these shapes again."""
    return {
        name: np.unpackbits(bits[name], count=int(np.prod(shape))).astype(bool).reshape(shape)
        for name, shape in shapes.items()
    }


def _checksum(tensors: Arrays) -> str:
    summary = hashlib.sha256()
    for name, array in tensors.items():
        summary.update(f"{name} {array.dtype} {array.shape}\n".encode())
        summary.update(array.tobytes())
    return summary.hexdigest()
