"""`tombola submit`: a sweep as a job of a Ray cluster."""

import shlex
from typing import Annotated

import typer

from tombola.cli import networks, shared
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
            help="Directory of results, as every node of the cluster sees it (/…), or a URL.",
            metavar="DIR",
        ),
    ],
    overrides: Overrides = None,
    cpus_per_task: Annotated[float, typer.Option(help="CPUs that a task holds.", min=0.01)] = 1.0,
    gpus_per_task: Annotated[
        float | None,
        typer.Option(help="GPUs that a task holds; default: 1 where there are any.", min=0.0),
    ] = None,
    across_nodes: shared.AcrossNodes = False,
    checkpoint_every: Annotated[
        float, typer.Option(help="Seconds between checkpoints inside a training.", min=0)
    ] = 300.0,
    grace: Annotated[
        float,
        typer.Option(help="When the job is stopped, seconds to keep checkpoints.", min=0),
    ] = 30.0,
) -> None:
    """Run a sweep as a job of a Ray cluster: it goes on without this terminal."""
    from orchestrator.executors.on_ray import submit_job
    from orchestrator.running import submit as submitting

    asked = shared.read(sweep, overrides)
    networks.check_patterns(asked)
    options = ["--cpus-per-task", f"{cpus_per_task:g}"]
    options += [] if gpus_per_task is None else ["--gpus-per-task", f"{gpus_per_task:g}"]
    options += ["--across-nodes"] if across_nodes else []
    options += ["--checkpoint-every", f"{checkpoint_every:g}"]
    job = submitting.command(asked, store, options, grace)
    with submitting.shipped(asked) as folder:
        submit_job(address, job.identity, job.entrypoint, folder, job.environment)
    at = shlex.join(["--address", address])
    shared.say(f"{job.identity} runs on the cluster, with this terminal or without")
    shared.say(f"follow it   ray job logs --follow {at} {job.identity}")
    shared.say(f"stop it     ray job stop {at} {job.identity}   # trainings keep a checkpoint")
    shared.say(f"see results tombola status {shlex.join(['--store', store])}")
