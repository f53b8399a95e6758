"""Commands that maintain a store: verify, compact, gc, export, import, diff."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Store, app, guarded
from tombola.errors import ExitCode, TombolaError


@app.command()
@guarded
def verify(
    store: Store = DEFAULT_STORE,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove damaged files; the next run computes them again."),
    ] = False,
) -> None:
    """Read the whole store and check every file."""
    from rich.progress import Progress

    from tombola.cli.views.checks import print_findings
    from tombola.store import verify

    root = shared.opened(store)
    console = shared.console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking", total=None)
        findings = verify.verify(root, lambda count: bar.update(task, completed=count))
    print_findings(console, findings)
    lacking = sum(not finding.removable for finding in findings)
    leftover = sum(finding.leftover for finding in findings)
    if repair and len(findings) > lacking:
        verify.repair(findings)
        shared.say(
            f"removed {len(findings) - lacking}; run the sweep again to compute what is missing"
        )
    elif len(findings) > lacking + leftover:
        shared.complain(f"{len(findings)} found in {root}; `tombola verify --repair` removes them")
        raise typer.Exit(ExitCode.TASKS_FAILED)
    if lacking:
        shared.complain(f"{lacking} results that others need are missing; run the sweep again")
        raise typer.Exit(ExitCode.TASKS_FAILED)
    if leftover and not repair:
        shared.say(
            "unfinished files of killed processes are no damage; `tombola gc --delete` removes them"
        )
    if len(findings) == leftover:
        shared.say(f"{root}: every result, state and mask is whole")


@app.command()
@guarded
def compact(store: Store = DEFAULT_STORE) -> None:
    """Merge finished results into one sorted segment: fewer files, faster SQL."""
    from tombola.store import compact

    shared.say(f"merged {compact.compact(shared.opened(store, create=True)):,} results")


@app.command()
@guarded
def gc(
    store: Store = DEFAULT_STORE,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the files (default: only count them).")
    ] = False,
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code",
            help="Run user code that the store's sweeps name, to find out what they need. "
            "Only for a store that you trust.",
        ),
    ] = False,
) -> None:
    """Free the disk of weights and masks that no sweep needs or keeps (`keep` in its file)."""
    from orchestrator.maintenance import gc
    from tombola.cli.views.plan import size

    root = shared.opened(store)
    garbage = gc.find_garbage(root, trusted=run_code)
    if delete:
        gc.free(garbage)
    files = f"{len(garbage.paths):,} files, {size(garbage.bytes)}"
    if not garbage.paths:
        shared.say("nothing to free: sweeps keep or need every state and mask")
    else:
        shared.say(f"freed {files}" if delete else f"{files} could be freed: tombola gc --delete")


@app.command()
@guarded
def export(
    to: Annotated[
        Path, typer.Option("--to", help="File: .duckdb, .parquet or .csv.", metavar="FILE")
    ],
    sweep: Annotated[
        str | None, typer.Argument(help="Sweep file, or name in the store.", metavar="[SWEEP]")
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="Every sweep of the store.")] = False,
    table: Annotated[str, typer.Option(help="The table that Parquet and CSV hold.")] = "trials",
    store: Store = DEFAULT_STORE,
) -> None:
    """Write a sweep to one file for others, with a dictionary of its columns."""
    from analysis.database import export

    if (sweep is None) != whole:
        raise TombolaError("name a sweep, or --all for every sweep of the store")
    name = shared.name_of(sweep) if sweep else None
    for path in export.export(shared.opened(store), to, name, table):
        shared.say(path)


@app.command("import")
@guarded
def import_store(
    other: Annotated[str, typer.Argument(help="Another store: directory or URL.", metavar="STORE")],
    store: Store = DEFAULT_STORE,
) -> None:
    """Import what this store lacks from another one; compare results that are in both."""
    from orchestrator.maintenance import merge
    from tombola.cli.views import exchange

    source = shared.opened(other)
    merged = merge.merge(shared.opened(store, create=True), source)
    exchange.print_merged(shared.console(), source, merged)
    if merged.alarms:
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@guarded
def diff(
    first: Annotated[str, typer.Argument(help="A sweep, or a store: directory or URL.")],
    second: Annotated[str, typer.Argument(help="Another sweep, or another store.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """Compare two sweeps, or two stores: results that differ, and trials of only one of them."""
    from analysis.database import differences, sql
    from analysis.database.connection import connect, scanning
    from tombola.cli.views import exchange

    def show(rows: Any) -> None:
        sql.write(rows, "table", sys.stdout)

    console = shared.console()
    if not any("://" in name or Path(name).is_dir() for name in (first, second)):
        root, names = shared.opened(store), (shared.name_of(first), shared.name_of(second))
        with scanning(root), connect(root) as connection:
            compared = differences.between(connection, *names)
        exchange.print_sweeps(console, *names, compared, show)
        return
    stores = shared.opened(first), shared.opened(second)
    differ = exchange.print_stores(console, *stores)
    with connect(stores[0]) as ours, connect(stores[1]) as theirs:
        exchange.print_store_sweeps(console, *stores, differences.of_stores(ours, theirs))
    if differ:
        raise typer.Exit(ExitCode.TASKS_FAILED)
