"""Encode arrays as safetensors with checksums, and masks as bits.

The header holds a JSON object about the arrays, a SHA-256 of the arrays, and a SHA-256 of the
object. Both are compared at every read; older files lack the second one. This module knows no
folder, so that every reader of a store can use it.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

Arrays = dict[str, npt.NDArray[Any]]


def encode(tensors: Arrays, about: dict[str, Any]) -> bytes:
    """Encode arrays as the bytes of a file; `about` is stored in its header, as JSON."""
    tensors = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    facts = {**about, _TENSORS: _checksum(tensors)}
    header = json.dumps({**facts, _FACTS: _checksum_of(facts)}, sort_keys=True)
    return save(tensors, metadata={"tombola": header})


_TENSORS, _FACTS = "sha256", "sha256_of_header"
_HEADER = 1 << 24
"""The most bytes of a header."""

_DIMENSIONS = 16


def decode(content: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays, and the JSON object about them.

    Raises
    ------
    ValueError
        When the bytes are truncated or altered.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        if length > min(_HEADER, len(content)):
            raise ValueError("its header is longer than the file")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tombola"])
        tensors = load(content)
        facts = {name: value for name, value in about.items() if name != _FACTS}
        whole = about[_TENSORS] == _checksum({name: tensors[name] for name in sorted(tensors)})
        whole = whole and about.get(_FACTS) in (None, _checksum_of(facts))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ValueError("is truncated or altered")
    return tensors, about


def packed(kept: Arrays) -> Arrays:
    """Pack bool arrays of any shape into bits, eight to a byte; the last byte ends with zeros."""
    return {name: np.packbits(array, axis=None) for name, array in kept.items()}


def unpacked(bits: Arrays, shapes: object) -> Arrays:
    """Unpack bits into bool arrays of these shapes, by name.

    Raises
    ------
    ValueError
        When the bits are not those of such arrays.
    """
    if not isinstance(shapes, dict) or shapes.keys() != bits.keys():
        raise ValueError("its shapes do not match its arrays")
    return {name: _unpacked(bits[name], shape) for name, shape in shapes.items()}


def _unpacked(bits: npt.NDArray[Any], shape: object) -> npt.NDArray[Any]:
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS:
        raise ValueError("a shape in it is not a list of sizes")
    if not all(type(side) is int and 0 <= side < 2**40 for side in shape):
        raise ValueError("a shape in it is not a list of sizes")
    count = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != (-(-count // 8),):
        raise ValueError("a shape in it does not match its bits")
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)


def _checksum_of(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _checksum(tensors: Arrays) -> str:
    summary = hashlib.sha256()
    for name, array in tensors.items():
        summary.update(f"{name} {array.dtype} {array.shape}\n".encode())
        summary.update(array.tobytes())
    return summary.hexdigest()
