"""Commands that make figures, tables and pages of a store."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Overrides, Store, SweepName, app, guarded
from tombola.errors import ExitCode, TombolaError

Format = Annotated[
    str, typer.Option(help="Of pdf, png and svg, with commas between.", metavar="FORMATS")
]


@app.command()
@guarded
def figures(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            help="Sweep file, or the name of a sweep in the store; with --check also several, "
            "and figures' files and folders, whatever they are called.",
            metavar="SWEEP",
        ),
    ],
    store: Store = DEFAULT_STORE,
    overrides: Overrides = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Draw the figures of this name alone; may be named again."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures; default: figures/<sweep>.")
    ] = None,
    format: Format = "pdf,png",
    check: Annotated[
        bool, typer.Option("--check", help="Draw nothing; say which files are stale or missing.")
    ] = False,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Draw nothing; say what each took, and what sharing saved."),
    ] = False,
) -> None:
    """Draw the figures that a sweep file asks for, as PDF, PNG or SVG, from SQL alone."""
    from analysis import figures as drawing
    from analysis.errors import NotAllDrawn

    root = shared.opened(store)
    if check:
        if overrides or only:
            raise TombolaError("--check takes neither --set nor --only: it looks at files")
        _check(root, sweeps, out, format)
        return
    if len(sweeps) > 1:
        raise TombolaError(f"one sweep at a time is drawn, not {len(sweeps)}; --check takes more")
    name, wanted = _asked(root, sweeps[0], overrides)
    wanted = _named(wanted, only)
    if cost:
        from analysis.database import sql as reading

        reading.write(drawing.ledger(root, name, wanted), "table", sys.stdout)
        return
    folder = out or Path("figures") / name
    try:
        for path in drawing.draw(root, name, wanted, folder, _formats(format)):
            shared.say(path)
    except NotAllDrawn as error:
        for path in error.drawn:
            shared.say(path)
        shared.complain(*error.problems)
        raise typer.Exit(ExitCode.TASKS_FAILED) from None


def _asked(root: Path, sweep: str, overrides: list[str] | None = None) -> tuple[str, list[Any]]:
    """A sweep's name, and the figures that it asks for."""
    from analysis.database import connection as results

    if shared.is_file(sweep):
        asked = shared.read(Path(sweep), overrides)
        return asked.name, asked.sweep.figures
    if overrides:
        raise TombolaError(f"--set takes a sweep file, not the name of one: {sweep}")
    return sweep, results.figures_of(results.connect(root), sweep)


def _named(figures: list[Any], only: list[str] | None) -> list[Any]:
    """Of the figures that a sweep asks for those of these names; one it does not ask for too."""
    from analysis.selection.options import parse

    there = [(parse(figure)[0], figure) for figure in figures]
    missing = [name for name in only or () if name not in {known for known, _ in there}]
    return [figure for name, figure in there if not only or name in only] + missing


def _check(root: Path, given: list[str], out: Path | None, format: str) -> None:
    """Say how files stand to the store; whoever waits for the exit code learns if all are fresh."""
    from analysis import figures as drawing
    from analysis.figures import tracing

    known = tracing.sweeps(root)
    drawn = {f".{one}" for one in drawing.FORMATS}
    places = [
        one
        for one in given
        if one not in known and (Path(one).is_dir() or Path(one).suffix in drawn)
    ]
    fresh = []
    for sweep in (one for one in given if one not in places):
        name, wanted = _asked(root, sweep)
        folder = out or Path("figures") / name
        for path, why in drawing.compare(root, name, wanted, folder, _formats(format)).items():
            _say_fresh(why, path)
            fresh.append(not why)
    for path, found in tracing.standings(root, map(Path, places)).items():
        _say(found.word, path, found.why)
        if found.word != "foreign":
            fresh.append(found.word == "fresh")
    if not fresh:
        raise TombolaError(f"no figure that was drawn here in {', '.join(given)}")
    if not all(fresh):
        raise typer.Exit(ExitCode.TASKS_FAILED)


@app.command()
@guarded
def trace(
    figure: Annotated[Path, typer.Argument(help="PDF, PNG or SVG that was drawn here.")],
    store: Annotated[
        str | None,
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
        shared.say(f"{name:<10} {said}")
    if store is None:
        return
    from analysis.database import connection as results
    from analysis.database import sql as reading
    from analysis.figures import tracing

    if tracing.is_published(about):
        _say_fresh(tracing.published_changes(about), figure)
        return
    root = shared.opened(store)
    with results.scanning(root), results.connect(root) as connection:
        rows = tracing.runs(connection, about)
        reading.write(rows, "table", sys.stdout)
        _say_fresh(tracing.changes(connection, about), figure)


@app.command()
@guarded
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
            shared.say(f"{one}: {known.title}", f"  {known.source}. Licence: {known.licence}.")
        return
    known = published.about(name)
    if against is not None:
        _compare(name, shared.name_of(against), shared.opened(store))
    elif known.has_curves:
        for path in drawing.draw_published(name, out, _formats(format)):
            shared.say(path)
    else:
        shared.say(known.title, f"{known.source}. Licence: {known.licence}.")
        shared.say(*known.caveats, f"no curves to draw; rows: {published.path(name)}")


def _compare(name: str, sweep: str, root: Path) -> None:
    from analysis import reference as published
    from analysis.database import connection as results
    from analysis.database import sql as reading
    from analysis.figures.against import against

    with results.scanning(root), results.connect(root) as connection:
        results.figures_of(connection, sweep)  # refuses a sweep that the store does not know
        rows = against(connection, sweep, name)
    reading.write(rows.drop_columns(["remark"]), "table", sys.stdout)
    known = published.about(name)
    remarks = sorted(set(rows["remark"].to_pylist()) - {None})
    shared.say("Test accuracy (%) at the best epoch, own and published: difference in points.")
    shared.say(f"{known.cited}: {known.source}.", *known.caveats, *remarks)


@app.command()
@guarded
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
    """Write a sweep's figures, tables, checklist and definition as one HTML file."""
    from analysis import report as reporting

    name = shared.name_of(sweep)
    path = out or Path("figures") / name / "report.html"
    shared.say(reporting.write(shared.opened(store), name, path))


@app.command()
@guarded
def explore(
    store: Store = DEFAULT_STORE,
    port: Annotated[
        int, typer.Option(help="Port of this machine to serve at.", min=1, max=65535)
    ] = 2718,
) -> None:
    """Serve a page with the sweeps' progress, figures, learning curves and SQL, here alone."""
    from analysis import explore as exploring

    def announce(address: str) -> None:
        shared.say(address, "open it in a browser; Ctrl-C ends it")

    exploring.serve(shared.opened(store), port, announce)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[float]:
    try:
        return [float(one) for one in _listed(text)]
    except ValueError:
        raise TombolaError(f"--densities takes numbers by commas, 0.5,0.1, not {text!r}") from None


def _formats(said: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in said.split(",") if one.strip())


def _say_fresh(why: list[str], path: Path) -> None:
    """A figure's standing against the store: fresh, missing, or stale and why."""
    if why == ["missing"]:
        _say("missing", path, ())
    else:
        _say("stale" if why else "fresh", path, why)


def _say(word: str, path: Path, why: Sequence[str]) -> None:
    shared.say(f"{word:<8} {path}{': ' if why else ''}{'; '.join(why)}")
