"""The command that runs a sweep: choose the executor, launch, print the end."""

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Overrides, Store, SweepFile, Where, app, guarded
from tombola.errors import ExitCode

if TYPE_CHECKING:
    from orchestrator.executors.base import Executor
    from orchestrator.planning.cost import Costs
    from orchestrator.planning.planner import Plan
    from orchestrator.running.launch import Progress
    from orchestrator.running.study import Study, StudyRun


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
    cpus_per_task: Annotated[float, typer.Option(help="CPUs per task.", min=0.01)] = 1.0,
    gpus_per_task: Annotated[
        float | None,
        typer.Option(help="GPUs per task; default: 1 where the machine has GPUs.", min=0.0),
    ] = None,
    across_nodes: shared.AcrossNodes = False,
    timeout: Annotated[
        float,
        typer.Option(
            help="Seconds after which a task counts as hung. A task always has 20 times its "
            "expected time.",
            min=0.1,
        ),
    ] = 3600.0,
    stall: Annotated[
        float,
        typer.Option(
            help="Seconds without progress (a batch, a turn of a loop) after which a task counts "
            "as hung.",
            min=0.1,
        ),
    ] = 600.0,
    checkpoint_every: Annotated[
        float,
        typer.Option(help="Seconds between checkpoints inside a training.", min=0),
    ] = 300.0,
    canary: Annotated[
        bool,
        typer.Option(
            "--canary/--no-canary",
            help="Before a long launch, try each kind of task on a few examples.",
        ),
    ] = True,
    repeat_fraction: Annotated[
        float,
        typer.Option(
            help="Fraction of the finished tasks to do again and compare, such as 0.02.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    grace: Annotated[
        float,
        typer.Option(help="Seconds after SIGTERM to write checkpoints and finish.", min=0),
    ] = 30.0,
    node_cache: Annotated[
        float | None,
        typer.Option(
            help="GiB of weights and masks that each node caches on its own disk; default: 4 for "
            "a store in object storage, else 0.",
            min=0,
        ),
    ] = None,
    on_finish: Annotated[
        str | None,
        typer.Option(
            help="Command to run at the end. It reads TOMBOLA_SWEEP, TOMBOLA_DONE and "
            "TOMBOLA_FAILED from its environment."
        ),
    ] = None,
) -> None:
    """Run what the store lacks for a sweep. The same command continues after an interruption."""
    from analysis.database import export
    from orchestrator.running import study
    from orchestrator.running.launch import Limits
    from tombola.cli import networks
    from tombola.store import sweeps
    from tombola.store.publish import clear_database_leftovers
    from tombola.store.requests import Inbox

    console = shared.console()
    parsed = shared.read(sweep, overrides)
    networks.check_patterns(parsed)
    root = shared.opened(store, create=True)
    clear_database_leftovers(root)
    if dropped := study.no_longer_asked(parsed, root):
        shared.say(
            f"note: the sweep {parsed.name} has changed: {dropped:,} of its earlier trials are no "
            "longer in it (their results stay in the store; another name keeps both)"
        )
    registration = study.registration(parsed, root)
    # A condition that no trial meets is refused before anything is registered.
    only = None if where is None else shared.selected(root, parsed.name, where, registration)
    inbox = Inbox(root, parsed.name, sweeps.register(root, registration))
    count = len(parsed.trials) if only is None else len(only)
    planned, costs = study.plan_for(parsed, root, only=only)
    if not planned.tasks and not repeat_fraction:
        console.print(f"Nothing to do: all {count:,} trials are answered.")
        if export.mend(root):
            shared.say("results.duckdb was damaged; it was written again")
        _summarise(parsed.name, sweep, root)
        return
    _check_files(planned, elsewhere=bool(address))
    unanswered = f"{count - planned.done:,} of {len(parsed.trials):,} trials"
    if planned.tasks and count == planned.done:
        unanswered = "inputs that stored results lack; all trials are answered"
    console.print(f"{parsed.name}: {len(planned.tasks):,} tasks for {unanswered}")

    def start() -> "Executor":
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

    def study_run(workers: "Executor") -> "StudyRun":
        cache = None if node_cache is None else int(node_cache * 2**30)
        limits = Limits(timeout, stall, checkpoint_every, grace, cache)
        return study.StudyRun(
            parsed,
            root,
            workers,
            inbox=inbox,
            limits=limits,
            canary=canary,
            only=only,
            watch=_display(root),
            tell=console.print,
        )

    progress = _launch(parsed, root, start, study_run, planned, costs, repeat_fraction, grace)
    _finish(parsed, root, progress, on_finish)


def _check_files(planned: "Plan", *, elsewhere: bool) -> None:
    """Refuse to run without the files of datasets; on a cluster, only note what lacks here."""
    problems = shared.missing_files(planned)
    if problems and not elsewhere:
        shared.complain(*problems)
        raise typer.Exit(ExitCode.BAD_INPUT)
    for problem in problems:
        shared.say(f"note: on this machine (the cluster's nodes may differ), {problem}")


def _display(root: Path) -> Callable[["Plan"], Any]:
    """Return a context for each launch: its live display, with results.duckdb kept fresh."""
    from contextlib import contextmanager

    from analysis.database.refresh import refreshing
    from tombola.cli.views.progress import Display

    @contextmanager
    def watch(planned: "Plan") -> Any:
        with refreshing(root), Display(shared.console(), planned) as display:
            yield display.observe

    return watch


def _launch(
    parsed: "Study",
    root: Path,
    start: Callable[[], "Executor"],
    study_run: Callable[["Executor"], "StudyRun"],
    planned: "Plan",
    costs: "Costs",
    repeat_fraction: float,
    grace: float,
) -> "Progress":
    """Start the executor, run the plan, and repeat some tasks; exit with 130 if interrupted."""
    workers: Executor | None = None
    before = signal.getsignal(signal.SIGTERM)
    try:
        workers = start()
        _drain_on_sigterm(workers, grace)  # after Ray, which sets its own handler
        launches = study_run(workers)
        progress = launches.run(planned, costs)
        if repeat_fraction and not progress.stopped:
            repeated = launches.repeat(repeat_fraction, costs)
            progress.failures += repeated.failures
            progress.stopped |= repeated.stopped
    except KeyboardInterrupt:
        _say_interrupted(parsed, root)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        if workers is not None:
            workers.close()
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # nothing is left to drain
    if progress.stopped:
        _say_interrupted(parsed, root, progress.kept)
        raise typer.Exit(ExitCode.INTERRUPTED)
    return progress


def _say_interrupted(parsed: "Study", root: Path, checkpoints: int = 0) -> None:
    command = f"tombola run {shared.words(parsed.path, root)}"
    shared.say("", f"interrupted; finished results are stored. Continue with: {command}", err=True)
    if checkpoints:
        shared.say(f"{checkpoints} trainings continue from their checkpoints", err=True)


def _drain_on_sigterm(workers: "Executor", grace: float) -> None:
    """Let SIGTERM stop a launch at checkpoints, and a second SIGTERM act like Ctrl-C."""

    def stop(_signal: int, _frame: object) -> None:
        os.write(2, b"\nSIGTERM: stopping at checkpoints, %d s at most\n" % grace)
        workers.drain()
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    signal.signal(signal.SIGTERM, stop)


def _finish(parsed: "Study", root: Path, progress: "Progress", on_finish: str | None) -> None:
    """Publish results.duckdb, run the hook, print the summary; exit with 1 after failures."""
    from analysis.database import export
    from tombola.cli.views.summary import print_failures, print_given_up

    export.publish(root)
    if on_finish:
        _notify(on_finish, parsed.name, len(progress.done), len(progress.failures))
    _summarise(parsed.name, parsed.path, root, progress.launch)
    console = shared.console()
    print_given_up(console, progress)
    if progress.failures:
        print_failures(console, progress.failures, len(progress.blocked))
        raise typer.Exit(ExitCode.TASKS_FAILED)


def _notify(command: str, name: str, done: int, failed: int) -> None:
    """Run the command of --on-finish; its failure is a warning."""
    import subprocess

    counts = {"TOMBOLA_SWEEP": name, "TOMBOLA_DONE": str(done), "TOMBOLA_FAILED": str(failed)}
    try:
        subprocess.run(shlex.split(command), env={**os.environ, **counts}, check=True, timeout=60)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        shared.say(f"warning: --on-finish: {error}", err=True)


def _summarise(name: str, sweep: Path, root: Path, launch: str = "") -> None:
    """Print the mean accuracies of a sweep, and the commands that come next."""
    from analysis.database import connection
    from analysis.selection.summary import summary
    from tombola.cli.views.summary import print_reads, print_summary

    with connection.scanning(root):
        tables = connection.connect(root)
        means = summary(tables, name)
        print_summary(shared.console(), name, means)
        print_reads(shared.console(), tables, launch)
        figures = connection.figures_of(tables, name)
    if not means.done:
        return
    before = "Next: "
    if figures:
        shared.say(f"Next: tombola figures {shared.words(sweep, root)}")
        before = " " * len(before)
    query = shared.words("SELECT method, density, accuracy FROM trials", root)
    shared.say(f"{before}tombola sql {query}")
