"""The command that submits a sweep as a job of a Ray cluster."""

import shlex
from typing import Annotated

import typer

from tombola.cli import shared
from tombola.cli.shared import Overrides, SweepFile, app, guarded


@app.command()
@guarded
def submit(
    sweep: SweepFile,
    address: Annotated[str, typer.Option(help="Dashboard of the cluster: http://HOST:8265.")],
    store: Annotated[
        str,
        typer.Option(
            "--store",
            envvar="TOMBOLA_STORE",
            help="Directory of results that every node of the cluster sees (absolute), or a URL.",
            metavar="DIR",
        ),
    ],
    overrides: Overrides = None,
    cpus_per_task: Annotated[float, typer.Option(help="CPUs per task.", min=0.01)] = 1.0,
    gpus_per_task: Annotated[
        float | None,
        typer.Option(help="GPUs per task; default: 1 where the machine has GPUs.", min=0.0),
    ] = None,
    across_nodes: shared.AcrossNodes = False,
    checkpoint_every: Annotated[
        float, typer.Option(help="Seconds between checkpoints inside a training.", min=0)
    ] = 300.0,
    grace: Annotated[
        float,
        typer.Option(help="Seconds to write checkpoints when the job is stopped.", min=0),
    ] = 30.0,
) -> None:
    """Run a sweep as a job of a Ray cluster, which continues without this terminal."""
    from orchestrator.executors.on_ray import submit_job
    from orchestrator.running import submit
    from tombola.cli import networks

    parsed = shared.read(sweep, overrides)
    networks.check_patterns(parsed)
    options = ["--cpus-per-task", f"{cpus_per_task:g}"]
    options += [] if gpus_per_task is None else ["--gpus-per-task", f"{gpus_per_task:g}"]
    options += ["--across-nodes"] if across_nodes else []
    options += ["--checkpoint-every", f"{checkpoint_every:g}"]
    job = submit.command(parsed, store, options, grace)
    with submit.shipped(parsed) as folder:
        submit_job(address, job.identity, job.entrypoint, folder, job.environment)
    at = shlex.join(["--address", address])
    shared.say(f"{job.identity} runs on the cluster, also when this terminal is closed")
    shared.say(f"follow it   ray job logs --follow {at} {job.identity}")
    shared.say(f"stop it     ray job stop {at} {job.identity}   # trainings write a checkpoint")
    shared.say(f"see results tombola status {shlex.join(['--store', store])}")
