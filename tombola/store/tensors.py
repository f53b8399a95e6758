"""Tensors as bytes that say what they are and prove they are whole; masks packed to bits.

Safetensors: the header holds what was said about the tensors, a SHA-256 of them, and one of all
that was said, checked at every reading (older files lack the last). Knows no folder, so that
readers of a store can share it.
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


def seal(tensors: Arrays, about: dict[str, Any]) -> bytes:
    """The bytes of a file; `about` is kept as JSON."""
    tensors = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    said = {**about, _TENSORS: _checksum(tensors)}
    header = json.dumps({**said, _SAID: _checksum_of(said)}, sort_keys=True)
    return save(tensors, metadata={"tombola": header})


_TENSORS, _SAID = "sha256", "sha256_of_header"
_HEADER = 1 << 24
"""Bytes of a header, at the most."""

_DIMENSIONS = 16


def unseal(content: bytes) -> tuple[Arrays, dict[str, Any]]:
    """The tensors, and what was said about them.

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
        said = {name: value for name, value in about.items() if name != _SAID}
        whole = about[_TENSORS] == _checksum({name: tensors[name] for name in sorted(tensors)})
        whole = whole and about.get(_SAID) in (None, _checksum_of(said))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ValueError("is truncated or altered")
    return tensors, about


def packed(kept: Arrays) -> Arrays:
    """Bool arrays of any shape as bits, eight to a byte, the last byte filled up with 0."""
    return {name: np.packbits(array, axis=None) for name, array in kept.items()}


def unpacked(bits: Arrays, shapes: object) -> Arrays:
    """Bool arrays of these shapes, by name, again.

    Raises
    ------
    ValueError
        When the bits are not those of such arrays.
    """
    if not isinstance(shapes, dict) or shapes.keys() != bits.keys():
        raise ValueError("its shapes are not those of its tensors")
    return {name: _unpacked(bits[name], shape) for name, shape in shapes.items()}


def _unpacked(bits: npt.NDArray[Any], shape: object) -> npt.NDArray[Any]:
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS:
        raise ValueError("a shape of it is no list of sizes")
    if not all(type(side) is int and 0 <= side < 2**40 for side in shape):
        raise ValueError("a shape of it is no list of sizes")
    count = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != (-(-count // 8),):
        raise ValueError("a shape of it does not fit its bits")
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)


def _checksum_of(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _checksum(tensors: Arrays) -> str:
    summary = hashlib.sha256()
    for name, array in tensors.items():
        summary.update(f"{name} {array.dtype} {array.shape}\n".encode())
        summary.update(array.tobytes())
    return summary.hexdigest()
