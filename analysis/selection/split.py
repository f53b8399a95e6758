"""What many series are split by: panels of a dozen at most, so that each can be told by eye.

A setting that varies (or the ablation, or the method) is told by panels, one for each of its
values, and the rest by colour and line. Where no setting has few enough values, series are dealt
to panels in their order, and each panel has a legend of its own.
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
"""Series of one panel."""

MOST_PANELS = 60
"""Panels of one figure."""

_TOLD = ("method", "ablation")

Curve = tuple[selection.Setting, str]


@dataclass(frozen=True)
class Split:
    """Columns whose values have panels of their own; or a number of a panel for each curve."""

    columns: tuple[str, ...] = ()
    dealt: dict[Curve, int] = field(default_factory=dict)

    @property
    def each_explains(self) -> bool:
        """Whether panels share no legend."""
        return bool(self.dealt)

    def recoloured(self, methods: Sequence[str]) -> bool:
        """Whether the colours of a panel's curves cannot be those of their methods."""
        return "method" in self.columns or (bool(self.dealt) and len({*methods}) < len(methods))

    def labels(self, rows: Iterable[Row]) -> dict[selection.Setting, tuple[str, int]]:
        """Labels that leave out what panels say already (see `selection.labels`)."""
        return selection.labels(rows, self.columns)

    def place(self, row: Row) -> tuple[Any, ...]:
        """What two rows of one panel have in common beside network and dataset."""
        if self.dealt:
            return (self.dealt[curve(row)],)
        return selection.of(row, self.columns)

    def beside(self, rows: Iterable[Row], members: Sequence[Row]) -> list[Row]:
        """Dense trials that belong into a panel: those of its recipe, where panels tell that."""
        recipe = tuple(c for c in settings.RECIPE if self.dealt or c in self.columns)
        told = ("network", "dataset", *recipe)
        there = {selection.of(row, told) for row in members}
        return [
            row for row in rows if row["method"] == "dense" and selection.of(row, told) in there
        ]

    def curve_name(self, label: str, ablation: str) -> str:
        """The name of a curve, its ablation left out where panels tell it."""
        return style.ablated(label, "none" if "ablation" in self.columns else ablation)

    def said(self, row: Row) -> str:
        """What a panel's title says of it; nothing where the legend beside it does."""
        return ", ".join(_said(column, row) for column in self.columns)


def split(rows: Iterable[Row], most: int = MOST) -> Split:
    """The split of these trials into the fewest panels of at most so many series."""
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
        return Split(min(fair, key=lambda one: (len(one[1]), "method" in one[1], one[0]))[1])
    ordered = sorted(first, key=lambda one: order(first[one]["method"]))
    each = ceil(len(ordered) / ceil(len(ordered) / most))
    return Split(dealt={one: n // each for n, one in enumerate(ordered)})


def check(sweep: str, rows: Sequence[Row], panels: int, most: int = MOST_PANELS) -> None:
    """Refuse more panels than a sheet holds, with what to choose by.

    Raises
    ------
    FigureError
        When there are.
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
    """What makes two trials points of one curve."""
    return selection.setting(row), row["ablation"]


def order(method: str) -> tuple[int, str]:
    """Methods in the order of the palette, others after them."""
    palette = [*style.METHODS]
    return (palette.index(method) if method in palette else len(palette)), method


def absent(shown: dict[str, set[str]], asked: Iterable[str] = ()) -> str:
    """A sentence on the series that some panels lack, by panel; empty where none does.

    `asked`: series that may be in no panel at all.
    """
    everything = dict.fromkeys([*sorted(set().union(*shown.values())), *asked])
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for panel, labels in shown.items():
        if missing := tuple(label for label in everything if label not in labels):
            lacking[missing].append(panel)
    parts = [f"{listed(panels)}: {listed(labels)}" for labels, panels in lacking.items()]
    return f" Without data in {'; '.join(parts)}." if parts else ""


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names one after another, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most + 1 else ""
    return ", ".join(names if not more else names[:most]) + more


# ---------------------------------------------------------------- details


def _candidates(rows: Sequence[Row]) -> list[str]:
    """Columns that panels can tell: settings that vary within methods, the ablation, the method."""
    varying = settings.varying(rows)
    found = []
    for column in (*settings.SETTING, *_TOLD):
        values = _values(rows, column)
        each = [_values(same, column) for same in selection.grouped(rows, _method).values()]
        whole = column == "method" or max(map(len, each)) == len(values)
        if (
            len(values) > 1
            and whole
            and (column in _TOLD or column in set().union(*varying.values()))
        ):
            found.append(column)
    return found


def _method(row: Row) -> str:
    return str(row["method"])


def _values(rows: Iterable[Row], column: str) -> set[Any]:
    return {row[column] for row in rows}


def _places(rows: Iterable[Row], columns: tuple[str, ...]) -> set[tuple[Any, ...]]:
    return {selection.of(row, columns) for row in rows}


def _largest(rows: Iterable[Row], columns: tuple[str, ...]) -> int:
    """How many series are to be told by colour and line if panels tell these columns."""
    rest = [name for name in (*settings.SETTING, *_TOLD, "apart") if name not in columns]
    return len(_places(rows, tuple(rest)))


def _said(column: str, row: Row) -> str:
    if column == "method":
        return style.look(row["method"]).label
    if column == "ablation":
        return style.look_of_ablation(row["ablation"]).label
    return settings.details(row, {column})[0]
