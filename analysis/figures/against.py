"""One's own accuracies less published ones, where problem, method and compression agree."""

from collections.abc import Iterable, Mapping
from math import isclose

import duckdb
import pyarrow as pa

from analysis import reference, style
from analysis.errors import PublishedError
from analysis.figures import published
from analysis.figures.published import Curve
from analysis.selection import selection, series
from analysis.selection.options import AccuracyOptions
from analysis.selection.series import Panel, Series

_COLUMNS = pa.schema(
    [
        ("problem", pa.string()),
        ("method", pa.string()),
        ("compression", pa.float64()),
        ("own", pa.float64()),
        ("replicates", pa.int64()),
        ("published", pa.float64()),
        ("lowest", pa.float64()),
        ("highest", pa.float64()),
        ("difference", pa.float64()),
        ("remark", pa.string()),
    ]
)
_EQUAL = 0.005
"""How far two compressions may be apart, relatively: files round them differently."""


def against(connection: duckdb.DuckDBPyConnection, sweep: str, name: str) -> pa.Table:
    """Rows of own − published, top-1 on test in per cent, at the best epoch as published.

    `own` is the mean of so many replicates, of each setting apart and unablated; `published`
    a mean too, from `lowest` to `highest` replicate. `remark` is what must be said of a row.

    Raises
    ------
    PublishedError
        When the reference has no curves, or none of the sweep's.
    FigureError
        When no trial of the sweep is done.
    """
    curves = published.translated(name)
    options = AccuracyOptions(report="best")
    panels = series.panels(selection.choose(connection, sweep, options), "minmax")
    matched = [
        (panel, one, curve)
        for panel in panels
        for one in panel.series
        for curve in curves
        if (panel.dataset, panel.network, one.method)
        == (curve.dataset, curve.network, curve.method)
    ]
    if not matched:
        raise PublishedError(f"sweep {sweep} has no pair of {name}, which has {_pairs(curves)}")
    remarks = reference.about(name).remarks
    rows = [row for panel, one, curve in matched for row in _rows(panel, one, curve, remarks)]
    if not rows:
        there = ", ".join(f"{1 / point.density:.3g}" for point in curves[0].points)
        raise PublishedError(f"sweep {sweep} has no compression of {name}, which has {there}")
    return pa.Table.from_pylist(rows, _COLUMNS)


# ---------------------------------------------------------------- details


def _rows(
    panel: Panel, own: Series, curve: Curve, remarks: Mapping[str, str]
) -> Iterable[dict[str, object]]:
    for point in own.points:
        for other in curve.points:
            if isclose(point.density, other.density, rel_tol=_EQUAL):
                yield {
                    "problem": panel.title,
                    "method": own.label,
                    "compression": 1 / point.density,
                    "own": point.shown.centre,
                    "replicates": point.shown.n,
                    "published": other.shown.centre,
                    "lowest": other.shown.low,
                    "highest": other.shown.high,
                    "difference": point.shown.centre - other.shown.centre,
                    "remark": remarks.get(own.method),
                }


def _pairs(curves: Iterable[Curve]) -> str:
    """Datasets with their networks, and methods, as sweep files name them."""
    curves = list(curves)
    pairs = "; ".join(
        f"{dataset}: {', '.join(sorted({o.network for o in curves if o.dataset == dataset}))}"
        for dataset in sorted({one.dataset for one in curves})
    )
    methods = [m for m in style.METHODS if m in {one.method for one in curves}]
    return f"{pairs} (methods {', '.join(methods)})"
