"""Requests to a running launch (cancel, pause, resume, retry), as files in the store.

The command writes a request file; each running launch of the sweep acts on it and writes an
answer file beside it; the command removes both. Requests are advisory: a launch that starts
later ignores them.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tombola.store import layout
from tombola.store.publish import publish

Verb = Literal["cancel", "pause", "resume", "retry"]
VERBS: tuple[Verb, ...] = get_args(Verb)

HEED_SECONDS = 1.0
"""Seconds between two looks of a launch at its requests."""

ANSWER_SECONDS = 15.0
"""Seconds to wait for an answer: a launch looks between the packs that it starts."""

_AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """A request about these trials of a sweep's revision."""

    identity: str
    verb: Verb
    revision: str
    trials: frozenset[int]


class Inbox:
    """The requests to a launch of a sweep's revision since its start, each once."""

    def __init__(self, store: Path, sweep: str, revision: str) -> None:
        self._folder, self._revision = store / layout.requests(sweep), revision
        self._known = {path.name for path in self._questions()}
        self._looked = time.monotonic()

    def new(self) -> Iterator[Request]:
        """Yield the new requests; nothing within HEED_SECONDS of the last look."""
        now = time.monotonic()
        if now - self._looked < HEED_SECONDS:
            return
        self._looked = now
        for path in self._questions():
            if path.name in self._known or (request := _read(path)) is None:
                continue
            self._known.add(path.name)
            if request.revision == self._revision:
                yield request
            else:
                self.answer(request, "a launch of another version of the sweep: left as it is")

    def answer(self, request: Request, text: str) -> None:
        """Write the answer to a request; errors of the store are ignored."""
        name = f"{request.identity}.{os.getpid()}-{secrets.token_hex(3)}.txt"
        with suppress(OSError):
            publish(self._folder / name, text.encode())

    def _questions(self) -> list[Path]:
        try:
            return list(layout.published(self._folder, ".json"))
        except OSError:
            return []  # the store is unreachable for a while; results have their own tries


def ask(
    store: Path, sweep: str, revision: str, verb: Verb, trials: frozenset[int]
) -> Iterator[str]:
    """Send a request to the running launches of a sweep, and yield their answers.

    Waits at most ANSWER_SECONDS for the first answer, and one more second for others.
    """
    with _question(store, sweep, revision, verb, trials) as (folder, identity):
        seen: set[str] = set()
        until = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            answers = list(layout.published(folder, ".txt"))
            for path in answers:
                if path.name.startswith(identity) and path.name not in seen:
                    until = time.monotonic() + 1.0 if not seen else until
                    seen.add(path.name)
                    yield path.read_text()
            time.sleep(_AGAIN_SECONDS)


@contextmanager
def _question(
    store: Path, sweep: str, revision: str, verb: Verb, trials: frozenset[int]
) -> Iterator[tuple[Path, str]]:
    identity, folder = secrets.token_hex(6), store / layout.requests(sweep)
    content = {"verb": verb, "revision": revision, "trials": sorted(trials)}
    publish(folder / f"{identity}.json", json.dumps(content).encode())
    try:
        yield folder, identity
    finally:
        for suffix in (".json", ".txt"):
            for path in layout.published(folder, suffix):
                if path.name.startswith(identity):
                    path.unlink(missing_ok=True)


def _read(path: Path) -> Request | None:
    """Read a request; None if it is gone or not valid."""
    try:
        content = json.loads(path.read_text())
        verb, trials = content["verb"], frozenset(map(int, content["trials"]))
        known = verb in VERBS
        return Request(path.stem, verb, str(content["revision"]), trials) if known else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
