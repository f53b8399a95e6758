"""Where trainings are, told through Ray's key-value store: of each pack the last word.

Advisory, and not of Ray's public interface: what cannot be told or heard is left out.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from orchestrator.node.pack import REPORT_SECONDS, Report, Seldom

_SPACE = b"tombola"

_SHARE = 0.02
"""Of the driver's time that may go by in listening."""


def telling(identity: str) -> Report:
    """What a worker tells of a pack that it runs."""

    def told(key: str, step: int) -> None:
        with suppress(Exception):
            from ray.experimental import internal_kv

            word = json.dumps({key: step})
            internal_kv._internal_kv_put(identity, word, overwrite=True, namespace=_SPACE)  # noqa: SLF001

    return Seldom(told)


class Reports:
    """What the driver heard of the packs that run.

    `reach` is called before Ray is asked, and raises or waits where nobody would answer.
    """

    def __init__(self, reach: Callable[[], None]) -> None:
        self._reach = reach
        self._heard: dict[str, dict[str, int]] = {}
        self._due = 0.0

    def listen(self, identities: Iterable[str]) -> Mapping[str, int]:
        """At which iteration the trainings of these packs are, by key; anew every few seconds."""
        began = time.monotonic()
        if began >= self._due:
            self._reach()
            self._heard = {one: word for one in identities if (word := _heard(one))}
            now = time.monotonic()
            self._due = now + max(REPORT_SECONDS, (now - began) / _SHARE)
        return {key: step for word in self._heard.values() for key, step in word.items()}

    def forget(self, identity: str) -> None:
        """The pack came back, or will not."""
        if self._heard.pop(identity, None):
            self._reach()
            with suppress(Exception):
                from ray.experimental import internal_kv

                internal_kv._internal_kv_del(identity, namespace=_SPACE)  # noqa: SLF001


def _heard(identity: str) -> dict[str, int]:
    with suppress(Exception):
        from ray.experimental import internal_kv

        word = internal_kv._internal_kv_get(identity, namespace=_SPACE)  # noqa: SLF001
        return dict(json.loads(word)) if word else {}
    return {}
