"""The command line: parse, one call, print. Nothing heavy is imported before it is needed."""

import functools
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import typer

from orchestrator.errors import ExitCode, SweepError, TombolaError

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help="Sweeps of neural-network pruning experiments: one file in, tickets, SQL and figures out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SweepFile = Annotated[Path, typer.Argument(help="Sweep file (YAML).", metavar="SWEEP")]
SweepName = Annotated[
    str, typer.Argument(help="Sweep file, or the name of a sweep in the store.", metavar="SWEEP")
]
Store = Annotated[
    Path,
    typer.Option("--store", envvar="TOMBOLA_STORE", help="Directory of results.", metavar="DIR"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override a value: replicates=5, recipe.lr=0.1.", metavar="KEY=VALUE"
    ),
]
Format = Annotated[
    str, typer.Option(help="Of pdf, png and svg, with commas between.", metavar="FORMATS")
]
DEFAULT_STORE = Path("store")


def _guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Errors meant for users become one line each and their exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SweepError as error:
            _complain(*error.problems)
        except TombolaError as error:
            _complain(str(error))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.DONE) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except OSError as error:
            _complain(f"{error.filename or 'the file system'}: {error.strerror or error}")
        except Exception as error:
            if not _is_analysis_error(error):
                raise
            _complain(str(error))
        raise typer.Exit(ExitCode.BAD_INPUT)

    return run


def _is_analysis_error(error: Exception) -> bool:
    from analysis.errors import AnalysisError

    return isinstance(error, AnalysisError)


def _complain(*lines: str) -> None:
    for line in lines:
        typer.echo(f"error: {line}", err=True)


# ---------------------------------------------------------------- plan and run


@app.command()
@_guarded
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
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Simulate 1 to 4096 of them, in a table.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(help="What one costs per hour, for --what-if.", min=0)
    ] = None,
) -> None:
    """Show what a sweep would run, what it shares, and what it would cost. Runs nothing."""
    from orchestrator import forecast, render, study

    console = _console()
    asked = _read(sweep, overrides)
    device: Literal["cpu", "gpu"] = "gpu" if gpus else "cpu"
    planned, costs = study.plan_for(asked, store, device)
    slots = gpus or workers or os.cpu_count() or 1
    render.print_plan(console, asked, planned, costs, slots)
    if gpus or what_if:
        forecast.print_schedule(console, planned, costs, slots)
    if what_if:
        forecast.print_what_if(console, planned, costs, price)
    if why:
        render.print_reasons(console, asked, planned.tasks.values())


@app.command()
@_guarded
def run(
    sweep: SweepFile,
    store: Store = DEFAULT_STORE,
    overrides: Overrides = None,
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
    timeout: Annotated[
        float,
        typer.Option(
            help="Seconds after which a task counts as hung, where that is also 20 times what "
            "was expected of it.",
            min=0.1,
        ),
    ] = 3600.0,
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
    grace: Annotated[
        float,
        typer.Option(help="After SIGTERM, seconds to keep checkpoints and finish.", min=0),
    ] = 30.0,
    on_finish: Annotated[
        str | None,
        typer.Option(help="Command to run at the end; TOMBOLA_SWEEP, _DONE, _FAILED tell how."),
    ] = None,
) -> None:
    """Run what the store lacks for a sweep. Launched again, it goes on where it was."""
    from orchestrator import study

    console = _console()
    asked = _read(sweep, overrides)
    root = _open(store, create=True)
    study.register(asked, root)
    planned, costs = study.plan_for(asked, root)
    if not planned.tasks:
        console.print(
            f"Nothing to do: all {len(asked.trials):,} trials are answered.", highlight=False
        )
        _summarise(asked.name, sweep, root)
        return
    console.print(
        f"{asked.name}: {len(planned.tasks):,} tasks for "
        f"{len(asked.trials) - planned.done:,} of {len(asked.trials):,} trials",
        highlight=False,
    )

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
        )

    limits = {
        "least_timeout": timeout,
        "checkpoint_seconds": checkpoint_every,
        "canary": canary,
        "grace": grace,
    }
    _launch(asked, root, planned, costs, engine, limits, on_finish)


@app.command()
@_guarded
def submit(
    sweep: SweepFile,
    address: Annotated[str, typer.Option(help="Dashboard of the cluster: http://HOST:8265.")],
    store: Annotated[
        Path,
        typer.Option(
            "--store",
            envvar="TOMBOLA_STORE",
            help="Directory of results, as every node of the cluster sees it (/…).",
            metavar="DIR",
        ),
    ],
    overrides: Overrides = None,
    cpus_per_task: Annotated[float, typer.Option(help="CPUs that a task holds.", min=0.01)] = 1.0,
    gpus_per_task: Annotated[
        float | None,
        typer.Option(help="GPUs that a task holds; default: 1 where there are any.", min=0.0),
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(help="Seconds between checkpoints inside a training.", min=0)
    ] = 300.0,
    grace: Annotated[
        float,
        typer.Option(help="When the job is stopped, seconds to keep checkpoints.", min=0),
    ] = 30.0,
) -> None:
    """Run a sweep as a job of a Ray cluster: it goes on without this terminal."""
    from orchestrator import submit as submitting
    from orchestrator.executors.on_ray import submit_job

    asked = _read(sweep, overrides)
    options = ["--cpus-per-task", f"{cpus_per_task:g}"]
    options += [] if gpus_per_task is None else ["--gpus-per-task", f"{gpus_per_task:g}"]
    options += ["--checkpoint-every", f"{checkpoint_every:g}"]
    job = submitting.command(asked, store, options, grace)
    with submitting.shipped(asked) as folder:
        submit_job(address, job.identity, job.entrypoint, folder, job.environment)
    at = shlex.join(["--address", address])
    typer.echo(f"{job.identity} runs on the cluster, with this terminal or without")
    typer.echo(f"follow it   ray job logs --follow {at} {job.identity}")
    typer.echo(f"stop it     ray job stop {at} {job.identity}   # trainings keep a checkpoint")
    typer.echo(f"see results tombola status {shlex.join(['--store', str(store)])}")


def _launch(
    asked: Any,
    root: Path,
    planned: Any,
    costs: Any,
    engine: Callable[[], Any],
    limits: dict[str, Any],
    on_finish: str | None,
) -> None:
    from analysis import results
    from orchestrator import render, study
    from orchestrator.launch import launch
    from orchestrator.live import Display

    console = _console()
    workers, kept = None, 0
    try:
        workers = engine()
        _drain_on_sigterm(workers, limits["grace"])  # Ray has put its own handler in place
        for _ in range(study.ROUNDS):
            with Display(console, planned, costs) as display:
                shown = display.observe
                progress = launch(planned, root, workers, costs=costs, observe=shown, **limits)
            if progress.stopped:
                kept = progress.kept
                raise KeyboardInterrupt
            if not study.met_damage(progress):
                break
            console.print("Damaged files were found and removed; what they held is done again.")
            planned, costs = study.plan_for(asked, root)
    except KeyboardInterrupt:
        again = f"tombola run {_words(asked.path, root)}"
        typer.echo(f"\ninterrupted; what is finished is kept. Go on with: {again}", err=True)
        if kept:
            typer.echo(f"{kept} trainings go on from their checkpoints", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        if workers is not None:
            workers.close()
    results.publish(root)
    if on_finish:
        _notify(on_finish, asked.name, len(progress.done), len(progress.failures))
    _summarise(asked.name, asked.path, root)
    if progress.failures:
        render.print_failures(console, progress.failures, len(progress.blocked))
        raise typer.Exit(ExitCode.TASKS_FAILED)


def _notify(command: str, name: str, done: int, failed: int) -> None:
    """Run the hook; what is wrong with it is said, and nothing else."""
    import subprocess

    told = {"TOMBOLA_SWEEP": name, "TOMBOLA_DONE": str(done), "TOMBOLA_FAILED": str(failed)}
    try:
        subprocess.run(shlex.split(command), env={**os.environ, **told}, check=True, timeout=60)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        typer.echo(f"warning: --on-finish: {error}", err=True)


def _summarise(name: str, sweep: Path, root: Path) -> None:
    from analysis import results
    from orchestrator import looking

    with results.scanning(root):
        looking.print_summary(_console(), results.connect(root), name)
    typer.echo(f"Next: tombola figures {_words(sweep, root)}")
    query = _words("SELECT method, density, accuracy FROM trials", root)
    typer.echo(f"      tombola sql {query}")


# ---------------------------------------------------------------- looking


@app.command()
@_guarded
def status(
    sweep: Annotated[
        str | None, typer.Argument(help="Sweep file or name; default: all.", metavar="[SWEEP]")
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """How far each sweep of the store is, also while it runs elsewhere."""
    from analysis import results
    from orchestrator import looking

    root = _open(store)
    name = _name(sweep) if sweep else None
    with results.scanning(root):
        connection = results.connect(root)
        if name:
            results.figures_of(connection, name)  # refuses a sweep that the store does not know
        looking.print_status(_console(), connection, name)


@app.command()
@_guarded
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
    from analysis import results
    from analysis import sql as reading
    from orchestrator import looking

    root = _open(store)
    if query is None:
        looking.print_schema(_console(), results.describe(results.connect(root)), results.EXAMPLES)
        return
    text = sys.stdin.read() if query == "-" else query
    reading.write(reading.query(root, text), format, sys.stdout)


@app.command()
@_guarded
def figures(
    sweep: SweepName,
    store: Store = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures; default: figures/<sweep>.")
    ] = None,
    format: Format = "pdf,png",
    check: Annotated[
        bool, typer.Option("--check", help="Draw nothing; say which files are stale or missing.")
    ] = False,
) -> None:
    """Draw the figures that a sweep file asks for, as PDF, PNG or SVG, from SQL alone."""
    from analysis import figures as drawing
    from analysis import results

    root = _open(store)
    if _is_file(sweep):
        asked = _read(Path(sweep), None)
        name, wanted = asked.name, asked.sweep.figures
    else:
        name, wanted = sweep, results.figures_of(results.connect(root), sweep)
    folder, formats = out or Path("figures") / name, _formats(format)
    if not check:
        for path in drawing.draw(root, name, wanted, folder, formats):
            typer.echo(path)
        return
    found = drawing.compare(root, name, wanted, folder, formats)
    for path, why in found.items():
        _say_fresh(why, path)
    if any(found.values()):
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@_guarded
def trace(
    figure: Annotated[Path, typer.Argument(help="PDF, PNG or SVG that was drawn here.")],
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            envvar="TOMBOLA_STORE",
            help="Ask it for the runs behind every point, and whether the figure is fresh.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Where a figure comes from, as its file says; with a store, the runs behind its points."""
    from analysis import figures as drawing

    about = drawing.trace(figure)
    for name, value in sorted(about.items(), key=lambda item: item[0] != "figure"):
        said = value if isinstance(value, str | int) else json.dumps(value)
        typer.echo(f"{name:<10} {said}")
    if store is None:
        return
    from analysis import results
    from analysis import sql as reading
    from analysis.figures import tracing

    if tracing.is_published(about):
        _say_fresh(tracing.published_changes(about), figure)
        return
    root = _open(store)
    with results.scanning(root), results.connect(root) as connection:
        rows = tracing.runs(connection, about)
        reading.write(rows, "table", sys.stdout)
        _say_fresh(tracing.changes(connection, about), figure)


@app.command()
@_guarded
def reference(
    name: Annotated[
        str | None, typer.Argument(help="Published numbers; default: list them.", metavar="[NAME]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figure.")] = Path("figures/reference"),
    format: Format = "pdf,png",
    against: Annotated[
        str | None,
        typer.Option(help="Sweep file or name: own less published instead.", metavar="SWEEP"),
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Published numbers: what there is, drawn again, or beside those of a sweep."""
    from analysis import figures as drawing
    from analysis import reference as published

    if name is None:
        for one in published.names():
            known = published.about(one)
            typer.echo(f"{one}: {known.title}\n  {known.source}. Licence: {known.licence}.")
        return
    known = published.about(name)
    if against is not None:
        _compare(name, _name(against), _open(store))
    elif known.has_curves:
        for path in drawing.draw_published(name, out, _formats(format)):
            typer.echo(path)
    else:
        typer.echo(f"{known.title}\n{known.source}. Licence: {known.licence}.")
        typer.echo("\n".join([*known.caveats, f"no curves to draw; rows: {published.path(name)}"]))


def _compare(name: str, sweep: str, root: Path) -> None:
    from analysis import reference as published
    from analysis import results
    from analysis import sql as reading
    from analysis.figures.against import against

    with results.scanning(root), results.connect(root) as connection:
        results.figures_of(connection, sweep)  # refuses a sweep that the store does not know
        rows = against(connection, sweep, name)
    reading.write(rows.drop_columns(["remark"]), "table", sys.stdout)
    known = published.about(name)
    remarks = sorted(set(rows["remark"].to_pylist()) - {None})
    typer.echo("Test accuracy (%) at the best epoch, own and published: difference in points.")
    typer.echo("\n".join([f"{known.cited}: {known.source}.", *known.caveats, *remarks]))


@app.command()
@_guarded
def table(
    sweep: SweepName,
    store: Store = DEFAULT_STORE,
    metric: Annotated[
        str, typer.Option(help="What it shows, as in a figure's `metric`.")
    ] = "accuracy",
    format: Annotated[
        Literal["markdown", "latex", "csv"], typer.Option(help="csv: tidy, with p-values.")
    ] = "markdown",
    out: Annotated[Path | None, typer.Option(help="File to write; default: print.")] = None,
    methods: Annotated[str, typer.Option(help="Which, by commas; default: all.")] = "",
    densities: Annotated[str, typer.Option(help="Which, by commas: 0.5,0.1.")] = "",
    ablations: Annotated[str, typer.Option(help="Which, by commas.")] = "none",
) -> None:
    """Methods by densities: means over replicates, and which do not differ from the best."""
    from analysis import tables

    text = tables.render(
        _open(store),
        _name(sweep),
        format,
        metric=metric,
        methods=_listed(methods),
        ablations=_listed(ablations),
        densities=_numbers(densities),
    )
    if out is None:
        typer.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    typer.echo(out)


@app.command()
@_guarded
def report(
    sweep: SweepName,
    store: Store = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: figures/<sweep>/report.html.", metavar="FILE"),
    ] = None,
) -> None:
    """Write a sweep's figures, tables, checklist and definition as one HTML file."""
    from analysis import report as reporting

    name = _name(sweep)
    path = out or Path("figures") / name / "report.html"
    typer.echo(reporting.write(_open(store), name, path))


@app.command()
@_guarded
def lint(
    sweep: SweepName,
    store: Store = DEFAULT_STORE,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 unless everything is ok.")
    ] = False,
) -> None:
    """Check a sweep against the field's reporting checklist, with the evidence."""
    from analysis import lint as checking
    from analysis import results
    from orchestrator import looking

    root = _open(store)
    with results.scanning(root), results.connect(root) as connection:
        findings = checking.lint(connection, _name(sweep))
    looking.print_checklist(_console(), findings)
    if strict and any(finding.outcome != "ok" for finding in findings):
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@_guarded
def show(
    key: Annotated[str, typer.Argument(help="Key of a run or mask, or its first characters.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """What an expression is, where its result came from, and what uses it."""
    from analysis import results
    from orchestrator import looking

    root = _open(store)
    with results.scanning(root):
        looking.print_expression(_console(), results.connect(root), key)


@app.command()
@_guarded
def measure(
    key: Annotated[str, typer.Argument(help="Key of a mask, or its first characters.")],
    store: Store = DEFAULT_STORE,
) -> None:
    """What costs too much to measure of every mask: Ramanujan quantities, latency, size."""
    from analysis import results
    from orchestrator import looking, render

    root = _open(store)
    with results.scanning(root):
        whole = looking.find_key(results.connect(root), key)
    from orchestrator.worker import measure_mask

    render.print_measured(_console(), *measure_mask(root, whole))


@app.command()
@_guarded
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

    root = _open(store)
    console = _console()
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
    _complain(f"{len(findings)} found in {root}; `tombola verify --repair` removes them")
    raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@_guarded
def compact(store: Store = DEFAULT_STORE) -> None:
    """Merge finished results into one sorted segment: fewer files, faster SQL."""
    from orchestrator.store import compact as merging

    typer.echo(f"merged {merging.compact(_open(store, create=True)):,} results")


@app.command()
@_guarded
def gc(
    store: Store = DEFAULT_STORE,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it, and not only say.")] = False,
) -> None:
    """Free weights and masks that no sweep keeps or still needs (`keep` in its file)."""
    from orchestrator import render
    from orchestrator import surplus as finding

    root = _open(store)
    found = finding.surplus(root)
    if delete:
        finding.free(found)
    said = f"{len(found.paths):,} files, {render.size(found.bytes)}"
    if not found.paths:
        typer.echo("nothing to free: sweeps keep or need every state and mask")
    else:
        typer.echo(f"freed {said}" if delete else f"{said} could be freed: tombola gc --delete")


data = typer.Typer(help="Datasets: what is here, and how to get the rest.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command("list")
@_guarded
def list_datasets() -> None:
    """Every dataset, and whether its files are here (in TOMBOLA_DATA, or ./data)."""
    from rich.table import Table

    from tasks import catalog, datasets

    table = Table("dataset", "images", "classes", "train", "test", "files", box=None)
    for name, facts in catalog.DATASETS.items():
        shape = " x ".join(map(str, facts.input_shape))
        here = "here" if datasets.present(name) else f"tombola data fetch {name}"
        counts = f"{facts.classes:,}", f"{facts.train:,}", f"{facts.test:,}"
        table.add_row(name, shape, *counts, here)
    _console().print(table)


@data.command("fetch")
@_guarded
def fetch_dataset(name: Annotated[str, typer.Argument(help="Dataset, as sweeps name it.")]) -> None:
    """Download a dataset with its checksums compared; nothing is ever fetched unasked."""
    from tasks import datasets

    try:
        folder = datasets.fetch(name)
    except ValueError as error:
        raise TombolaError(str(error)) from None
    except OSError as error:
        said = " ".join(str(error).split())
        raise TombolaError(f"{name} could not be fetched: {said}") from None
    typer.echo(f"{name} is in {folder}")


# ---------------------------------------------------------------- shared


def _read(sweep: Path, overrides: list[str] | None) -> Any:
    from analysis import figures as drawing
    from orchestrator import study

    asked = study.read(sweep, tuple(overrides or ()))
    problems = [
        f"{asked.source.place(('figures', number))}: {problem}"
        for number, figure in enumerate(asked.sweep.figures)
        for problem in drawing.check([figure])
    ]
    if problems:
        raise SweepError(problems)
    return asked


def _name(sweep: str) -> str:
    return str(_read(Path(sweep), None).name) if _is_file(sweep) else sweep


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[float]:
    try:
        return [float(one) for one in _listed(text)]
    except ValueError:
        raise TombolaError(f"--densities takes numbers by commas, 0.5,0.1, not {text!r}") from None


def _is_file(sweep: str) -> bool:
    return sweep.endswith((".yaml", ".yml")) or os.sep in sweep


def _formats(said: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in said.split(",") if one.strip())


def _say_fresh(why: list[str], path: Path) -> None:
    """A figure's standing against the store: fresh, missing, or stale and why."""
    if not why:
        typer.echo(f"fresh    {path}")
    elif why == ["missing"]:
        typer.echo(f"missing  {path}")
    else:
        typer.echo(f"stale    {path}: {'; '.join(why)}")


def _words(argument: str | Path, store: Path) -> str:
    """An argument and the store's option, as a shell takes them."""
    option = [] if store == DEFAULT_STORE else ["--store", str(store)]
    return shlex.join([str(argument), *option])


def _open(store: Path, *, create: bool = False) -> Path:
    from orchestrator.store.files import open_store

    return open_store(store, create=create)


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)


def _drain_on_sigterm(workers: Any, grace: float) -> None:
    """SIGTERM stops a launch at checkpoints; a second one, like Ctrl-C, at once."""

    def stop(_signal: int, _frame: object) -> None:
        if workers.draining:
            raise KeyboardInterrupt
        os.write(2, b"\nSIGTERM: stopping at checkpoints, %d s at most\n" % grace)
        workers.drain()

    signal.signal(signal.SIGTERM, stop)


def main() -> None:
    """Entry point of the `tombola` command."""
    app()


if __name__ == "__main__":
    main()
