"""Where each method spends its weights: density of every layer at a few total densities."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import mean
from typing import Any

import duckdb
from matplotlib.axes import Axes
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
    """One method on one network and dataset (`panel`): a profile for each total density."""

    title: str
    panel: str
    colour: str
    profiles: tuple[Profile, ...]


@dataclass(frozen=True)
class Facts:
    """What is drawn: cells in reading order, and the total densities from dense to sparse."""

    cells: tuple[Cell, ...]
    densities: tuple[float, ...]
    note: str
    width: float
    title: str | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: dict[str, Any]) -> Facts:
    """Profiles at `densities` of the options (nearest there are), or at three spread out."""
    found = series.rows(connection, sweep, options, SQL)
    densities = _densities(found, options.get("densities"))
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        if row["requested_density"] in densities:
            groups[(row["network"], row["dataset"], *series.series_key(row))].append(row)
    named = series.labels(found)
    replicates = {row["replicate"] for row in found}
    left_out = {named[series.series_key(row)] for row in found} - {named[k[2:]] for k in groups}
    note = f"Mean of {len(replicates)} replicates; × marks a layer that keeps no weight."
    if left_out:
        note += f" Not at these densities: {', '.join(sorted(left_out))}."
    return Facts(
        cells=tuple(_cell(members, named[key[2:]]) for key, members in groups.items()),
        densities=densities,
        note=note,
        width=style.WIDTHS[options.get("width", "iclr")],
        title=options.get("title"),
    )


def draw(facts: Facts) -> Figure:
    """Small panels on shared axes; darker is denser in total."""
    keys = [(cell.title, cell.panel) for cell in facts.cells]
    figure, body, places = marks.cells(keys, facts.width, facts.note, facts.title, sharey=True)
    shown = [v for cell in facts.cells for p in cell.profiles for v in p.layers if v]
    floor = min(shown, default=0.1) / 3
    for cell in facts.cells:
        ax = places[cell.title, cell.panel]
        for profile in cell.profiles:
            shade = _shade(cell.colour, facts.densities.index(profile.density))
            _draw_profile(ax, profile, shade, floor)
        ax.set_yscale("log")
        ax.set_ylim(floor / 1.5, 150)
        ax.set_yticks([v for v in (0.001, 0.01, 0.1, 1, 10, 100) if v >= floor / 1.5])
        ax.set_yticks([], minor=True)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        layers = len(cell.profiles[0].layers)
        ax.set_xticks(range(layers), [str(i + 1) for i in range(layers)])
        ax.set_xlim(-0.4, layers - 0.6)
    handles = {
        f"{style.percent(d)} %": Line2D([], [], color=_shade(style.DENSE, i), marker="o")
        for i, d in enumerate(facts.densities)
    }
    body.supxlabel("Layer, from the input", fontsize=8)
    body.supylabel("Weights remaining in the layer (%)", fontsize=8)
    marks.legend(body, handles, columns=len(handles), title="Weights remaining in the network")
    return figure


def _draw_profile(ax: Axes, profile: Profile, colour: str, floor: float) -> None:
    values = [v if v else float("nan") for v in profile.layers]
    ax.plot(range(len(values)), values, color=colour, marker="o")
    empty = [i for i, v in enumerate(profile.layers) if not v]
    ax.plot(empty, [floor] * len(empty), color=colour, marker="x", linestyle="none")


def _shade(colour: str, number: int) -> str:
    return style.lighter(colour, 0.3 * number)


def _densities(found: list[Row], wanted: list[float] | None) -> tuple[float, ...]:
    """What was wanted, or the densest, middle and sparsest of those that most series have."""
    having: dict[float, set[tuple[Any, ...]]] = defaultdict(set)
    for row in found:
        having[row["requested_density"]].add((row["network"], *series.series_key(row)))
    if wanted:
        nearest = {min(having, key=lambda d: abs(d - w)) for w in wanted}
        return tuple(sorted(nearest, reverse=True))
    most = max(map(len, having.values()))
    common = sorted((d for d, who in having.items() if len(who) == most), reverse=True)
    return tuple(dict.fromkeys((common[0], common[len(common) // 2], common[-1])))


def _cell(members: list[Row], label: str) -> Cell:
    layers: dict[float, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in members:
        layers[row["requested_density"]][row["position"]].append(100 * row["layer_density"])
    profiles = [
        Profile(density, tuple(mean(by[i]) or None for i in sorted(by)))
        for density, by in sorted(layers.items(), reverse=True)
    ]
    return Cell(
        title=label,
        panel=series.title(members[0]),
        colour=style.look(members[0]["method"]).colour,
        profiles=tuple(profiles),
    )
