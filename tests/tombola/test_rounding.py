"""One rule of rounding, in Python and in SQL: half away from zero, of the decimal number."""

import io
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from analysis import report, tables
from analysis.database import connection as results
from analysis.database import macros
from analysis.selection.summary import summary
from tests.support import build_store
from tombola import rounding
from tombola.cli.views.summary import print_summary


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        signature = "rounded(value, digits)"
        [statement] = macros.statements({signature: macros.MACROS[signature]})
        made.execute(statement)
        yield made


HALVES = (97.125, 97.135, 1.005, 2.675, 0.285, -97.125, 0.5, 1.5, 97.1249999999999, 0.0, 12345.675)


@pytest.mark.parametrize("value", HALVES)
@pytest.mark.parametrize("digits", [0, 1, 2, 3])
def test_a_half_goes_away_from_zero(
    connection: duckdb.DuckDBPyConnection, value: float, digits: int
) -> None:
    step = Decimal(1).scaleb(-digits)
    decimal = Decimal(f"{value:.12g}").quantize(step, ROUND_HALF_UP)
    assert rounding.rounded(value, digits) == float(decimal)
    assert rounding.text(value, digits) == f"{float(decimal):z.{digits}f}"
    [(found,)] = connection.execute("SELECT rounded(?, ?)", [value, digits]).fetchall()
    assert found == float(decimal)


@given(st.floats(-1e6, 1e6) | st.decimals(-1000, 1000, places=3).map(float), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_python_and_sql_agree(
    connection: duckdb.DuckDBPyConnection, value: float, digits: int
) -> None:
    sql = f"SELECT {rounding.SQL} FROM (SELECT ?::DOUBLE AS value, ?::INT AS digits)"
    row = connection.execute(sql, [value, digits]).fetchone()
    assert row == (rounding.rounded(value, digits),)


def test_what_is_not_finite_stays() -> None:
    assert [rounding.text(value, 2) for value in (float("inf"), float("nan"))] == ["inf", "nan"]


@pytest.mark.parametrize(
    ("accuracies", "shown"),
    [
        ((0.97125,), "97.13"),
        ((0.9712, 0.9713), "97.13"),
        ((0.97115, 0.97125, 0.97135), "97.13"),
        ((0.9, 0.90015, 0.90015), "90.01"),
        ((0.50005, 0.50005), "50.01"),
    ],
)
def test_a_table_a_report_and_what_closes_a_launch_show_the_same(
    tmp_path: Path, accuracies: tuple[float, ...], shown: str
) -> None:
    """Means of halves, however their sums are rounded."""
    study = build_store.Study(
        lambda row: accuracies[row["replicate"]],
        densities=(0.5,),
        replicates=range(len(accuracies)),
    )
    study.write(tmp_path)
    assert f" {shown}" in tables.render(tmp_path, "study")
    page = report.write(tmp_path, "study", tmp_path / "report.html").read_text()
    assert f">{shown}<" in page
    console = Console(file=io.StringIO(), width=120)
    print_summary(console, "study", summary(results.connect(tmp_path), "study"))
    assert f" {shown}" in console.file.getvalue()  # type: ignore[attr-defined]
