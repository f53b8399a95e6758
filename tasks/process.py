"""Set-up of a process that computes tasks."""

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt (malloc.h)."""

_BYTES = 2**30


def prepare() -> None:
    """Set one torch thread, and let the memory allocator keep freed memory.

    By default glibc returns activations to the kernel after each iteration, and the next
    iteration maps every page again: a tenth of the training time of ResNet-20. Results do not
    depend on the allocator.
    """
    torch.set_num_threads(1)
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _BYTES)
        mallopt(_M_TRIM_THRESHOLD, _BYTES)
