"""What all commands share: the app, arguments, and errors as one line."""

import functools
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from orchestrator.errors import ExitCode, SweepError, TombolaError

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help="Sweeps of neural-network pruning experiments: one file in, tickets, SQL and figures out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SweepFile = Annotated[Path, typer.Argument(help="Sweep file (YAML).", metavar="SWEEP")]
SweepName = Annotated[
    str, typer.Argument(help="Sweep file, or the name of a sweep in the store.", metavar="SWEEP")
]
Store = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="TOMBOLA_STORE",
        help="Directory of results, or a URL of object storage: s3://BUCKET/PREFIX, gs://...",
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
    typer.Option(help="Only trials for which this holds, in SQL over `trials`.", metavar="SQL"),
]
AcrossNodes = Annotated[
    bool,
    typer.Option(
        "--across-nodes",
        help="Let the GPUs of a task be of several nodes; its processes then listen on their "
        "network, to anyone there.",
    ),
]

DEFAULT_STORE = "store"


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Errors meant for users become one line each and their exit code."""

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
            typer.echo("interrupted", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except OSError as error:
            complain(f"{error.filename or 'the file system'}: {error.strerror or error}")
        except Exception as error:
            if not _is_analysis_error(error):
                raise
            complain(str(error))
        raise typer.Exit(ExitCode.BAD_INPUT)

    return run


def _is_analysis_error(error: Exception) -> bool:
    from analysis.errors import AnalysisError

    return isinstance(error, AnalysisError)


def complain(*lines: str) -> None:
    """What is wrong, a line each, for the user."""
    for line in lines:
        typer.echo(f"error: {line}", err=True)


def read(sweep: Path, overrides: list[str] | None) -> Any:
    """A sweep file, its figures checked too."""
    from analysis import figures as drawing
    from orchestrator import study

    asked = study.read(sweep, tuple(overrides or ()))
    problems = [
        f"{asked.source.place(('figures', number))}: {problem}"
        for number, figure in enumerate(asked.sweep.figures)
        for problem in drawing.check([figure])
    ]
    if problems:
        raise SweepError(problems)
    return asked


def name_of(sweep: str) -> str:
    """The name of a sweep that is given by its file or its name."""
    return str(read(Path(sweep), None).name) if is_file(sweep) else sweep


def is_file(sweep: str) -> bool:
    """Whether that is a sweep's file and not its name."""
    return sweep.endswith((".yaml", ".yml")) or os.sep in sweep


def selected(root: Path, name: str, where: str | None) -> frozenset[int]:
    """Numbers of a sweep's trials for which a condition holds."""
    from analysis import sql as reading

    condition = f" AND ({where}\n)" if where else ""
    named = name.replace("'", "''")
    found = reading.query(root, f"SELECT trial FROM trials WHERE sweep = '{named}'{condition}")
    if not len(found):
        which = f"for which {where}" if where else "in this store; `tombola run` registers it"
        raise TombolaError(f"{name} has no trial {which}")
    return frozenset(found["trial"].to_pylist())


def words(argument: str | Path, store: str | Path) -> str:
    """An argument and the store's option, as a shell takes them."""
    option = [] if str(store) == DEFAULT_STORE else ["--store", str(store)]
    return shlex.join([str(argument), *option])


def opened(store: str, *, create: bool = False) -> Path:
    """The place of a store, which is refused unless it is one."""
    from orchestrator.store.files import open_store
    from orchestrator.store.place import locate

    return open_store(locate(store), create=create)


def console() -> Any:
    """Where tables go: as wide as the terminal, or 120 columns where there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)
