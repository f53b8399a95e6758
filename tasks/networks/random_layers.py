"""Seeds for random numbers that a module draws itself: dropout, stochastic depth, torch.rand.

Such code draws from generators that belong to the whole process. They are seeded before each
forward pass by the seed and step of the run, and restored afterwards. A draw therefore does not
depend on earlier draws, on an interruption or on other runs of the process.
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
"""Held from the seeding to the end of the forward pass, since threads share the generators."""


def drawing(
    network: Network,
    seed: int,
    purpose: str,
    index: int | str = 0,
    device: torch.device = _CPU,
) -> AbstractContextManager[None]:
    """Return a context in which a forward pass of the network draws by this seed and purpose.

    It does nothing for networks of semantics version 1, which draw nothing.
    """
    return seeded(seed, purpose, index, device) if network.semantics > 1 else nullcontext()


@contextmanager
def seeded(
    seed: int, purpose: str, index: int | str = 0, device: torch.device = _CPU
) -> Iterator[None]:
    """Seed torch, numpy and Python's random by a seed, purpose and index; restore them after."""
    name = f"{seed}/{purpose}/{index}".encode()
    words = int.from_bytes(hashlib.sha256(name).digest()[:8], "little")
    devices = [device] if device.type == "cuda" else []
    with _LOCK, torch.random.fork_rng(devices):
        before = np.random.get_state(), random.getstate()  # noqa: NPY002 (user code draws from it)
        torch.default_generator.manual_seed(words)
        for gpu in devices:
            torch.cuda.default_generators[_number(gpu)].manual_seed(words)
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
