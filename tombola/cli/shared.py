"""Shared parts of all commands: the app, common arguments, and errors as one line."""

import functools
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from tombola.errors import ExitCode, SweepError, TombolaError
from tombola.text import shortened, visible

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help="Sweeps of neural-network pruning experiments: one file in, tickets, SQL and figures out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from tombola.version import __version__

        typer.echo(f"tombola {__version__}")
        raise typer.Exit


@app.callback()
def _tombola(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Sweeps of neural-network pruning experiments: one file in, tickets, SQL and figures out."""


SweepFile = Annotated[Path, typer.Argument(help="Sweep file (YAML).", metavar="SWEEP")]
SweepName = Annotated[
    str, typer.Argument(help="Sweep file, or the name of a sweep in the store.", metavar="SWEEP")
]
Store = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="TOMBOLA_STORE",
        help="Directory of results, or a URL of object storage: s3://BUCKET/PREFIX, gs://…",
        metavar="DIR",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override a value: replicates=5, recipe.lr=0.1.", metavar="KEY=VALUE"
    ),
]
Where = Annotated[
    str | None,
    typer.Option(help="Only trials that meet this SQL condition on `trials`.", metavar="SQL"),
]
AcrossNodes = Annotated[
    bool,
    typer.Option(
        "--across-nodes",
        help="Let a task use GPUs of several nodes. Its processes then listen on the network of "
        "the nodes, where anyone can connect.",
    ),
]

DEFAULT_STORE = "store"


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Print errors for users as one line each, and exit with their code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SweepError as error:
            complain(*error.problems)
        except TombolaError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.DONE) from None
        except KeyboardInterrupt:
            say("interrupted", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except OSError as error:
            complain(f"{error.filename or 'the file system'}: {error.strerror or error}")
        raise typer.Exit(ExitCode.BAD_INPUT)

    return run


def complain(*lines: str) -> None:
    """Print error messages, a line each."""
    for line in lines:
        say(f"error: {shortened(line)}", err=True)


def say(*lines: object, err: bool = False) -> None:
    """Print lines for the user, with control characters written out."""
    for line in lines:
        typer.echo(visible(line), err=err)


def read(sweep: Path, overrides: list[str] | None) -> Any:
    """Read a sweep file and check it, its figures too."""
    from analysis import figures
    from orchestrator.running import study
    from tasks.values import user_code

    parsed = study.read(sweep, tuple(overrides or ()), figures.mistakes)
    for line in user_code.undeclared(study.own_names(parsed.sweep)):
        typer.echo(f"note: {line}", err=True)
    return parsed


def name_of(sweep: str) -> str:
    """Return the name of a sweep that is given by its file or its name."""
    return str(read(Path(sweep), None).name) if is_file(sweep) else sweep


def is_file(sweep: str) -> bool:
    """Return whether an argument is the file of a sweep, and not its name."""
    return sweep.endswith((".yaml", ".yml")) or os.sep in sweep


def selected(
    root: Path, name: str, where: str | None, registration: tuple[str, bytes] | None = None
) -> frozenset[int]:
    """Return the numbers of a sweep's trials that meet an SQL condition.

    With a `registration`, the trials are those of this file, which is not in the store yet.
    """
    import tempfile

    from analysis.database import sql
    from analysis.database.quoting import literal
    from tombola.errors import QueryError

    try:
        condition = "" if where is None else f" AND {sql.condition(where)}"
    except QueryError as error:
        raise TombolaError(f"--where: {error}") from None
    with tempfile.TemporaryDirectory() as aside:
        beside = None
        if registration:
            beside = Path(aside, Path(registration[0]).name)
            beside.write_bytes(registration[1])
        query = f"SELECT trial FROM trials WHERE sweep = {literal(name)}{condition}"
        rows = sql.query(root, query, beside=beside)
    if not len(rows):
        which = (
            f"for which {where}"
            if where is not None
            else "in this store; `tombola run` registers it"
        )
        raise TombolaError(f"{name} has no trial {which}")
    return frozenset(rows["trial"].to_pylist())


def words(argument: str | Path, store: str | Path) -> str:
    """Return an argument and the --store option, quoted for a shell."""
    option = [] if str(store) == DEFAULT_STORE else ["--store", str(store)]
    return shlex.join([str(argument), *option])


def opened(store: str, *, create: bool = False) -> Path:
    """Check a store, or make it with `create`, and return its root."""
    from tombola.store.location import locate
    from tombola.store.publish import open_store

    return open_store(locate(store), create=create)


def console() -> Any:
    """Return the console for tables: as wide as the terminal, or 120 columns without one."""
    from tombola.terminal import Terminal

    return Terminal(width=None if sys.stdout.isatty() else 120)


def missing_files(planned: Any) -> list[str]:
    """Return a message for each dataset of a plan whose files are not on this machine."""
    from orchestrator.planning.planner import datasets
    from tasks.data import files

    return [message for name in datasets(planned) if (message := files.missing(name))]
