"""Seeds of the random numbers that a module draws itself: dropout, stochastic depth, torch.rand.

Such code draws from generators of the whole process. They are seeded anew before each of its
forward passes, by a run's seed and step: a draw does not depend on what was drawn before it,
on a stop in between or on other runs of the process. Outside of `Draws` nothing is changed.
"""

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType

import numpy as np
import torch

from tasks.spec import Network

_LOCK = threading.RLock()
"""Held from a seed to the end of the pass that draws: threads share the generators."""


@contextmanager
def seeded(seed: int, purpose: str, index: int | str, device: torch.device) -> Iterator[None]:
    """Let torch, numpy and Python's random draw from their start for this seed and purpose."""
    name = f"{seed}/{purpose}/{index}".encode()
    words = int.from_bytes(hashlib.sha256(name).digest()[:8], "little")
    with _LOCK:
        torch.default_generator.manual_seed(words)
        if device.type == "cuda":
            torch.cuda.default_generators[_number(device)].manual_seed(words)
        np.random.seed(words % 2**32)  # noqa: NPY002 (the generator of a user's code)
        random.seed(words)
        yield


class Draws:
    """The draws of one network's passes with one seed; a context that leaves no trace.

    Shipped networks, and those of torchvision that keep their first semantics, draw nothing:
    for them it does nothing.
    """

    def __init__(
        self, network: Network, seed: int, device: torch.device, *, always: bool = False
    ) -> None:
        self._seed, self._device = seed, device
        self._draws = always or network.semantics > 1

    def at(self, purpose: str, index: int | str = 0) -> AbstractContextManager[None]:
        """What a pass for this purpose is made within."""
        if not self._draws:
            return nullcontext()
        return seeded(self._seed, purpose, index, self._device)

    def __enter__(self) -> "Draws":
        if self._draws:
            self._before = (
                torch.default_generator.get_state(),
                np.random.get_state(),  # noqa: NPY002
                random.getstate(),
            )
            if self._device.type == "cuda":
                self._on_device = torch.cuda.get_rng_state(self._device)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._draws:
            torch.default_generator.set_state(self._before[0])
            np.random.set_state(self._before[1])  # noqa: NPY002
            random.setstate(self._before[2])
            if self._device.type == "cuda":
                torch.cuda.set_rng_state(self._on_device, self._device)


def _number(device: torch.device) -> int:
    index: int | None = device.index
    return torch.cuda.current_device() if index is None else index
