"""Commands that plan a sweep and run it."""

import os
import shlex
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tombola.cli import networks, shared
from tombola.cli.shared import DEFAULT_STORE, Overrides, Store, SweepFile, Where, app, guarded
from tombola.errors import ExitCode, TombolaError


@app.command()
@guarded
def plan(
    sweep: SweepFile,
    store: Store = DEFAULT_STORE,
    overrides: Overrides = None,
    why: Annotated[bool, typer.Option("--why", help="Each task that would run, and why.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Workers to estimate for; default: this machine's CPUs.", min=1),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="GPUs to simulate the schedule on, in place of CPUs.", min=1)
    ] = None,
    gpus_per_task: Annotated[
        int, typer.Option(help="Of those, how many each training is divided among.", min=1)
    ] = 1,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Simulate 1 to 4096 of them, in a table.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(help="What one costs per hour, for --what-if.", min=0)
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
    from tombola.cli.views import forecast
    from tombola.cli.views import plan as render

    console = shared.console()
    if price is not None and not what_if:
        raise TombolaError("--price says what the workers of --what-if cost: name both")
    if gpus_per_task > max(gpus or 0, 1):
        raise TombolaError(f"--gpus-per-task {gpus_per_task} needs --gpus {gpus_per_task} or more")
    device: Literal["cpu", "gpu"] = "gpu" if gpus else "cpu"
    slots = gpus // gpus_per_task if gpus else workers or os.cpu_count() or 1
    with without_collection():
        asked = shared.read(sweep, overrides)
        shares = networks.prunable(asked)
        planned, costs = study.plan_for(asked, store, device)
        costs = replace(costs, gang=gpus_per_task)
        expected = cost.estimate(planned, costs)
        render.print_plan(console, asked, planned, expected, costs, slots, shares)
        for problem in _missing_files(planned):
            shared.say(f"note: {problem}")
        if gpus or what_if or figure:
            graph = cost.graph(planned, costs)
        if planned.tasks and (gpus or what_if):
            found = simulate(graph, slots)
            forecast.print_schedule(console, found, costs, expected.path)
        if what_if or figure:
            tried = forecast.what_if(graph)
            forecast.print_what_if(console, tried, costs, price)
            if figure:
                from analysis.figures import scaling

                scaling.write(tried, f"{forecast.what(costs, 2)}", figure, {"sweep": asked.name})
                shared.say(figure)
        if why:
            render.print_reasons(console, asked, planned.tasks.values())


@app.command()
@guarded
def run(
    sweep: SweepFile,
    store: Store = DEFAULT_STORE,
    overrides: Overrides = None,
    where: Where = None,
    executor: Annotated[
        Literal["ray", "inline"], typer.Option(help="ray: in parallel; inline: in this process.")
    ] = "ray",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join; default: start one here.")
    ] = None,
    num_cpus: Annotated[int | None, typer.Option(help="CPUs of the local cluster.", min=1)] = None,
    num_gpus: Annotated[int | None, typer.Option(help="GPUs of the local cluster.", min=0)] = None,
    cpus_per_task: Annotated[float, typer.Option(help="CPUs that a task holds.", min=0.01)] = 1.0,
    gpus_per_task: Annotated[
        float | None,
        typer.Option(help="GPUs that a task holds; default: 1 where there are any.", min=0.0),
    ] = None,
    across_nodes: shared.AcrossNodes = False,
    timeout: Annotated[
        float,
        typer.Option(
            help="Seconds after which a task counts as hung, where that is also 20 times what "
            "was expected of it.",
            min=0.1,
        ),
    ] = 3600.0,
    stall: Annotated[
        float,
        typer.Option(
            help="Seconds without a batch, or another turn of a loop, after which a task counts "
            "as hung.",
            min=0.1,
        ),
    ] = 600.0,
    checkpoint_every: Annotated[
        float,
        typer.Option(help="Seconds between checkpoints inside a training, to go on from.", min=0),
    ] = 300.0,
    canary: Annotated[
        bool,
        typer.Option(
            "--canary/--no-canary",
            help="Before a long launch try each kind of task on a few examples.",
        ),
    ] = True,
    repeat_fraction: Annotated[
        float,
        typer.Option(
            help="Do this fraction of the finished tasks once more, to compare: 0.02.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    grace: Annotated[
        float,
        typer.Option(help="After SIGTERM, seconds to keep checkpoints and finish.", min=0),
    ] = 30.0,
    node_cache: Annotated[
        float | None,
        typer.Option(
            help="GiB of weights and masks that each node keeps on its own disk; default: 4 where "
            "the store is in object storage, else 0.",
            min=0,
        ),
    ] = None,
    on_finish: Annotated[
        str | None,
        typer.Option(help="Command to run at the end; TOMBOLA_SWEEP, _DONE, _FAILED tell how."),
    ] = None,
) -> None:
    """Run what the store lacks for a sweep. Launched again, it goes on where it was."""
    from analysis.database import export as exporting
    from orchestrator.running import study
    from orchestrator.running.launch import Limits
    from tombola.store import sweeps
    from tombola.store.publish import clear_database_leftovers
    from tombola.store.requests import Inbox

    console = shared.console()
    asked = shared.read(sweep, overrides)
    networks.check_patterns(asked)
    root = shared.opened(store, create=True)
    clear_database_leftovers(root)
    if dropped := study.no_longer_asked(asked, root):
        shared.say(
            f"note: {asked.name} was asked for before, otherwise: {dropped:,} of its trials are no "
            "longer in it (their results stay in the store; another name keeps both)"
        )
    registration = study.registration(asked, root)
    # Asked of the file before it is there: what cannot be asked leaves nothing behind.
    only = None if where is None else shared.selected(root, asked.name, where, registration)
    inbox = Inbox(root, asked.name, sweeps.register(root, registration))
    count = len(asked.trials) if only is None else len(only)
    planned, costs = study.plan_for(asked, root, only=only)
    if not planned.tasks and not repeat_fraction:
        console.print(f"Nothing to do: all {count:,} trials are answered.")
        if exporting.mend(root):
            shared.say("results.duckdb was damaged and is made anew")
        _summarise(asked.name, sweep, root)
        return
    problems = _missing_files(planned)
    if problems and not address:
        shared.complain(*problems)
        raise typer.Exit(ExitCode.BAD_INPUT)
    for problem in problems:
        shared.say(f"note: here, if not on the cluster's nodes, {problem}")
    unanswered = f"{count - planned.done:,} of {len(asked.trials):,} trials"
    if planned.tasks and count == planned.done:
        unanswered = "what stored results stand on; all trials are answered"
    console.print(f"{asked.name}: {len(planned.tasks):,} tasks for {unanswered}")

    def engine() -> Any:
        if executor == "inline":
            from orchestrator.executors.inline import InlineExecutor

            return InlineExecutor()
        from orchestrator.executors.on_ray import RayExecutor

        return RayExecutor(
            address,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            cpus_per_task=cpus_per_task,
            gpus_per_task=gpus_per_task,
            across_nodes=across_nodes,
        )

    cache = None if node_cache is None else int(node_cache * 2**30)
    limits = Limits(timeout, stall, checkpoint_every, grace, cache)
    how = {"limits": limits, "canary": canary, "inbox": inbox}
    _launch(asked, root, planned, costs, engine, how, repeat_fraction, on_finish, only)


def _launch(
    asked: Any,
    root: Path,
    planned: Any,
    costs: Any,
    engine: Callable[[], Any],
    how: dict[str, Any],
    repeat_fraction: float,
    on_finish: str | None,
    only: frozenset[int] | None,
) -> None:
    from analysis.database import export as exporting
    from analysis.database.refresh import refreshing
    from orchestrator.running import study
    from orchestrator.running.launch import launch
    from tombola.cli.views import plan as render
    from tombola.cli.views.progress import Display

    console = shared.console()
    workers: Any = None
    kept = 0
    before = signal.getsignal(signal.SIGTERM)

    def go(planned: Any, how: dict[str, Any]) -> Any:
        with refreshing(root), Display(console, planned) as display:
            shown = display.observe
            return launch(planned, root, workers, costs=costs, observe=shown, **how)

    try:
        workers = engine()
        _drain_on_sigterm(workers, how["limits"].grace)  # Ray has put its own handler in place
        for _ in range(study.ROUNDS):
            progress = go(planned, how)
            if progress.stopped:
                kept = progress.kept
                raise KeyboardInterrupt
            if not study.met_damage(progress):
                break
            console.print("Damaged files were found and removed; what they held is done again.")
            planned, costs = study.plan_for(asked, root, only=only)
        if repeat_fraction:
            again = study.repeats_for(asked, root, repeat_fraction, only)
            progress.failures += _repeat(
                console, again, lambda: go(again, {**how, "canary": False})
            )
    except KeyboardInterrupt:
        words = f"tombola run {shared.words(asked.path, root)}"
        shared.say("", f"interrupted; what is finished is kept. Go on with: {words}", err=True)
        if kept:
            shared.say(f"{kept} trainings go on from their checkpoints", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        if workers is not None:
            workers.close()
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # nothing is left to drain
    exporting.publish(root)
    if on_finish:
        _notify(on_finish, asked.name, len(progress.done), len(progress.failures))
    _summarise(asked.name, asked.path, root, progress.launch)
    render.print_given_up(console, progress)
    if progress.failures:
        render.print_failures(console, progress.failures, len(progress.blocked))
        raise typer.Exit(ExitCode.TASKS_FAILED)


def _repeat(console: Any, again: Any, go: Callable[[], Any]) -> list[Any]:
    """Do finished tasks once more; those that failed or came out differently."""
    if not again.tasks:
        return []
    console.print(f"{len(again.tasks):,} finished tasks are done once more, to compare")
    repeated = go()
    alike = len(repeated.done)
    console.print(f"{alike:,} of {len(again.tasks):,} came out the same; see table repeats")
    return list(repeated.failures)


def _notify(command: str, name: str, done: int, failed: int) -> None:
    """Run the hook; what is wrong with it is said, and nothing else."""
    import subprocess

    told = {"TOMBOLA_SWEEP": name, "TOMBOLA_DONE": str(done), "TOMBOLA_FAILED": str(failed)}
    try:
        subprocess.run(shlex.split(command), env={**os.environ, **told}, check=True, timeout=60)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        shared.say(f"warning: --on-finish: {error}", err=True)


def _summarise(name: str, sweep: Path, root: Path, launch: str = "") -> None:
    from analysis.database import connection as results
    from analysis.selection.summary import summary
    from tombola.cli.views import status

    with results.scanning(root):
        connection = results.connect(root)
        found = summary(connection, name)
        status.print_summary(shared.console(), name, found)
        status.print_reads(shared.console(), connection, launch)
        figures = results.figures_of(connection, name)
    if not found.done:
        return
    before = "Next: "
    if figures:
        shared.say(f"Next: tombola figures {shared.words(sweep, root)}")
        before = " " * len(before)
    query = shared.words("SELECT method, density, accuracy FROM trials", root)
    shared.say(f"{before}tombola sql {query}")


def _missing_files(planned: Any) -> list[str]:
    """What to say of datasets whose files are not on this machine."""
    from orchestrator.planning.planner import datasets
    from tasks.data import files

    return [said for name in datasets(planned) if (said := files.missing(name))]


def _drain_on_sigterm(workers: Any, grace: float) -> None:
    """SIGTERM stops a launch at checkpoints; a second one, like Ctrl-C, at once."""

    def stop(_signal: int, _frame: object) -> None:
        if workers.draining:
            raise KeyboardInterrupt
        os.write(2, b"\nSIGTERM: stopping at checkpoints, %d s at most\n" % grace)
        workers.drain()

    signal.signal(signal.SIGTERM, stop)


@app.command()
@guarded
def chaos(
    sweep: SweepFile,
    overrides: Overrides = None,
    kills: Annotated[int, typer.Option(help="How many to kill.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Of the moments and the victims.")] = 0,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join; default: start one here.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Empty folder for the two stores; default: a temporary one.")
    ] = None,
) -> None:
    """Kill drivers, workers and nodes while a sweep runs, and compare with an undisturbed run."""
    import random
    import tempfile

    from orchestrator.running import chaos as war

    shared.read(sweep, overrides)
    if out is not None and out.exists() and any(out.iterdir()):
        raise TombolaError(f"{out} is not empty: chaos fills two stores of its own")
    words = [str(sweep), *(f"--set={one}" for one in overrides or ())]
    strike = None
    if address:
        from orchestrator.executors import on_ray

        words.append(f"--address={address}")
        dice = random.Random(seed)  # noqa: S311 (victims, no secrets)
        strike = lambda victim: on_ray.strike(address, victim, dice)  # noqa: E731
    with tempfile.TemporaryDirectory() as scratch:
        verdict = war.chaos(
            words, out or Path(scratch), kills=kills, seed=seed, strike=strike, tell=shared.say
        )
    toll = ", ".join(f"{n} x {victim}" for victim, n in sorted(verdict.killed.items())) or "nothing"
    if verdict.survived:
        shared.say(f"killed {toll}: all {len(verdict.expected):,} results are the same")
        return
    shared.say(
        f"killed {toll}: {verdict.differing:,} of {len(verdict.expected):,} results differ, "
        f"{verdict.damage} files are damaged",
        err=True,
    )
    raise typer.Exit(ExitCode.TASKS_FAILED)
