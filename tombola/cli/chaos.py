"""The command that kills processes of a running sweep and compares the results."""

from pathlib import Path
from typing import Annotated

import typer

from tombola.cli import shared
from tombola.cli.shared import Overrides, SweepFile, app, guarded
from tombola.errors import ExitCode, TombolaError


@app.command()
@guarded
def chaos(
    sweep: SweepFile,
    overrides: Overrides = None,
    kills: Annotated[int, typer.Option(help="Number of processes to kill.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Random seed for when and what to kill.")] = 0,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join; default: start one here.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Empty folder for the two stores; default: a temporary folder."),
    ] = None,
) -> None:
    """Kill drivers, workers and nodes during a sweep; compare with an undisturbed run."""
    import random
    import tempfile

    from orchestrator.running import chaos

    shared.read(sweep, overrides)
    if out is not None and out.exists() and any(out.iterdir()):
        raise TombolaError(f"{out} is not empty: chaos writes two new stores there")
    arguments = [str(sweep), *(f"--set={override}" for override in overrides or ())]
    strike = None
    if address:
        from orchestrator.executors import on_ray

        arguments.append(f"--address={address}")
        dice = random.Random(seed)  # noqa: S311 (victims, no secrets)
        strike = lambda victim: on_ray.strike(address, victim, dice)  # noqa: E731
    with tempfile.TemporaryDirectory() as scratch:
        verdict = chaos.chaos(
            arguments, out or Path(scratch), kills=kills, seed=seed, strike=strike, tell=shared.say
        )
    counts = (f"{n} x {victim}" for victim, n in sorted(verdict.killed.items()))
    killed = ", ".join(counts) or "nothing"
    if verdict.survived:
        shared.say(f"killed {killed}: all {len(verdict.expected):,} results are the same")
        return
    shared.say(
        f"killed {killed}: {verdict.differing:,} of {len(verdict.expected):,} results differ, "
        f"{verdict.damage} files are damaged",
        err=True,
    )
    raise typer.Exit(ExitCode.TASKS_FAILED)
