"""Commands that look after a store."""

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
        bool, typer.Option("--repair", help="Remove what is damaged; the next run computes it.")
    ] = False,
) -> None:
    """Read everything in the store and check that it is what it says."""
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
        shared.complain(f"{lacking} results that others stand on are missing; run the sweep again")
        raise typer.Exit(ExitCode.TASKS_FAILED)
    if leftover and not repair:
        shared.say("what killed processes left is no damage; `tombola gc --delete` removes it")
    if len(findings) == leftover:
        shared.say(f"{root}: every result, state and mask is whole")


@app.command()
@guarded
def compact(store: Store = DEFAULT_STORE) -> None:
    """Merge finished results into one sorted segment: fewer files, faster SQL."""
    from tombola.store import compact as merging

    shared.say(f"merged {merging.compact(shared.opened(store, create=True)):,} results")


@app.command()
@guarded
def gc(
    store: Store = DEFAULT_STORE,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it, and not only say.")] = False,
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code",
            help="Run code of one's own that sweeps of the store name, to know what they need. "
            "Only for a store that you trust.",
        ),
    ] = False,
) -> None:
    """Free weights and masks that no sweep keeps or still needs (`keep` in its file)."""
    from orchestrator.maintenance import gc
    from tombola.cli.views.plan import size

    root = shared.opened(store)
    found = gc.find_garbage(root, trusted=run_code)
    if delete:
        gc.free(found)
    said = f"{len(found.paths):,} files, {size(found.bytes)}"
    if not found.paths:
        shared.say("nothing to free: sweeps keep or need every state and mask")
    else:
        shared.say(f"freed {said}" if delete else f"{said} could be freed: tombola gc --delete")


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
    """Write a sweep to one file for others, with what each column means."""
    from analysis.database import export as exporting

    if (sweep is None) != whole:
        raise TombolaError("name a sweep, or --all for every sweep of the store")
    name = shared.name_of(sweep) if sweep else None
    for path in exporting.export(shared.opened(store), to, name, table):
        shared.say(path)


@app.command("import")
@guarded
def import_store(
    other: Annotated[str, typer.Argument(help="Another store: directory or URL.", metavar="STORE")],
    store: Store = DEFAULT_STORE,
) -> None:
    """Take over what another store has and this one lacks; what is in both is compared."""
    from orchestrator.maintenance import merge
    from tombola.cli.views import exchange

    taken = shared.opened(other)
    merged = merge.merge(shared.opened(store, create=True), taken)
    exchange.print_merged(shared.console(), taken, merged)
    if merged.alarms:
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@guarded
def diff(
    first: Annotated[str, typer.Argument(help="A sweep, or a store: directory or URL.")],
    second: Annotated[str, typer.Argument(help="Another of the same.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """Compare two sweeps of a store, or two stores: results that differ, trials in one alone."""
    from analysis.database import connection as results
    from analysis.database import differences
    from analysis.database import sql as reading
    from tombola.cli.views import exchange

    def show(rows: Any) -> None:
        reading.write(rows, "table", sys.stdout)

    console = shared.console()
    if not any("://" in name or Path(name).is_dir() for name in (first, second)):
        root, names = shared.opened(store), (shared.name_of(first), shared.name_of(second))
        with results.scanning(root), results.connect(root) as connection:
            found = differences.between(connection, *names)
        exchange.print_sweeps(console, *names, found, show)
        return
    one, other = shared.opened(first), shared.opened(second)
    broken = exchange.print_stores(console, one, other)
    with results.connect(one) as ours, results.connect(other) as theirs:
        exchange.print_store_sweeps(console, one, other, differences.of_stores(ours, theirs))
    if broken:
        raise typer.Exit(ExitCode.TASKS_FAILED)
