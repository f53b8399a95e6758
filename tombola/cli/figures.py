"""Commands that make figures, tables and pages from a store."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Overrides, Store, SweepName, app, guarded
from tombola.errors import ExitCode, TombolaError

Format = Annotated[str, typer.Option(help="Comma-separated: pdf, png, svg.", metavar="FORMATS")]


@app.command()
@guarded
def figures(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            help="Sweep file, or the name of a sweep in the store. With --check also several "
            "sweeps, and files and folders of figures.",
            metavar="SWEEP",
        ),
    ],
    store: Store = DEFAULT_STORE,
    overrides: Overrides = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Draw only figures of this name; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures; default: figures/<sweep>.")
    ] = None,
    format: Format = "pdf,png",
    check: Annotated[
        bool, typer.Option("--check", help="Draw nothing; list files that are stale or missing.")
    ] = False,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost", help="Draw nothing; list the cost of each figure, and what sharing saved."
        ),
    ] = False,
) -> None:
    """Draw the figures of a sweep file as PDF, PNG or SVG."""
    from analysis import figures
    from tombola.errors import NotAllDrawn

    root = shared.opened(store)
    if check:
        if overrides or only:
            raise TombolaError("--check checks files: it takes neither --set nor --only")
        _check(root, sweeps, out, format)
        return
    if len(sweeps) > 1:
        raise TombolaError(
            f"only one sweep can be drawn at a time, not {len(sweeps)}; --check takes several"
        )
    name, wanted = _asked(root, sweeps[0], overrides)
    wanted = _named(wanted, only)
    if cost:
        from analysis.database import sql

        sql.write(figures.ledger(root, name, wanted), "table", sys.stdout)
        return
    folder = out or Path("figures") / name
    try:
        for path in figures.draw(root, name, wanted, folder, _formats(format)):
            shared.say(path)
    except NotAllDrawn as error:
        for path in error.drawn:
            shared.say(path)
        shared.complain(*error.problems)
        raise typer.Exit(ExitCode.TASKS_FAILED) from None


def _asked(root: Path, sweep: str, overrides: list[str] | None = None) -> tuple[str, list[Any]]:
    """Return the name of a sweep, and the figures that it asks for."""
    from analysis.database.connection import connect, figures_of

    if shared.is_file(sweep):
        parsed = shared.read(Path(sweep), overrides)
        return parsed.name, parsed.sweep.figures
    if overrides:
        raise TombolaError(f"--set takes a sweep file, not the name of one: {sweep}")
    return sweep, figures_of(connect(root), sweep)


def _named(wanted: list[Any], only: list[str] | None) -> list[Any]:
    """Select figures by name; a figure that the sweep does not ask for is added."""
    from analysis.selection.options import parse

    there = [(parse(figure)[0], figure) for figure in wanted]
    missing = [name for name in only or () if name not in {known for known, _ in there}]
    return [figure for name, figure in there if not only or name in only] + missing


def _check(root: Path, given: list[str], out: Path | None, format: str) -> None:
    """Print whether figures are fresh; exit with 1 unless all are."""
    from analysis import figures
    from analysis.figures import tracing

    known = tracing.sweeps(root)
    suffixes = {f".{name}" for name in figures.FORMATS}
    places = [
        name
        for name in given
        if name not in known and (Path(name).is_dir() or Path(name).suffix in suffixes)
    ]
    fresh = []
    for sweep in (name for name in given if name not in places):
        name, wanted = _asked(root, sweep)
        folder = out or Path("figures") / name
        for path, why in figures.compare(root, name, wanted, folder, _formats(format)).items():
            _say_fresh(why, path)
            fresh.append(not why)
    for path, standing in tracing.standings(root, map(Path, places)).items():
        _say(standing.word, path, standing.why)
        if standing.word != "foreign":
            fresh.append(standing.word == "fresh")
    if not fresh:
        raise TombolaError(f"no figure of tombola in {', '.join(given)}")
    if not all(fresh):
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@guarded
def trace(
    figure: Annotated[Path, typer.Argument(help="PDF, PNG or SVG that tombola drew.")],
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            envvar="TOMBOLA_STORE",
            help="Store to ask for the runs behind each point, and whether the figure is fresh.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Print the provenance in a figure's file; with a store, the runs behind its points."""
    from analysis import figures

    about = figures.trace(figure)
    for name, value in sorted(about.items(), key=lambda item: item[0] != "figure"):
        text = value if isinstance(value, str | int) else json.dumps(value)
        shared.say(f"{name:<10} {text}")
    if store is None:
        return
    from analysis.database import sql
    from analysis.database.connection import connect, scanning
    from analysis.figures import tracing

    if tracing.is_published(about):
        _say_fresh(tracing.published_changes(about), figure)
        return
    root = shared.opened(store)
    with scanning(root), connect(root) as connection:
        rows = tracing.runs(connection, about)
        sql.write(rows, "table", sys.stdout)
        _say_fresh(tracing.changes(connection, about), figure)


@app.command()
@guarded
def reference(
    name: Annotated[
        str | None,
        typer.Argument(help="Name of published numbers; default: list them.", metavar="[NAME]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figure.")] = Path("figures/reference"),
    format: Format = "pdf,png",
    against: Annotated[
        str | None,
        typer.Option(help="Sweep file or name to compare: own minus published.", metavar="SWEEP"),
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """List published numbers, draw them, or compare a sweep with them."""
    from analysis import figures, reference

    if name is None:
        for known_name in reference.names():
            known = reference.about(known_name)
            shared.say(f"{known_name}: {known.title}")
            shared.say(f"  {known.source}. Licence: {known.licence}.")
        return
    known = reference.about(name)
    if against is not None:
        _compare(name, shared.name_of(against), shared.opened(store))
    elif known.has_curves:
        for path in figures.draw_published(name, out, _formats(format)):
            shared.say(path)
    else:
        shared.say(known.title, f"{known.source}. Licence: {known.licence}.")
        shared.say(*known.caveats, f"no curves to draw; rows: {reference.path(name)}")


def _compare(name: str, sweep: str, root: Path) -> None:
    from analysis import reference
    from analysis.database import sql
    from analysis.database.connection import connect, figures_of, scanning
    from analysis.figures.against import against

    with scanning(root), connect(root) as connection:
        figures_of(connection, sweep)  # refuses a sweep that the store does not know
        rows = against(connection, sweep, name)
    sql.write(rows.drop_columns(["remark"]), "table", sys.stdout)
    known = reference.about(name)
    remarks = sorted(set(rows["remark"].to_pylist()) - {None})
    shared.say("Test accuracy (%) at the best epoch, own and published: difference in points.")
    shared.say(f"{known.cited}: {known.source}.", *known.caveats, *remarks)


@app.command()
@guarded
def table(
    sweep: SweepName,
    store: Store = DEFAULT_STORE,
    metric: Annotated[
        str, typer.Option(help="Metric, as the option `metric` of a figure.")
    ] = "accuracy",
    format: Annotated[
        Literal["markdown", "latex", "csv"],
        typer.Option(help="csv: one row per value, with p-values."),
    ] = "markdown",
    out: Annotated[Path | None, typer.Option(help="File to write; default: print.")] = None,
    methods: Annotated[str, typer.Option(help="Comma-separated method names; default: all.")] = "",
    densities: Annotated[
        str, typer.Option(help="Comma-separated densities: 0.5,0.1; default: all.")
    ] = "",
    ablations: Annotated[str, typer.Option(help="Comma-separated ablations.")] = "none",
) -> None:
    """Print a table of methods by densities: means over replicates, and tests against the best."""
    from analysis import tables

    text = tables.render(
        shared.opened(store),
        shared.name_of(sweep),
        format,
        metric=metric,
        methods=_listed(methods),
        ablations=_listed(ablations),
        densities=_numbers(densities),
    )
    if out is None:
        sys.stdout.write(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    shared.say(out)


@app.command()
@guarded
def report(
    sweep: SweepName,
    store: Store = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: figures/<sweep>/report.html.", metavar="FILE"),
    ] = None,
) -> None:
    """Write a report of a sweep as one HTML file: figures, tables, checklist, definition."""
    from analysis import report

    name = shared.name_of(sweep)
    path = out or Path("figures") / name / "report.html"
    shared.say(report.write(shared.opened(store), name, path))


@app.command()
@guarded
def explore(
    store: Store = DEFAULT_STORE,
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 2718,
) -> None:
    """Serve a page of progress, figures, learning curves and SQL, on this machine only."""
    from analysis import explore

    def announce(address: str) -> None:
        shared.say(address, "open it in a browser; Ctrl-C ends it")

    explore.serve(shared.opened(store), port, announce)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in _listed(text)]
    except ValueError:
        raise TombolaError(
            f"--densities takes comma-separated numbers, such as 0.5,0.1, not {text!r}"
        ) from None


def _formats(text: str) -> tuple[str, ...]:
    return tuple(_listed(text))


def _say_fresh(why: list[str], path: Path) -> None:
    """Print whether a figure is fresh, missing, or stale and why."""
    if why == ["missing"]:
        _say("missing", path, ())
    else:
        _say("stale" if why else "fresh", path, why)


def _say(word: str, path: Path, why: Sequence[str]) -> None:
    shared.say(f"{word:<8} {path}{': ' if why else ''}{'; '.join(why)}")
