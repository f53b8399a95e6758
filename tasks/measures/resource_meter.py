"""Resources that a task used: peak memory, and energy as counted by the device or estimated."""

import resource
from typing import Any

import torch

CPU_WATTS, GPU_WATTS = 15.0, 300.0
"""Approximate power of a busy server core and of a busy GPU, for estimates of energy."""


class Meter:
    """A meter of memory and energy; build it at the start of a task and read it at the end."""

    def __init__(self, device: str) -> None:
        self._gpu = device == "cuda"
        self._joules = _joules() if self._gpu else None
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()

    def read(self, seconds: float) -> dict[str, Any]:
        """Return columns of schema.TASKS: bytes, joules and the source of the joules.

        The energy of a GPU includes that of other tasks that share it.
        """
        joules = _joules() if self._joules is not None else None
        if joules is not None and self._joules is not None:
            energy, source = joules - self._joules, "nvml"
        else:
            energy, source = seconds * (GPU_WATTS if self._gpu else CPU_WATTS), "estimate"
        return {"peak_memory": self._peak(), "energy": energy, "energy_source": source}

    def _peak(self) -> int:
        if self._gpu:
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _joules() -> float | None:
    """Return the joules the GPU has used since its driver was loaded, or None if unknown."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except Exception:  # noqa: BLE001 -- no library or no counter: the energy is estimated
        return None
