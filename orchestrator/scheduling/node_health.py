"""A circuit breaker for each node: find nodes on which all tasks fail. Pure.

A user of a similar tool lost 470 of 500 runs to one bad machine. When different tasks fail one
after another on a node, its circuit breaker opens: the node gets no tasks, and one of the failed
tasks runs on another node as a probe. If the probe succeeds, the node was the cause: it stays
excluded, and all tasks that failed there run again. If the probe fails, the tasks were the
cause, and the node is used again.
"""

from dataclasses import dataclass, field

STREAK = 5
"""Number of different tasks that fail on a node one after another before it is suspected."""


@dataclass(frozen=True)
class Suspected:
    """Verdict: avoid the node for now, and run the task `probe` on another node."""

    node: str
    probe: str


@dataclass(frozen=True)
class Fenced:
    """Verdict: the node is the cause; avoid it from now on, and run these tasks again."""

    node: str
    keys: frozenset[str]


@dataclass(frozen=True)
class Cleared:
    """Verdict: the node is not the cause."""

    node: str


Verdict = Suspected | Fenced | Cleared


@dataclass
class CircuitBreakers:
    """The circuit breakers of all nodes.

    `streaks` are the tasks that failed on each node since its last success. `probes` maps the
    key of a probe to the node under suspicion. `avoided` are the nodes that get no tasks.
    """

    streaks: dict[str, list[str]] = field(default_factory=dict)
    probes: dict[str, str] = field(default_factory=dict)
    avoided: set[str] = field(default_factory=set)

    def note(self, node: str, key: str, *, failed: bool, final: bool) -> Verdict | None:
        """Take in the end of a task on a node; return a verdict, or None if nothing changes.

        `final` tells whether a failed task has no tries left.
        """
        if key in self.probes and node not in self.avoided:
            return self._judge(self.probes.pop(key), failed=failed)
        if node in self.avoided:
            if failed and final:
                self.streaks[node].append(key)
            return None
        if not failed:
            self.streaks.pop(node, None)
            return None
        streak = self.streaks.setdefault(node, [])
        if final and key not in streak:
            streak.append(key)
        if len(streak) < STREAK:
            return None
        self.avoided.add(node)
        self.probes[streak[0]] = node
        return Suspected(node, streak[0])

    def trust(self, node: str) -> None:
        """Use a node again whatever failed there, for example because there is no other."""
        self.avoided.discard(node)
        self.streaks.pop(node, None)
        self.probes = {key: of for key, of in self.probes.items() if of != node}

    def _judge(self, node: str, *, failed: bool) -> Verdict:
        if failed:
            self.trust(node)
            return Cleared(node)
        return Fenced(node, frozenset(self.streaks.pop(node)))
