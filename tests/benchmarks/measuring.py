"""Timing and printing shared by benchmarks."""

import os
import platform
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T], repeat: int = 1) -> tuple[float, T]:
    """Return the seconds of the fastest of `repeat` calls, and the result of the last."""
    best = float("inf")
    for _ in range(repeat):
        began = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - began)
    return best, found


def report(name: str, value: str, aim: str = "") -> None:
    """Print a measurement and its target."""
    print(f"{name:<58} {value:>14}  {aim}")


def machine() -> None:
    """Print the machine."""
    print(f"# {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
