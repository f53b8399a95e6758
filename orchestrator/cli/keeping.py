"""Commands that look after a store."""

from typing import Annotated

import typer

from orchestrator.cli import shared
from orchestrator.cli.shared import DEFAULT_STORE, Store, app, guarded
from orchestrator.errors import ExitCode


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

    from orchestrator import render
    from orchestrator.store import verify as checking

    root = shared.opened(store)
    console = shared.console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking", total=None)
        findings = checking.verify(root, lambda count: bar.update(task, completed=count))
    render.print_findings(console, findings)
    if not findings:
        typer.echo(f"{root}: every result, state and mask is whole")
        return
    if repair:
        checking.repair(findings)
        typer.echo(f"removed {len(findings)}; run the sweep again to compute what is missing")
        return
    shared.complain(f"{len(findings)} found in {root}; `tombola verify --repair` removes them")
    raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@guarded
def compact(store: Store = DEFAULT_STORE) -> None:
    """Merge finished results into one sorted segment: fewer files, faster SQL."""
    from orchestrator.store import compact as merging

    typer.echo(f"merged {merging.compact(shared.opened(store, create=True)):,} results")


@app.command()
@guarded
def gc(
    store: Store = DEFAULT_STORE,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it, and not only say.")] = False,
) -> None:
    """Free weights and masks that no sweep keeps or still needs (`keep` in its file)."""
    from orchestrator import render
    from orchestrator import surplus as finding

    root = shared.opened(store)
    found = finding.surplus(root)
    if delete:
        finding.free(found)
    said = f"{len(found.paths):,} files, {render.size(found.bytes)}"
    if not found.paths:
        typer.echo("nothing to free: sweeps keep or need every state and mask")
    else:
        typer.echo(f"freed {said}" if delete else f"{said} could be freed: tombola gc --delete")
