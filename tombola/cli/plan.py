"""The command that shows the work of a sweep before anything runs."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Overrides, Store, SweepFile, app, guarded
from tombola.errors import TombolaError


@app.command()
@guarded
def plan(
    sweep: SweepFile,
    store: Store = DEFAULT_STORE,
    overrides: Overrides = None,
    why: Annotated[bool, typer.Option("--why", help="List each task to run, and why.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Workers to estimate for; default: the CPUs of this machine.", min=1),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="GPUs to simulate the schedule on, instead of CPUs.", min=1)
    ] = None,
    gpus_per_task: Annotated[int, typer.Option(help="GPUs per training task.", min=1)] = 1,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Simulate 1 to 4096 workers, in a table.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(help="Price of one worker per hour, for --what-if.", min=0)
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw --what-if into this PDF, PNG or SVG.", metavar="FILE")
    ] = None,
) -> None:
    """Show what a sweep would run, what it shares, and what it would cost. Runs nothing."""
    from orchestrator.planning import cost
    from orchestrator.planning.no_collection import without_collection
    from orchestrator.running import study
    from orchestrator.scheduling.simulate import simulate
    from tombola.cli import networks
    from tombola.cli.views import forecast
    from tombola.cli.views.plan import print_plan, print_reasons

    console = shared.console()
    if price is not None and not what_if:
        raise TombolaError("--price is the price of a worker of --what-if: give both options")
    if gpus_per_task > max(gpus or 0, 1):
        raise TombolaError(f"--gpus-per-task {gpus_per_task} needs --gpus {gpus_per_task} or more")
    device: Literal["cpu", "gpu"] = "gpu" if gpus else "cpu"
    slots = gpus // gpus_per_task if gpus else workers or os.cpu_count() or 1
    with without_collection():
        parsed = shared.read(sweep, overrides)
        shares = networks.prunable(parsed)
        planned, costs = study.plan_for(parsed, store, device)
        costs = replace(costs, gang=gpus_per_task)
        expected = cost.estimate(planned, costs)
        print_plan(console, parsed, planned, expected, costs, slots, shares)
        for problem in shared.missing_files(planned):
            shared.say(f"note: {problem}")
        if gpus or what_if or figure:
            graph = cost.graph(planned, costs)
        if planned.tasks and (gpus or what_if):
            simulated = simulate(graph, slots)
            forecast.print_schedule(console, simulated, costs, expected.path)
        if what_if or figure:
            forecasts = forecast.what_if(graph)
            forecast.print_what_if(console, forecasts, costs, price)
            if figure:
                from analysis.figures import scaling

                scaling.write(forecasts, forecast.what(costs, 2), figure, {"sweep": parsed.name})
                shared.say(figure)
        if why:
            print_reasons(console, parsed, planned.tasks.values())
