"""How a process that computes tasks is set up."""

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt (malloc.h)."""

_MOST = 2**30


def prepare() -> None:
    """Give this process one torch thread, and an allocator that keeps the memory it was given.

    By default glibc returns activations to the kernel after each iteration, and the next one
    faults every page in again: a tenth of ResNet-20's training time. Results do not depend
    on it.
    """
    torch.set_num_threads(1)
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MOST)
        mallopt(_M_TRIM_THRESHOLD, _MOST)
