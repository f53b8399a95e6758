"""What people ask of a launch that runs: files that whoever asks writes and removes again.

Advisory, like everything but results: a launch heeds what comes while it runs, and says so in
a file beside the question. One that starts later takes no notice.
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
"""How often a launch looks at what is asked of it, at the most."""

ANSWER_SECONDS = 15.0
"""How long an answer may take: a launch looks every second, between the packs it starts."""

_AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """To do something about these trials of a sweep's revision."""

    identity: str
    verb: Verb
    revision: str
    trials: frozenset[int]


class Inbox:
    """The requests to a launch of a sweep's revision since this was made, each once."""

    def __init__(self, store: Path, sweep: str, revision: str) -> None:
        self._folder, self._revision = store / layout.requests(sweep), revision
        self._known = {path.name for path in self._questions()}
        self._looked = time.monotonic()

    def new(self) -> Iterator[Request]:
        """What came since the last look, which is HEED_SECONDS ago at the least."""
        now = time.monotonic()
        if now - self._looked < HEED_SECONDS:
            return
        self._looked = now
        for path in self._questions():
            if path.name in self._known or (found := _read(path)) is None:
                continue
            self._known.add(path.name)
            if found.revision == self._revision:
                yield found
            else:
                self.answer(found, "a launch of another version of the sweep: left as it is")

    def answer(self, request: Request, text: str) -> None:
        """Tell whoever asked what was done, if that can be told."""
        name = f"{request.identity}.{os.getpid()}-{secrets.token_hex(3)}.txt"
        with suppress(OSError):
            publish(self._folder / name, text.encode())

    def _questions(self) -> list[Path]:
        try:
            return list(layout.published(self._folder, ".json"))
        except OSError:
            return []  # a store that is away for a while; results have tries of their own


def ask(
    store: Path, sweep: str, revision: str, verb: Verb, trials: frozenset[int]
) -> Iterator[str]:
    """Ask the launches of a sweep, and give what they answer; nothing where none runs.

    Waits for the first answer for at most ANSWER_SECONDS, and a second for others.
    """
    with _question(store, sweep, revision, verb, trials) as (folder, identity):
        heard: set[str] = set()
        until = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            answers = list(layout.published(folder, ".txt"))
            for path in answers:
                if path.name.startswith(identity) and path.name not in heard:
                    until = time.monotonic() + 1.0 if not heard else until
                    heard.add(path.name)
                    yield path.read_text()
            time.sleep(_AGAIN_SECONDS)


@contextmanager
def _question(
    store: Path, sweep: str, revision: str, verb: Verb, trials: frozenset[int]
) -> Iterator[tuple[Path, str]]:
    identity, folder = secrets.token_hex(6), store / layout.requests(sweep)
    said = {"verb": verb, "revision": revision, "trials": sorted(trials)}
    publish(folder / f"{identity}.json", json.dumps(said).encode())
    try:
        yield folder, identity
    finally:
        for suffix in (".json", ".txt"):
            for path in layout.published(folder, suffix):
                if path.name.startswith(identity):
                    path.unlink(missing_ok=True)


def _read(path: Path) -> Request | None:
    """The request, unless it is gone or no request of ours."""
    try:
        said = json.loads(path.read_text())
        verb, trials = said["verb"], frozenset(map(int, said["trials"]))
        known = verb in VERBS
        return Request(path.stem, verb, str(said["revision"]), trials) if known else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
