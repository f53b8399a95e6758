"""Counter-based random streams: a draw is a function of its seed, its purpose and an index.

The generator is Philox (Salmon et al. 2011), keyed by a hash. Only its raw 64-bit words are
used, and numpy guarantees them. The distributions are computed here, so draws do not change
with the version of a library. Streams have no state: a resumed run draws the same numbers as
an uninterrupted run.
"""

import hashlib

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def _words(count: int, seed: int, purpose: str, index: int | str) -> npt.NDArray[np.uint64]:
    name = f"{seed}/{purpose}/{index}".encode()
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    return np.random.Philox(key=key).random_raw(count)


def uniform(count: int, seed: int, purpose: str, index: int | str = 0) -> FloatArray:
    """Return `count` draws from [0, 1), with 53 random bits each."""
    words = _words(count, seed, purpose, index)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(count: int, seed: int, purpose: str, index: int | str = 0) -> FloatArray:
    """Return `count` draws from N(0, 1) (Box and Muller 1958)."""
    half = (count + 1) // 2
    u = uniform(2 * half, seed, purpose, index)
    radius, angle = np.sqrt(-2.0 * np.log1p(-u[:half])), 2.0 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def permutation(count: int, seed: int, purpose: str, index: int | str = 0) -> IntArray:
    """Return the numbers 0 to `count` - 1 in random order."""
    return np.argsort(_words(count, seed, purpose, index), kind="stable")
