"""Report the iterations of running trainings through Ray's key-value store.

Each pack has one entry, which the next report replaces. Reports are advisory, and the store is
not a public interface of Ray: all errors are ignored.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from orchestrator.node.pack import REPORT_SECONDS, Report, Seldom

_SPACE = b"tombola"

_SHARE = 0.02
"""The share of the driver's time that reading reports may take."""


def telling(identity: str) -> Report:
    """Return the report of a worker that runs a pack."""

    def report(key: str, step: int) -> None:
        with suppress(Exception):
            from ray.experimental import internal_kv

            word = json.dumps({key: step})
            internal_kv._internal_kv_put(identity, word, overwrite=True, namespace=_SPACE)  # noqa: SLF001

    return Seldom(report)


class Reports:
    """The reports that the driver has read, of running packs.

    `reach` is called before each request to Ray; it waits or raises while Ray does not answer.
    """

    def __init__(self, reach: Callable[[], None]) -> None:
        self._reach = reach
        self._heard: dict[str, dict[str, int]] = {}
        self._due = 0.0

    def listen(self, identities: Iterable[str]) -> Mapping[str, int]:
        """Return the iteration of trainings of these packs, by key; read every few seconds."""
        began = time.monotonic()
        if began >= self._due:
            self._reach()
            self._heard = {identity: word for identity in identities if (word := _read(identity))}
            now = time.monotonic()
            self._due = now + max(REPORT_SECONDS, (now - began) / _SHARE)
        return {key: step for word in self._heard.values() for key, step in word.items()}

    def forget(self, identity: str) -> None:
        """Remove the reports of a pack that came back or was lost."""
        if self._heard.pop(identity, None):
            self._reach()
            with suppress(Exception):
                from ray.experimental import internal_kv

                internal_kv._internal_kv_del(identity, namespace=_SPACE)  # noqa: SLF001


def _read(identity: str) -> dict[str, int]:
    with suppress(Exception):
        from ray.experimental import internal_kv

        word = internal_kv._internal_kv_get(identity, namespace=_SPACE)  # noqa: SLF001
        return dict(json.loads(word)) if word else {}
    return {}
