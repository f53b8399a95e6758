"""Results that a result depends on, read from its value, and those that the store lacks.

A result stands on the mask of its run, on the mask that it prunes within, and on the runs whose
weights it reads. A task commits after all of these, so that a store always has them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_MASKS = ("mask", "within")
_STATES = ("start", "of", "one", "other")


def stands_on(value: Mapping[str, Any]) -> list[str]:
    """Keys of the runs and masks that a task of this value (parsed canonical text) reads."""
    masks = [value.get(field) for field in _MASKS]
    states = [value.get(field) for field in _STATES]
    runs = [state["run"] for state in states if isinstance(state, dict) and "run" in state]
    return [key for key in (*masks, *runs) if key]


class Gap(NamedTuple):
    """A missing result, and one of those that stand on it, in the file at `path`."""

    lacks: str
    user: str
    path: Path


class Lineage:
    """Results seen so far, and what they stand on."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._needed: dict[str, tuple[str, Path]] = {}

    def add(self, key: str, value: Mapping[str, Any], path: Path) -> None:
        """Note a result that was read from `path`."""
        self._seen.add(key)
        for need in stands_on(value):
            self._needed.setdefault(need, (key, path))

    def gaps(self) -> Iterator[Gap]:
        """Yield each result that others stand on and that was not seen."""
        for need, user in self._needed.items():
            if need not in self._seen:
                yield Gap(need, *user)
