"""Commands that show the content of a store."""

import sys
import time
from typing import Annotated, Literal

import typer

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Store, SweepName, app, guarded
from tombola.errors import ExitCode

WATCH_SECONDS = 3.0


@app.command()
@guarded
def status(
    sweep: Annotated[
        str | None, typer.Argument(help="Sweep file or name; default: all.", metavar="[SWEEP]")
    ] = None,
    store: Store = DEFAULT_STORE,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat every few seconds, until all trials are done.")
    ] = False,
) -> None:
    """Show the progress of each sweep of the store, also while it runs on another machine."""
    from analysis.database.connection import count, figures_of, scanning
    from tombola.cli.views.status import print_status
    from tombola.store import beacon

    root = shared.opened(store)
    name = shared.name_of(sweep) if sweep else None
    console = shared.console()
    while True:
        with scanning(root):
            tables = count(root)
            if name:
                figures_of(tables, name)  # refuses a sweep it does not know
            if watch:
                console.clear()
            open_trials = print_status(console, tables, name, beacon.heard(root))
        if not watch or not open_trials:
            return
        time.sleep(WATCH_SECONDS)


@app.command()
@guarded
def replay(
    launch: Annotated[
        str | None, typer.Argument(help="Launch to replay; default: the latest.", metavar="LAUNCH")
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Compare a recorded launch with the simulated schedule of the same tasks."""
    from analysis.database.connection import connect, scanning
    from orchestrator.running import replay
    from tombola.cli.views.forecast import print_replay

    root = shared.opened(store)
    with scanning(root):
        connection = connect(root)
        if launch is None:
            [[launch]] = connection.execute("SELECT max(launch) FROM tasks").fetchall()
        rows = connection.execute(replay.RECORDED, [launch]).fetchall()
    print_replay(shared.console(), str(launch), replay.replay(rows))


@app.command()
@guarded
def sql(
    query: Annotated[
        str | None, typer.Argument(help="One SELECT, DESCRIBE or EXPLAIN; - reads standard input.")
    ] = None,
    store: Store = DEFAULT_STORE,
    format: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option(help="How to print the rows.")
    ] = "table",
) -> None:
    """Query the store in SQL, read-only. Without a query: list tables, columns and examples."""
    from analysis.database import connection, sql
    from tombola.cli.views.show import print_schema

    root = shared.opened(store)
    if query is None:
        print_schema(
            shared.console(), connection.describe(connection.connect(root)), connection.EXAMPLES
        )
        return
    text = sys.stdin.read() if query == "-" else query
    sql.write(sql.query(root, text), format, sys.stdout)


@app.command()
@guarded
def lint(
    sweep: SweepName,
    store: Store = DEFAULT_STORE,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 unless everything is ok.")
    ] = False,
) -> None:
    """Check a sweep against the field's reporting checklist, with the evidence."""
    from analysis import lint
    from analysis.database.connection import connect, scanning
    from tombola.cli.views.checks import print_checklist

    root = shared.opened(store)
    with scanning(root), connect(root) as connection:
        findings = lint.lint(connection, shared.name_of(sweep))
    print_checklist(shared.console(), findings)
    if strict and any(finding.outcome != "ok" for finding in findings):
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@guarded
def show(
    key: Annotated[str, typer.Argument(help="Key of a run or mask, or its first characters.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """Show a run or mask: its fields, where it was computed, its inputs, and its users."""
    from analysis.database.connection import connect, scanning
    from tombola.cli.views.show import print_expression

    root = shared.opened(store)
    with scanning(root):
        print_expression(shared.console(), connect(root), key)


@app.command()
@guarded
def measure(
    key: Annotated[str, typer.Argument(help="Key of a mask, or its first characters.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """Measure one mask in ways that are too slow for all: Ramanujan graphs, latency, size."""
    from analysis.database.connection import connect, scanning
    from tombola.cli.views.show import find_key, print_measured

    root = shared.opened(store)
    with scanning(root):
        whole = find_key(connect(root), key)
    from orchestrator.node.task import measure_mask

    print_measured(shared.console(), *measure_mask(root, whole))
