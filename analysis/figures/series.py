"""What figures have in common: trials to series of replicates, never mixing settings."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from analysis import style
from analysis.errors import FigureError
from analysis.stats import Spread, Summary, summary

SETTING = (
    "options",
    "scope",
    "prune_step",
    "rewind_step",
    "steps",
    "batch_size",
    "lr",
    "momentum",
    "nesterov",
    "weight_decay",
    "schedule",
    "warmup",
)
"""Columns of `trials` that set series of one method apart."""

RECIPE = SETTING[SETTING.index("steps") :]

SQL = f"""
SELECT network, dataset, method, ablation, replicate, requested_density, accuracy, run_key,
       mask_key, {", ".join(SETTING)}
FROM trials WHERE sweep = $sweep AND status = 'done'
ORDER BY trial
"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """Replicates at one density: accuracy in per cent."""

    density: float
    accuracy: Summary


@dataclass(frozen=True)
class Series:
    """One curve: a method in one setting under one ablation, densest point first."""

    method: str
    label: str
    ablation: str
    points: tuple[Point, ...]
    shade: int = 0


@dataclass(frozen=True)
class Panel:
    """One network and dataset: its curves, and the dense network's accuracy."""

    title: str
    series: tuple[Series, ...]
    dense: Summary | None


def rows(
    connection: duckdb.DuckDBPyConnection, sweep: str, options: Row, sql: str = SQL
) -> list[Row]:
    """Rows of a query as dictionaries, filtered by a figure's options.

    Raises
    ------
    FigureError
        When nothing is left to draw.
    """
    cursor = connection.execute(sql, {"sweep": sweep})
    names = [column[0] for column in cursor.description or ()]
    found = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    found = [row for row in found if _chosen(row, options)]
    if not any(row["method"] != "dense" for row in found):
        raise FigureError(f"nothing to draw yet: no trial of sweep {sweep} matches and is done")
    return found


def panels(found: Sequence[Row], spread: Spread) -> list[Panel]:
    """A panel for each network, dataset and recipe, in the sweep's order."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        groups[(row["network"], row["dataset"], *(row[name] for name in RECIPE))].append(row)
    titles = _titles(list(groups))
    made = [
        Panel(title, tuple(_series(members, spread)), _dense(members, spread))
        for title, members in zip(titles, groups.values(), strict=True)
    ]
    return [panel for panel in made if panel.series]


def footnote(
    connection: duckdb.DuckDBPyConnection, sweep: str, made: Iterable[Panel], spread: Spread
) -> str:
    """Replicates and spread, and how much of the sweep is done where it is not all."""
    counts = {p.accuracy.n for panel in made for s in panel.series for p in s.points}
    replicates = _span(counts)
    words = {
        "std": "± 1 standard deviation",
        "minmax": "minimum to maximum",
        "ci95": "95 % interval",
    }
    noun = "replicate" if counts == {1} else "replicates"
    text = f"Mean of {replicates} {noun}" + ("" if counts == {1} else f", band {words[spread]}")
    row = connection.execute(
        "SELECT count(*), count(*) FILTER (status = 'done') FROM trials WHERE sweep = ?", [sweep]
    ).fetchone()
    total, done = row if row else (0, 0)
    return f"{text}." + ("" if done == total else f" {done} of {total} trials done.")


def series_key(row: Row) -> tuple[Any, ...]:
    """What makes two rows points of one curve."""
    return (row["method"], *(row[name] for name in SETTING))


def labels(found: Iterable[Row]) -> dict[tuple[Any, ...], str]:
    """A label for each series: the method, and whatever sets it apart from its siblings."""
    keys = list(dict.fromkeys(series_key(row) for row in found))
    siblings: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for key in keys:
        siblings[key[0]].append(key)
    return {key: _label(key, siblings[key[0]]) for key in keys}


# ---------------------------------------------------------------- details


def _chosen(row: Row, options: Row) -> bool:
    if row["network"] not in options.get("networks", [row["network"]]):
        return False
    if row["dataset"] not in options.get("datasets", [row["dataset"]]):
        return False
    return row["method"] in {"dense", *options.get("methods", [row["method"]])}


def _series(members: list[Row], spread: Spread) -> list[Series]:
    pruned = [row for row in members if row["method"] != "dense"]
    named = labels(pruned)
    shades: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for key in named:
        shades[key[0]].append(key)
    groups: dict[tuple[tuple[Any, ...], str], dict[float, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in pruned:
        groups[series_key(row), row["ablation"]][row["requested_density"]].append(row["accuracy"])
    return [
        Series(
            method=key[0],
            label=named[key],
            ablation=ablation,
            points=tuple(
                Point(density, summary([100 * value for value in values], spread))
                for density, values in sorted(densities.items(), reverse=True)
            ),
            shade=shades[key[0]].index(key),
        )
        for (key, ablation), densities in groups.items()
    ]


def _dense(members: list[Row], spread: Spread) -> Summary | None:
    values = {row["run_key"]: 100 * row["accuracy"] for row in members if row["method"] == "dense"}
    return summary(list(values.values()), spread) if values else None


def _label(key: tuple[Any, ...], siblings: list[tuple[Any, ...]]) -> str:
    name = style.look(key[0]).label
    parts = []
    for position, column in enumerate(SETTING, start=1):
        if len({sibling[position] for sibling in siblings}) > 1:
            parts.append(_said(column, key[position]))
    return f"{name} ({', '.join(parts)})" if parts else name


def _said(column: str, value: Any) -> str:
    if column == "rewind_step":
        return f"rewound to {value}"
    if column == "prune_step":
        return f"pruned at {value}"
    if column == "options":
        chosen = json.loads(value)
        return ", ".join(f"{k} {v}" for k, v in chosen.items()) if chosen else "default"
    return f"{column.replace('_', ' ')} {value}"


def _titles(groups: list[tuple[Any, ...]]) -> list[str]:
    """Network and dataset, and what of the recipe varies."""
    varying = [i for i in range(2, 2 + len(RECIPE)) if len({group[i] for group in groups}) > 1]
    titles = []
    for group in groups:
        parts = [f"{RECIPE[i - 2].replace('_', ' ')} {group[i]}" for i in varying]
        titles.append(", ".join([title({"network": group[0], "dataset": group[1]}), *parts]))
    return titles


def title(row: Row) -> str:
    """Network and dataset of a row, as a panel says them."""
    return f"{_network(row['network'])} on {row['dataset']}"


def _network(name: str) -> str:
    known = {"lenet_300_100": "LeNet-300-100", "conv2_bn": "Conv-2 (batch norm)"}
    return known.get(name, name)


def _span(counts: set[int]) -> str:
    low, high = min(counts, default=0), max(counts, default=0)
    return str(low) if low == high else f"{low}–{high}"
