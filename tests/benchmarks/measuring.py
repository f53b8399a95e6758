"""What benchmarks share: timing, and one line for each figure."""

import os
import platform
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T], repeat: int = 1) -> tuple[float, T]:
    """Seconds of the best of `repeat` calls, and what the last one gave."""
    best = float("inf")
    for _ in range(repeat):
        began = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - began)
    return best, found


def report(name: str, value: str, aim: str = "") -> None:
    """A figure, and what it should be."""
    print(f"{name:<58} {value:>14}  {aim}")


def machine() -> None:
    """The machine, first."""
    print(f"# {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
