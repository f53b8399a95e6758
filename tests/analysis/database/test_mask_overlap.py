"""Overlap of masks, counted on the stored bits and compared with chance."""

from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from analysis import figures
from analysis.database import export, mask_overlap, sql
from analysis.database.connection import connect
from tests.support.build_store import key_of, mask_row, run_row, trial, write_segment, write_sweep
from tombola.errors import FigureError, QueryError, StoreError
from tombola.store import layout
from tombola.store.artifacts import write_mask

ONE, TWO = key_of("one"), key_of("two")
KEPT = {
    ONE: {"0.weight": [[1, 1, 1, 0, 0]] * 3, "1.weight": [[1, 0]]},
    TWO: {"0.weight": [[0, 1, 1, 1, 1]] * 3, "1.weight": [[0, 1]]},
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Build masks of two layers of 15 and 2 weights: 15 bits fill no whole number of bytes."""
    rows = []
    for key, kept in KEPT.items():
        arrays = {name: np.array(values, dtype=bool) for name, values in kept.items()}
        write_mask(tmp_path, key, arrays)
        row = mask_row(key, 0.5, [int(a.sum()) for a in arrays.values()])
        for layer, array in zip(row["layers"], arrays.values(), strict=True):
            layer["size"] = array.size
        rows.append(row)
    write_segment(tmp_path, "a", rows)
    return tmp_path


def test_overlap_counts_bits_and_says_what_chance_gives(store: Path) -> None:
    rows = connect(store).execute("FROM overlap(?, ?)", [ONE, TWO]).fetchall()
    first, second, both = rows
    assert first == ("0.weight", 15, 9, 12, 6, 6 / 15, pytest.approx(7.2 / (21 - 7.2)))
    assert second == ("1.weight", 2, 1, 1, 0, 0.0, pytest.approx(0.5 / 1.5))
    assert both == (None, 17, 10, 13, 6, 6 / 17, pytest.approx(7.7 / (23 - 7.7)))


def test_a_mask_is_all_of_itself_also_where_a_query_asks_for_each_row(store: Path) -> None:
    asked = (
        "SELECT a.key, b.key, jaccard FROM tasks a, tasks b, overlap(a.key, b.key)"
        " WHERE layer IS NULL ORDER BY ALL"
    )
    first, second = sorted((ONE, TWO))
    rows = connect(store).execute(asked).fetchall()
    assert [r for *_, r in rows] == [1, pytest.approx(6 / 17), pytest.approx(6 / 17), 1]
    assert rows[0][:2] == (first, first)
    assert rows[3][:2] == (second, second)


def test_chance_is_what_random_masks_have_in_the_mean() -> None:
    rng = np.random.default_rng(0)
    sizes, a, b = (400, 100), (40, 60), (80, 30)
    found = []
    for _ in range(400):
        shared = sum(
            np.intersect1d(rng.permutation(n)[:k], rng.permutation(n)[:m]).size
            for n, k, m in zip(sizes, a, b, strict=True)
        )
        found.append(shared / (sum(a) + sum(b) - shared))
    drawn = sum(k * m / n for n, k, m in zip(sizes, a, b, strict=True))
    assert np.mean(found) == pytest.approx(drawn / (sum(a) + sum(b) - drawn), rel=0.02)


def test_a_mask_that_was_freed_has_no_overlap_and_is_no_error(store: Path) -> None:
    (store / layout.mask(TWO)).unlink()
    asked = (
        "SELECT kept_by_both, jaccard, chance IS NOT NULL FROM overlap(?, ?) WHERE layer IS NULL"
    )
    assert connect(store).execute(asked, [ONE, TWO]).fetchall() == [(None, None, True)]


def test_a_damaged_mask_is_named_in_a_line(store: Path) -> None:
    path = store / layout.mask(TWO)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises((StoreError, QueryError), match=f"{TWO}.safetensors is truncated") as told:
        sql.query(store, f"FROM overlap('{ONE}', '{TWO}')")
    assert "\n" not in str(told.value)


def test_another_masks_file_under_that_name_is_damage(store: Path) -> None:
    (store / layout.mask(TWO)).write_bytes((store / layout.mask(ONE)).read_bytes())
    with pytest.raises(StoreError, match="holds another mask than its name says"):
        mask_overlap.Masks(store).kept_by_both(ONE, TWO, "0.weight")


@pytest.mark.parametrize("key", ["../../../etc/passwd", "", "A" * 64, None])
def test_nothing_but_masks_can_be_read(store: Path, key: str | None) -> None:
    rows = connect(store).execute("SELECT kept_by_both(?, ?, '0.weight')", [key, key])
    assert rows.fetchall() == [(None,)]


def test_the_published_database_goes_without(store: Path) -> None:
    with duckdb.connect(str(export.publish(store)), read_only=True) as client:
        with pytest.raises(duckdb.Error, match="overlap"):
            client.execute("FROM overlap('a', 'b')")
        assert client.execute("SELECT count(*) FROM tasks").fetchone() == (2,)


# ---------------------------------------------------------------- the figure


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Build two methods at two densities of 100 weights, with two replicates."""
    trials, rows = [], []
    for method, replicate, density in product(("snip", "random"), (0, 1), (0.5, 0.25)):
        key = key_of(method, replicate, density)
        run = key_of("run", method, replicate, density)
        kept = np.zeros(100, dtype=bool)
        begin = 10 * replicate + 25 * (method == "random")
        kept[begin : begin + round(100 * density)] = True
        write_mask(tmp_path, key, {"0.weight": kept})
        rows += [mask_row(key, density, [round(100 * density)]), run_row(run, 0.5, density)]
        more = {"method": method, "replicate": replicate, "requested_density": density}
        trials.append(trial(run, mask_key=key, **more))
    write_segment(tmp_path, "a", rows)
    write_sweep(tmp_path, "study", trials)
    return tmp_path


def test_only_the_masks_of_the_pairs_asked_for_are_compared(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    count = mask_overlap.Masks.kept_by_both

    def counting(held: mask_overlap.Masks, a: str, b: str, layer: str) -> int | None:
        counted.append((a, b))
        return count(held, a, b, layer)

    monkeypatch.setattr(mask_overlap.Masks, "kept_by_both", counting)
    asked = (
        "SELECT jaccard FROM trials a JOIN trials b USING (requested_density, replicate),"
        " overlap(a.mask_key, b.mask_key)"
        " WHERE a.method < b.method AND replicate = 0 AND layer IS NOT NULL"
    )
    assert len(connect(study).execute(asked).fetchall()) == 2
    assert len(counted) == 2, "of 64 pairs that the store's masks make"


def panels(store: Path, **given: Any) -> Any:
    with connect(store) as connection:
        return figures.select(connection, "study", "mask-overlap", given).panels


def test_methods_are_compared_at_one_density_and_replicate(study: Path) -> None:
    half, quarter = panels(study)
    assert (half.lines, half.columns, half.title) == (("Random",), ("SNIP",), "50 % of weights")
    [cell] = half.cells.values()
    assert (cell.jaccard, cell.chance, cell.n) == (
        pytest.approx(100 / 3),
        pytest.approx(100 / 3),
        2,
    )
    [cell] = quarter.cells.values()
    assert (cell.jaccard, cell.chance) == (0, pytest.approx(100 * 6.25 / 43.75))


def test_densities_and_replicates_are_compared_within_a_method(study: Path) -> None:
    snip, random = panels(study, across="densities")
    assert (snip.title, snip.lines, snip.columns) == ("SNIP", ("25 %",), ("50 %",))
    assert snip.cells[0, 0].jaccard == random.cells[0, 0].jaccard == 50
    [panel] = panels(study, across="replicates")
    assert (panel.lines, panel.columns) == (("SNIP", "Random"), ("50 %", "25 %"))
    assert panel.cells[0, 0].jaccard == pytest.approx(100 * 40 / 60)
    assert panel.cells[1, 1].jaccard == pytest.approx(100 * 15 / 35)


def test_masks_that_are_gone_are_left_out_and_none_is_told(study: Path) -> None:
    (study / layout.mask(key_of("snip", 0, 0.5))).unlink()
    assert [cell.n for panel in panels(study) for cell in panel.cells.values()] == [1, 2]
    with pytest.raises(FigureError, match="no two masks to compare across methods"):
        panels(study, methods=["snip"])
