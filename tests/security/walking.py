"""Walks commands over a store in this process: how each ended, and whether it was a clean end."""

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from tombola.cli import app

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("verify",),
    ("status",),
    ("sql", "SELECT count(*) FROM trials"),
    ("sql", "SELECT count(accuracy) FROM evals"),
    ("table", "tiny"),
    ("report", "tiny", "--out", "out.html"),
    ("export", "--all", "--to", "out.csv"),
    ("diff", "store", "store"),
    ("show", "00"),
    ("gc",),
    ("gc", "--delete"),
    ("plan", "tiny.yaml"),
    ("run", "tiny.yaml", "--executor", "inline"),
    ("compact",),
)
"""What is walked over every store, in the folder that holds it and its sweep file."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    command: tuple[str, ...]
    code: int
    errors: str
    error: BaseException | None

    @property
    def clean(self) -> bool:
        """Whether it did its work or said in a line or two why not."""
        unforeseen = self.error is not None and not isinstance(self.error, SystemExit)
        said = [line for line in self.errors.splitlines() if line.startswith("error:")]
        return not unforeseen and "Traceback" not in self.errors and (self.code != 2 or bool(said))


def walk(*command: str, store: Path) -> Ended:
    """One command over a store, in this process."""
    found = CliRunner().invoke(app, [*command, *_where(command, store)])
    return Ended(command, found.exit_code, found.stderr, found.exception)


def _where(command: tuple[str, ...], store: Path) -> list[str]:
    return [] if command[0] == "diff" else ["--store", str(store)]
