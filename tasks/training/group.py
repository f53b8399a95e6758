"""The place of a process among those that train one run together."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn


class Group(Protocol):
    """A process group as the training loop knows it (all_reduce.ProcessGroup, or ALONE)."""

    @property
    def rank(self) -> int:
        """Number of this process in the group, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of processes in the group."""
        ...

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        ...

    def prepare(self, module: nn.Module) -> None:
        """Make layers with batch statistics use the whole batch."""
        ...


class _Alone:
    """A group of one process: each sum is that of this process."""

    rank, size = 0, 1

    def sum(self, tensors: Sequence[Tensor]) -> None:
        pass

    def prepare(self, module: nn.Module) -> None:
        pass


ALONE: Group = _Alone()
"""The group of a run that one process trains by itself."""
