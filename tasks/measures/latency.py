"""Time of a forward pass and bytes of a network: dense, masked, and with dead units removed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median

import torch
from torch import nn

from tasks.heartbeat import paced
from tasks.masks import Kept
from tasks.networks.build import Weights, build, call
from tasks.pruning.structured import shrink
from tasks.training.precision import arithmetic
from tasks.values.training import Network

REPEATS = 20
"""Least number of timed passes of each form."""

SECONDS = 0.25
"""Least time over which all forms are timed: a pass of a small network takes 0.1 ms."""


@dataclass(frozen=True)
class Form:
    """One form of a network: median milliseconds of a pass, and bytes of its float32 tensors."""

    form: str
    milliseconds: float
    bytes: int


@arithmetic("float32")
def latencies(network: Network, weights: Weights, kept: Kept, *, batch_size: int = 1) -> list[Form]:
    """Time the dense, masked and shrunk network on the device of the weights, in float32.

    The masked network computes with zeros, so it is no faster than the dense one. The shrunk
    network lacks the units that keep no incoming weight, so it gains time where whole units are
    pruned. The forms take turns, and a busy machine slows all of them alike. Timing ends after
    REPEATS turns or SECONDS, whichever is later.
    """
    device = next(iter(weights.values())).device
    masked = {n: t * kept[n] if n in kept else t for n, t in weights.items()}
    smaller, small = shrink(network, weights, kept)
    small = {n: t.to(device) for n, t in small.items()}
    forms = {
        "dense": (build(network), weights),
        "masked": (build(network), masked),
        "shrunk": (smaller.to(device), small),
    }
    images = torch.ones(batch_size, *network.input_shape, device=device)
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for module, tensors in forms.values():  # warm up
        _pass(module, tensors, images)
    for _ in paced(_turns()):
        for form, (module, tensors) in forms.items():
            seconds[form].append(_pass(module, tensors, images))
    return [
        Form(
            form,
            1000 * median(seconds[form]),
            sum(t.numel() * t.element_size() for t in tensors.values()),
        )
        for form, (_, tensors) in forms.items()
    ]


def _turns() -> Iterator[int]:
    """Count turns until REPEATS turns and SECONDS have passed."""
    began = time.perf_counter()
    for turn in count():
        if turn >= REPEATS and time.perf_counter() - began >= SECONDS:
            return
        yield turn


@torch.no_grad()
def _pass(module: nn.Module, weights: Weights, images: torch.Tensor) -> float:
    module.eval()
    began = time.perf_counter()
    call(module, weights, images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began
