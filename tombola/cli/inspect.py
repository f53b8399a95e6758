"""Commands that say what is in a store."""

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
        bool, typer.Option("--watch", help="Again every few seconds, until all trials are done.")
    ] = False,
) -> None:
    """How far each sweep of the store is, also while it runs elsewhere."""
    from analysis.database import connection as results
    from tombola.cli.views.status import print_status
    from tombola.store import beacon

    root = shared.opened(store)
    name = shared.name_of(sweep) if sweep else None
    console = shared.console()
    while True:
        with results.scanning(root):
            connection = results.count(root)
            if name:
                results.figures_of(connection, name)  # refuses a sweep it does not know
            if watch:
                console.clear()
            open_trials = print_status(console, connection, name, beacon.heard(root))
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
    """A recorded launch beside the simulator's schedule of the same tasks."""
    from analysis.database import connection as results
    from orchestrator.running.replay import RECORDED
    from orchestrator.running.replay import replay as replayed
    from tombola.cli.views import forecast

    root = shared.opened(store)
    with results.scanning(root):
        connection = results.connect(root)
        if launch is None:
            [[launch]] = connection.execute("SELECT max(launch) FROM tasks").fetchall()
        rows = connection.execute(RECORDED, [launch]).fetchall()
    forecast.print_replay(shared.console(), str(launch), replayed(rows))


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
    """Ask the store in SQL, reading only. Without a query: tables, columns and examples."""
    from analysis.database import connection as results
    from analysis.database import sql as reading
    from tombola.cli.views.show import print_schema

    root = shared.opened(store)
    if query is None:
        print_schema(shared.console(), results.describe(results.connect(root)), results.EXAMPLES)
        return
    text = sys.stdin.read() if query == "-" else query
    reading.write(reading.query(root, text), format, sys.stdout)


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
    from analysis import lint as checking
    from analysis.database import connection as results
    from tombola.cli.views.checks import print_checklist

    root = shared.opened(store)
    with results.scanning(root), results.connect(root) as connection:
        findings = checking.lint(connection, shared.name_of(sweep))
    print_checklist(shared.console(), findings)
    if strict and any(finding.outcome != "ok" for finding in findings):
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@guarded
def show(
    key: Annotated[str, typer.Argument(help="Key of a run or mask, or its first characters.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """What an expression is, where its result came from, and what uses it."""
    from analysis.database import connection as results
    from tombola.cli.views.show import print_expression

    root = shared.opened(store)
    with results.scanning(root):
        print_expression(shared.console(), results.connect(root), key)


@app.command()
@guarded
def measure(
    key: Annotated[str, typer.Argument(help="Key of a mask, or its first characters.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """What costs too much to measure of every mask: Ramanujan quantities, latency, size."""
    from analysis.database import connection as results
    from tombola.cli.views.show import find_key, print_measured

    root = shared.opened(store)
    with results.scanning(root):
        whole = find_key(results.connect(root), key)
    from orchestrator.node.task import measure_mask

    print_measured(shared.console(), *measure_mask(root, whole))
