"""Where each method spends its weights: density of every layer at a few total densities."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import mean
from typing import Any

import duckdb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.figures import axes as marks
from analysis.figures import series
from analysis.figures.series import Row

SQL = f"""
SELECT t.network, t.dataset, t.method, t.ablation, t.replicate, t.requested_density,
       t.accuracy, t.run_key, t.mask_key, {", ".join(f"t.{name}" for name in series.SETTING)},
       l.position, l.layer, l.kept, l.density AS layer_density
FROM trials t JOIN layers l ON l.mask_key = t.mask_key
WHERE t.sweep = $sweep AND t.status = 'done' AND t.ablation = 'none'
ORDER BY t.trial, l.position
"""


@dataclass(frozen=True)
class Profile:
    """Density of each layer, mean over replicates, in per cent; None where all are empty."""

    density: float
    layers: tuple[float | None, ...]


@dataclass(frozen=True)
class Cell:
    """One method on one network: its layers' names and a profile for each total density."""

    title: str
    colour: str
    names: tuple[str, ...]
    profiles: tuple[Profile, ...]


@dataclass(frozen=True)
class Facts:
    """What is drawn: cells in reading order."""

    cells: tuple[Cell, ...]
    note: str
    width: float
    title: str | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: dict[str, Any]) -> Facts:
    """Profiles at `densities` of the options (nearest there are), or at three spread out."""
    found = series.rows(connection, sweep, options, SQL)
    wanted = _densities({row["requested_density"] for row in found}, options.get("densities"))
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        if row["requested_density"] in wanted:
            groups[(row["network"], row["dataset"], *series.series_key(row))].append(row)
    named = series.labels(found)
    several = len({key[:2] for key in groups}) > 1
    replicates = len({row["replicate"] for row in found})
    return Facts(
        cells=tuple(
            _cell(members, named[key[2:]], key[0] if several else None)
            for key, members in groups.items()
        ),
        note=f"Mean of {replicates} replicates; × marks a layer that keeps no weight.",
        width=style.WIDTHS[options.get("width", "iclr")],
        title=options.get("title"),
    )


def draw(facts: Facts) -> Figure:
    """Small panels on shared axes; darker is denser in total."""
    columns = 4 if len(facts.cells) > 3 else 3
    figure, body, axes = marks.grid(
        len(facts.cells), columns, (facts.width, 1.6), facts.note, facts.title, sharey=True
    )
    shown = [v for cell in facts.cells for p in cell.profiles for v in p.layers if v]
    floor = min(shown, default=0.1) / 3
    for cell, ax in zip(facts.cells, axes, strict=True):
        positions = range(len(cell.names))
        for number, profile in enumerate(cell.profiles):
            colour = _shade(cell.colour, number)
            values = [v if v else float("nan") for v in profile.layers]
            ax.plot(positions, values, color=colour, marker="o")
            empty = [i for i, v in enumerate(profile.layers) if not v]
            ax.plot(empty, [floor] * len(empty), color=colour, marker="x", linestyle="none")
        ax.set_yscale("log")
        ax.set_ylim(floor / 1.5, 150)
        ax.set_yticks([v for v in (0.01, 0.1, 1, 10, 100) if v >= floor / 1.5])
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_xticks(list(positions), cell.names)
        ax.set_xlim(-0.4, len(cell.names) - 0.6)
        ax.set_title(cell.title.replace(" (", "\n(", 1), fontsize=7.5)
    handles = {
        f"{style.percent(p.density)} %": Line2D([], [], color=_shade(style.DENSE, n), marker="o")
        for n, p in enumerate(facts.cells[0].profiles)
    }
    body.supxlabel("Layer, from the input", fontsize=8)
    body.supylabel("Weights remaining in the layer (%)", fontsize=8)
    marks.legend(body, handles, columns=len(handles), title="Weights remaining in the network")
    return figure


def _shade(colour: str, number: int) -> str:
    return style.lighter(colour, 0.3 * number)


def _densities(there_are: set[float], wanted: list[float] | None) -> set[float]:
    ordered = sorted(there_are, reverse=True)
    if wanted:
        return {min(ordered, key=lambda d: abs(d - w)) for w in wanted}
    return {ordered[0], ordered[len(ordered) // 2], ordered[-1]}


def _cell(members: list[Row], label: str, network: str | None) -> Cell:
    layers: dict[float, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    names: dict[int, str] = {}
    for row in members:
        layers[row["requested_density"]][row["position"]].append(100 * row["layer_density"])
        names[row["position"]] = row["layer"]
    profiles = [
        Profile(density, tuple(mean(by[i]) or None for i in sorted(by)))
        for density, by in sorted(layers.items(), reverse=True)
    ]
    return Cell(
        title=f"{label} ({network})" if network else label,
        colour=style.look(members[0]["method"]).colour,
        names=tuple(str(i + 1) for i in sorted(names)),
        profiles=tuple(profiles),
    )
