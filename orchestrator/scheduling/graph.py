"""The graph of tasks as a scheduler knows it, and the quantities that do not change."""

from collections.abc import Iterable
from typing import NamedTuple


class Node(NamedTuple):
    """A task as the scheduler knows it; tasks of one `group` are placed in one pack if possible."""

    key: str
    seconds: float
    needs: tuple[str, ...] = ()
    group: str = ""


class Graph:
    """Tasks and their dependencies; schedulers of the same plan share one graph.

    Attributes
    ----------
    nodes : dict
        Tasks by key, in the order given, all needs included.
    children : dict
        For each key, the keys of the tasks that need it.
    remaining : dict
        For each key, seconds of the longest path from the start of the task to the end of the
        graph.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.key: node for node in nodes}
        self.children: dict[str, list[str]] = {key: [] for key in self.nodes}
        for key, node in self.nodes.items():
            for need in node.needs:
                self.children[need].append(key)
        self.remaining = self._longest_paths()

    @property
    def work(self) -> float:
        """Seconds of all tasks together."""
        return sum(node.seconds for node in self.nodes.values())

    @property
    def critical_path(self) -> float:
        """Seconds of the longest chain of tasks that need one another."""
        return max(self.remaining.values(), default=0.0)

    def _longest_paths(self) -> dict[str, float]:
        below = {key: len(children) for key, children in self.children.items()}
        remaining = {key: node.seconds for key, node in self.nodes.items()}
        leaves = [key for key, count in below.items() if not count]
        while leaves:
            key = leaves.pop()
            for need in self.nodes[key].needs:
                longer = self.nodes[need].seconds + remaining[key]
                remaining[need] = max(remaining[need], longer)
                below[need] -= 1
                if not below[need]:
                    leaves.append(need)
        return remaining
