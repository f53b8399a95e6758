"""Run commands over a store in this process, and judge whether each ended cleanly."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from analysis import explore
from analysis.explore import markup
from analysis.explore.snapshot import Filter, Snapshot
from tests.security.poison import Kind
from tests.support.small import queries_in_this_process
from tombola.cli import app
from tombola.errors import AnalysisError
from tombola.store import requests

Command = tuple[str, ...]

_OPENING: tuple[Command, ...] = (
    ("verify",),
    ("status",),
    ("sql", "FROM overlap('MASK', 'MASK')"),
    ("figures", "tiny", "--only", "mask-overlap", "--format", "svg", "--out", "drawn"),
    ("measure", "MASK"),
)
_READING: tuple[Command, ...] = (
    ("sql",),
    ("sql", "SELECT count(accuracy), (SELECT count(*) FROM trials) FROM evals"),
    ("table", "tiny"),
    ("figures", "tiny", "--only", "learning-curves", "--format", "svg", "--out", "drawn"),
    ("report", "tiny", "--out", "out.html"),
    ("explore",),
    ("lint", "tiny"),
    ("trace", "drawn/learning-curves.svg"),
    ("reference", "synflow2020", "--against", "tiny"),
    ("export", "--all", "--to", "out.csv"),
    ("diff", "store", "store"),
    ("diff", "tiny", "tiny"),
    ("show", "MASK"),
    ("replay",),
    ("cancel", "tiny"),
)
_CHANGING: tuple[Command, ...] = (
    ("gc",),
    ("gc", "--delete"),
    ("plan", "tiny.yaml"),
    ("run", "tiny.yaml", "--executor", "inline"),
    ("compact",),
)
_DEFINED = ("report", "explore", "lint", "show")

COMMANDS: dict[Kind, tuple[Command, ...]] = {
    "tables": (*_OPENING, *_READING, *_CHANGING),
    "strays": (*_OPENING, *_READING, *_CHANGING),
    "weights": (*_OPENING, *_CHANGING),
    "definitions": (*(one for one in _READING if one[0] in _DEFINED), *_CHANGING),
}
"""What is walked over a store, in the folder that holds it and its sweep file, by what its
poison concerns. MASK is one of the store's masks."""

EXEMPT = {
    "check": "reads a sweep file and its code, and no store",
    "schema": "reads nothing",
    "data": "reads datasets, and no store",
    "chaos": "fills stores of its own",
    "import": "has a test of its own, into another store",
    "submit": "talks to a cluster, whose job is `run`",
    "pause": "is `cancel` by another word",
    "resume": "is `cancel` by another word",
    "retry": "is `cancel` by another word",
}
"""Commands that are not walked, and why."""


@dataclass(frozen=True)
class Ended:
    """The end of a command: exit code and output."""

    command: Command
    code: int
    output: str
    errors: str
    error: BaseException | None

    @property
    def clean(self) -> bool:
        """Return whether the command did its work, or said in a line or two why it could not."""
        unforeseen = self.error is not None and not isinstance(self.error, SystemExit)
        said = [line for line in self.errors.splitlines() if line.startswith("error:")]
        return not unforeseen and "Traceback" not in self.errors and (self.code != 2 or bool(said))


def walk(*command: str, store: Path) -> Ended:
    """Run one command over a store in this process."""
    with _in_this_process():
        found = CliRunner().invoke(app, [*command, *_where(command, store)])
    return Ended(command, found.exit_code, found.stdout, found.stderr, found.exception)


def named(command: Command, mask: str) -> Command:
    """Put the key of the mask into a command."""
    return tuple(word.replace("MASK", mask) for word in command)


def _where(command: Command, store: Path) -> list[str]:
    return [] if command[:3] == ("diff", "store", "store") else ["--store", str(store)]


@contextlib.contextmanager
def _in_this_process() -> Iterator[None]:
    """Run queries in this process and the page without its server, and do not wait."""
    with (
        queries_in_this_process(),
        patch.object(explore, "serve", _page),
        patch.object(requests, "ANSWER_SECONDS", 0.0),
    ):
        yield


def _page(store: Path, port: int, announce: Callable[[str], None]) -> None:
    """Print the HTML of all that the page of a store can show, or why it cannot."""
    announce(f"http://127.0.0.1:{port}")
    try:
        seen = Snapshot(store)
        for name in seen.sweeps:
            sys.stdout.writelines(_shown(seen, name))
    except AnalysisError as error:
        sys.stdout.write(markup.line(str(error)))


def _shown(seen: Snapshot, name: str) -> Iterator[str]:
    chosen = seen.sweeps[name].everything
    yield markup.progress(seen.progress(), name)
    yield markup.table("Tasks", seen.tasks(name))
    yield markup.table("Failures", seen.failures(name))
    yield markup.table("Trials", seen.trials(name, chosen))
    yield markup.table("Columns", seen.columns())
    yield markup.picture(seen.figure(name, "accuracy-vs-sparsity", Filter()))
    trained = seen.trained(name, chosen)
    yield from map(markup.line, trained)
    yield markup.picture(seen.learning(name, list(trained.values())[:1]))
