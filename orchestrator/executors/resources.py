"""How much of a cluster a pack holds, and how many packs it then holds side by side. Pure."""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from tombola.errors import TombolaError


@dataclass(frozen=True)
class Share:
    """What each pack holds: so many CPUs, and a part of a GPU, one, or several.

    Several are for a gang (tasks.training.distributed): a training is divided among as many processes, all on
    one node unless it may go `across_nodes`.

    Raises
    ------
    TombolaError
        When it is more than a GPU and not whole ones.
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
        """Processes that a training is divided among."""
        return max(1, int(self.gpus))

    @property
    def bundle(self) -> dict[str, float]:
        """What each member of a gang holds: a GPU, and its part of the CPUs.

        Ray counts in ten-thousandths; rounded down, all parts fit where the whole does.
        """
        cpus = floor(1e4 * self.cpus / self.members) / 1e4
        return {"GPU": 1.0, "CPU": cpus} if cpus else {"GPU": 1.0}

    def slots(self, nodes: list[dict[str, Any]]) -> int:
        """Packs that fit on the nodes that live, side by side; `nodes` as Ray tells them."""
        parts = [self.parts(node) for node in nodes]
        if self.across_nodes:
            return sum(parts) // self.members
        return sum(part // self.members for part in parts)

    def parts(self, node: dict[str, Any]) -> int:
        """Members of gangs that fit on a node; where there are no gangs, packs."""
        if not node["Alive"]:
            return 0
        have, fits = node.get("Resources", {}), []
        if self.cpus:
            fits.append(int(have.get("CPU", 0.0) * self.members / self.cpus + 1e-9))
        if self.gpus >= 1:
            fits.append(int(have.get("GPU", 0.0)))
        elif self.gpus:  # a task's share is of one GPU
            fits.append(int(have.get("GPU", 0.0)) * int(1 / self.gpus + 1e-9))
        return min(fits, default=1)

    def widest(self, largest: float) -> int:
        """Packs that share one GPU or, where they hold none, the CPUs of the largest node."""
        whole, share = (1.0, self.gpus) if self.gpus else (largest, self.cpus)
        return max(1, int(whole / share + 1e-9)) if share else 1

    def wide(self, width: int, largest: float) -> dict[str, float]:
        """What a pack on one worker holds that is so many times as wide, by the names of Ray.

        At the most that is all of a device, or of the largest node where it holds none.
        """
        if self.members > 1:
            return {"num_cpus": self.bundle.get("CPU", 0.0), "num_gpus": 1.0}
        if self.gpus:
            return {"num_cpus": self.cpus, "num_gpus": min(width * self.gpus, 1.0)}
        return {"num_cpus": min(width * self.cpus, max(self.cpus, largest)), "num_gpus": 0.0}

    def no_room(self, nodes: list[dict[str, Any]]) -> str:
        """That no node is large enough for one task, and what could be done about it."""
        alive = [node.get("Resources", {}) for node in nodes if node["Alive"]]
        cpus, gpus = (sum(one.get(kind, 0.0) for one in alive) for kind in ("CPU", "GPU"))
        have = f"the cluster has {cpus:g} CPU and {gpus:g} GPU"
        task = f"{self.cpus:g} CPU and {self.gpus:g} GPU for a task"
        if self.across_nodes and self.members > 1:
            return f"{have}, not {task}"
        said = f"no node has {task}: {have}"
        if self.members > 1 and Share(self.cpus, self.gpus, across_nodes=True).slots(nodes):
            said += (
                "; --across-nodes divides a training among nodes, and has its processes listen on "
                "their network, to anyone there"
            )
        return said


def gpu_share(memory: float) -> float:
    """Sixteenths of a GPU for a task that takes this fraction of its memory, a quarter spare."""
    return min(1.0, ceil(16 * 1.25 * memory) / 16)
