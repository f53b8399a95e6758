"""Compute the share of a node that a pack holds, and the packs that fit on a cluster. Pure."""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from tombola.errors import TombolaError


@dataclass(frozen=True)
class Share:
    """The CPUs and GPUs that each pack holds; `gpus` may be a fraction below 1.

    With several GPUs, a training is divided among a process group of one process for each GPU.
    All are on one node unless `across_nodes` is set.

    Raises
    ------
    TombolaError
        When `gpus` is above 1 and not a whole number.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    across_nodes: bool = False

    def __post_init__(self) -> None:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise TombolaError(
                f"a task holds whole GPUs or a part of one, not {self.gpus:g} (--gpus-per-task)"
            )

    @property
    def members(self) -> int:
        """Number of processes that a training is divided among."""
        return max(1, int(self.gpus))

    @property
    def bundle(self) -> dict[str, float]:
        """The resources of each process of a group: a GPU, and its part of the CPUs.

        Ray counts in ten-thousandths, so the CPUs are rounded down to fit together.
        """
        cpus = floor(1e4 * self.cpus / self.members) / 1e4
        return {"GPU": 1.0, "CPU": cpus} if cpus else {"GPU": 1.0}

    def slots(self, nodes: list[dict[str, Any]]) -> int:
        """Return the number of packs that fit on the live nodes (as `ray.nodes()` lists them)."""
        parts = [self.parts(node) for node in nodes]
        if self.across_nodes:
            return sum(parts) // self.members
        return sum(part // self.members for part in parts)

    def parts(self, node: dict[str, Any]) -> int:
        """Return the processes of groups that fit on a node; without groups, the packs."""
        if not node["Alive"]:
            return 0
        have, fits = node.get("Resources", {}), []
        if self.cpus:
            fits.append(int(have.get("CPU", 0.0) * self.members / self.cpus + 1e-9))
        if self.gpus >= 1:
            fits.append(int(have.get("GPU", 0.0)))
        elif self.gpus:  # fractions of one GPU
            fits.append(int(have.get("GPU", 0.0)) * int(1 / self.gpus + 1e-9))
        return min(fits, default=1)

    def widest(self, largest: float) -> int:
        """Return the packs that fit on one GPU or, without GPUs, on the largest node."""
        whole, share = (1.0, self.gpus) if self.gpus else (largest, self.cpus)
        return max(1, int(whole / share + 1e-9)) if share else 1

    def wide(self, width: int, largest: float) -> dict[str, float]:
        """Return Ray's options for a pack of this width, which holds `width` shares.

        The most is a whole GPU or, without GPUs, the largest node.
        """
        if self.members > 1:
            return {"num_cpus": self.bundle.get("CPU", 0.0), "num_gpus": 1.0}
        if self.gpus:
            return {"num_cpus": self.cpus, "num_gpus": min(width * self.gpus, 1.0)}
        return {"num_cpus": min(width * self.cpus, max(self.cpus, largest)), "num_gpus": 0.0}

    def no_room(self, nodes: list[dict[str, Any]]) -> str:
        """Return the message that no node has room for one task, with a cure."""
        alive = [node.get("Resources", {}) for node in nodes if node["Alive"]]
        cpus, gpus = (sum(node.get(kind, 0.0) for node in alive) for kind in ("CPU", "GPU"))
        have = f"the cluster has {cpus:g} CPU and {gpus:g} GPU"
        task = f"{self.cpus:g} CPU and {self.gpus:g} GPU for a task"
        if self.across_nodes and self.members > 1:
            return f"{have}, not {task}"
        message = f"no node has {task}: {have}"
        if self.members > 1 and Share(self.cpus, self.gpus, across_nodes=True).slots(nodes):
            message += (
                "; --across-nodes divides a training among nodes; its processes then listen on "
                "the network of the nodes, where anyone can connect"
            )
        return message


def gpu_share(memory: float) -> float:
    """Return a share of a GPU in sixteenths: 1.25 times this fraction of its memory."""
    return min(1.0, ceil(16 * 1.25 * memory) / 16)
