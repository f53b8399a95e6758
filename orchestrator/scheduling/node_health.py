"""A fuse for each node: where different tasks fail one after another, is it the node?

Pure. A peer's users lost 470 of 500 runs to one bad machine. When a fuse blows, nothing goes
to that node while one of the tasks that failed there is tried elsewhere: if it succeeds, it
was the node, and all of them are tried again; if it fails, it was the tasks, and the node is
trusted again.
"""

from dataclasses import dataclass, field

STREAK = 5
"""Different tasks that fail on a node, one after another, until it is suspected."""


@dataclass(frozen=True)
class Suspected:
    """Avoid the node, and try this task elsewhere."""

    node: str
    probe: str


@dataclass(frozen=True)
class Fenced:
    """It is the node: avoid it from now on, and try these tasks again."""

    node: str
    keys: frozenset[str]


@dataclass(frozen=True)
class Cleared:
    """It is not the node."""

    node: str


Verdict = Suspected | Fenced | Cleared


@dataclass
class Fuses:
    """What failed on each node since its last success, and who is under suspicion."""

    streaks: dict[str, list[str]] = field(default_factory=dict)
    probes: dict[str, str] = field(default_factory=dict)
    avoided: set[str] = field(default_factory=set)

    def note(self, node: str, key: str, *, failed: bool, final: bool) -> Verdict | None:
        """Take in how a task ended on a node; what follows, if anything.

        `final` is whether a task that failed was given up.
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
        """There is no other node: take this one as it is."""
        self.avoided.discard(node)
        self.streaks.pop(node, None)
        self.probes = {key: of for key, of in self.probes.items() if of != node}

    def _judge(self, node: str, *, failed: bool) -> Verdict:
        if failed:
            self.trust(node)
            return Cleared(node)
        return Fenced(node, frozenset(self.streaks.pop(node)))
