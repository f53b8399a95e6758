"""Differences of a sweep's accuracies and published ones, for equal compressions."""

from collections.abc import Iterable, Mapping
from math import isclose

import duckdb
import pyarrow as pa

from analysis import reference, style
from analysis.figures import published
from analysis.figures.published import Curve
from analysis.selection import selection, series
from analysis.selection.options import AccuracyOptions
from analysis.selection.series import Panel, Series
from tombola.errors import PublishedError

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
"""Relative difference of two equal compressions: files round them differently."""


def against(connection: duckdb.DuckDBPyConnection, sweep: str, name: str) -> pa.Table:
    """Return rows of own − published accuracies: top-1 on test, per cent, at the best epoch.

    `own` is the mean over `replicates` of one setting without ablation. `published` is a mean too,
    with its `lowest` and `highest` replicate. `remark` is a remark on the published method.

    Raises
    ------
    PublishedError
        When the reference has no curves, or none of the sweep's problems and methods.
    FigureError
        When no trial of the sweep is done.
    """
    curves = published.translated(name)
    options = AccuracyOptions(report="best")
    panels = series.panels(selection.choose(connection, sweep, options), "minmax")
    matched = [
        (panel, own, curve)
        for panel in panels
        for own in panel.series
        for curve in curves
        if (panel.dataset, panel.network, own.method)
        == (curve.dataset, curve.network, curve.method)
    ]
    if not matched:
        raise PublishedError(f"sweep {sweep} has no pair of {name}, which has {_pairs(curves)}")
    remarks = reference.about(name).remarks
    rows = [row for panel, own, curve in matched for row in _rows(panel, own, curve, remarks)]
    if not rows:
        known = ", ".join(f"{1 / point.density:.3g}" for point in curves[0].points)
        raise PublishedError(f"sweep {sweep} has no compression of {name}, which has {known}")
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
    """Return datasets with their networks, and methods, as sweep files name them."""
    curves = list(curves)
    pairs = "; ".join(
        f"{dataset}: {', '.join(sorted({o.network for o in curves if o.dataset == dataset}))}"
        for dataset in sorted({curve.dataset for curve in curves})
    )
    methods = [m for m in style.METHODS if m in {curve.method for curve in curves}]
    return f"{pairs} (methods {', '.join(methods)})"
