"""Seeds of the random numbers that a module draws itself: dropout, stochastic depth, torch.rand.

Such code draws from generators of the whole process. They are seeded anew before each of its
forward passes, by a run's seed and step: a draw does not depend on what was drawn before it,
on a stop in between or on other runs of the process. Afterwards they are as they were.
"""

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch

from tasks.values.training import Network

_CPU = torch.device("cpu")

_LOCK = threading.RLock()
"""Held from a seed to the end of the pass that draws: threads share the generators."""


def drawing(
    network: Network,
    seed: int,
    purpose: str,
    index: int | str = 0,
    device: torch.device = _CPU,
) -> AbstractContextManager[None]:
    """What a pass of a network for this purpose is made within.

    Networks of the first semantics draw nothing: for them it does nothing.
    """
    return seeded(seed, purpose, index, device) if network.semantics > 1 else nullcontext()


@contextmanager
def seeded(
    seed: int, purpose: str, index: int | str = 0, device: torch.device = _CPU
) -> Iterator[None]:
    """Let torch, numpy and Python's random draw from their start for this seed and purpose."""
    name = f"{seed}/{purpose}/{index}".encode()
    words = int.from_bytes(hashlib.sha256(name).digest()[:8], "little")
    devices = [device] if device.type == "cuda" else []
    with _LOCK, torch.random.fork_rng(devices):
        before = np.random.get_state(), random.getstate()  # noqa: NPY002 (that of a user's code)
        torch.default_generator.manual_seed(words)
        for one in devices:
            torch.cuda.default_generators[_number(one)].manual_seed(words)
        np.random.seed(words % 2**32)  # noqa: NPY002
        random.seed(words)
        try:
            yield
        finally:
            np.random.set_state(before[0])  # noqa: NPY002
            random.setstate(before[1])


def _number(device: torch.device) -> int:
    index: int | None = device.index
    return torch.cuda.current_device() if index is None else index
