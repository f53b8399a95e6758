"""What a task used of its machine: peak memory, and energy where the device counts it."""

import resource
from typing import Any

import torch

CPU_WATTS, GPU_WATTS = 15.0, 300.0
"""Of one busy core of a server and of a busy GPU, about: what estimates are made with."""


class Meter:
    """Started with a task, read at its end."""

    def __init__(self, device: str) -> None:
        self._gpu = device == "cuda"
        self._joules = _joules() if self._gpu else None
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()

    def read(self, seconds: float) -> dict[str, Any]:
        """Columns of schema.TASKS. A GPU's energy is all it used, whoever shared it."""
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
    """What the GPU has used since its driver was loaded, J; None where it does not count."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except Exception:  # noqa: BLE001 -- no library or no counter: an estimate is made instead
        return None
