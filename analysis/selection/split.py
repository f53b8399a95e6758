"""Split of many curves into panels of at most a dozen, which a reader can tell apart.

A setting that varies (or the ablation, or the method) gets a panel for each of its values; colour
and line show the rest. If no setting has few enough values, curves go into panels in their order,
and each panel has its own legend.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import ceil
from typing import Any

from analysis import style
from analysis.database.rows import Row
from analysis.selection import selection
from tombola.errors import FigureError
from tombola.store import settings

MOST = 12
"""Most curves of one panel."""

MOST_PANELS = 60
"""Most panels of one figure."""

_LABELS = ("method", "ablation")

Curve = tuple[selection.Setting, str]


@dataclass(frozen=True)
class Split:
    """Columns with a panel for each value, or (`dealt`) the panel number of each curve."""

    columns: tuple[str, ...] = ()
    dealt: dict[Curve, int] = field(default_factory=dict)

    @property
    def each_explains(self) -> bool:
        """Return whether each panel has its own legend."""
        return bool(self.dealt)

    def recoloured(self, methods: Sequence[str]) -> bool:
        """Return whether the curves of a panel need other colours than those of their methods."""
        return "method" in self.columns or (bool(self.dealt) and len({*methods}) < len(methods))

    def labels(self, rows: Iterable[Row]) -> dict[selection.Setting, tuple[str, int]]:
        """Return labels without the columns that panels show (see `selection.labels`)."""
        return selection.labels(rows, self.columns)

    def place(self, row: Row) -> tuple[Any, ...]:
        """Return the values that rows of one panel share, besides network and dataset."""
        if self.dealt:
            return (self.dealt[curve(row)],)
        return selection.of(row, self.columns)

    def beside(self, rows: Iterable[Row], members: Sequence[Row]) -> list[Row]:
        """Return the dense trials of a panel: of its recipes, if panels show recipes."""
        recipe = tuple(c for c in settings.RECIPE if self.dealt or c in self.columns)
        columns = ("network", "dataset", *recipe)
        present = {selection.of(row, columns) for row in members}
        dense = [row for row in rows if row["method"] == "dense"]
        return [row for row in dense if selection.of(row, columns) in present]

    def curve_name(self, label: str, ablation: str) -> str:
        """Return the name of a curve, without the ablation if panels show it."""
        return style.ablated(label, "none" if "ablation" in self.columns else ablation)

    def part(self, row: Row) -> str:
        """Return the part of a panel's title that names its settings; may be empty."""
        return ", ".join(_value(column, row) for column in self.columns)


def split(rows: Iterable[Row], most: int = MOST) -> Split:
    """Return the split of trials into the fewest panels with at most `most` curves each."""
    pruned = [row for row in rows if row["method"] != "dense"]
    first = {curve(row): row for row in pruned}
    if len(first) <= most:
        return Split()
    values = {column: _values(first.values(), column) for column in _candidates(pruned)}
    choices = [
        (len(_places(first.values(), columns)), columns)
        for columns in (*combinations(values, 1), *combinations(values, 2))
        if _largest(first.values(), columns) <= most
    ]
    fair = [(count, columns) for count, columns in choices if count <= most]
    if fair:
        return Split(min(fair, key=lambda c: (len(c[1]), "method" in c[1], c[0]))[1])
    ordered = sorted(first, key=lambda curve: order(first[curve]["method"]))
    each = ceil(len(ordered) / ceil(len(ordered) / most))
    return Split(dealt={curve: n // each for n, curve in enumerate(ordered)})


def check(sweep: str, rows: Sequence[Row], panels: int, most: int = MOST_PANELS) -> None:
    """Check that a figure has at most `most` panels.

    Raises
    ------
    FigureError
        When it has more; the message names options that choose fewer.
    """
    if panels <= most:
        return
    pruned = [row for row in rows if row["method"] != "dense"]
    columns = ("network", "dataset", *_candidates(pruned))
    counts = {column: len(_values(pruned, column)) for column in columns}
    several = ", ".join(
        f"{count} {column.replace('_', ' ')}s" for column, count in counts.items() if count > 1
    )
    raise FigureError(
        f"nothing is drawn: sweep {sweep} would fill {panels} panels, and a sheet holds {most}; "
        f"choose fewer of its {several} by the figure's options (`methods`, `networks`, "
        "`datasets`, `ablations`, or `where: {lr: 0.1}` for any setting)"
    )


def curve(row: Row) -> Curve:
    """Return the values that the trials of one curve share."""
    return selection.setting(row), row["ablation"]


def order(method: str) -> tuple[int, str]:
    """Return the sort key of a method: its place in the palette, others after it."""
    palette = [*style.METHODS]
    return (palette.index(method) if method in palette else len(palette)), method


def absent(shown: dict[str, set[str]], wanted: Iterable[str] = ()) -> str:
    """Return a sentence on the curves that some panels lack; empty if none does.

    `shown` has the labels by panel. `wanted` are labels that may be in no panel.
    """
    everything = dict.fromkeys([*sorted(set().union(*shown.values())), *wanted])
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for panel, labels in shown.items():
        if missing := tuple(label for label in everything if label not in labels):
            lacking[missing].append(panel)
    parts = [f"{listed(panels)}: {listed(labels)}" for labels, panels in lacking.items()]
    return f" Without data in {'; '.join(parts)}." if parts else ""


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return names as a list in words, cut after `most`, with the number of others."""
    more = f" and {len(names) - most} more" if len(names) > most + 1 else ""
    return ", ".join(names if not more else names[:most]) + more


# ---------------------------------------------------------------- details


def _candidates(rows: Sequence[Row]) -> list[str]:
    """Return columns that panels can show: settings that vary within methods, ablation, method."""
    varying = settings.varying(rows)
    columns = []
    for column in (*settings.SETTING, *_LABELS):
        values = _values(rows, column)
        each = [_values(same, column) for same in selection.grouped(rows, _method).values()]
        whole = column == "method" or max(map(len, each)) == len(values)
        if (
            len(values) > 1
            and whole
            and (column in _LABELS or column in set().union(*varying.values()))
        ):
            columns.append(column)
    return columns


def _method(row: Row) -> str:
    return str(row["method"])


def _values(rows: Iterable[Row], column: str) -> set[Any]:
    return {row[column] for row in rows}


def _places(rows: Iterable[Row], columns: tuple[str, ...]) -> set[tuple[Any, ...]]:
    return {selection.of(row, columns) for row in rows}


def _largest(rows: Iterable[Row], columns: tuple[str, ...]) -> int:
    """Return the most curves of one panel, if panels show these columns."""
    rest = [name for name in (*settings.SETTING, *_LABELS, "apart") if name not in columns]
    return len(_places(rows, tuple(rest)))


def _value(column: str, row: Row) -> str:
    if column == "method":
        return style.look(row["method"]).label
    if column == "ablation":
        return style.look_of_ablation(row["ablation"]).label
    return settings.details(row, {column})[0]
