"""Series of figures against hand computations: exact means, and settings that never mix."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from analysis import figures
from analysis.database.connection import connect
from analysis.figures.kinds import accuracy_vs_sparsity
from analysis.selection.series import Series
from tests.support.build_store import (
    Row,
    Study,
    key_of,
    mask_row,
    run_row,
    trial,
    write_live,
    write_segment,
    write_sweep,
)
from tombola.errors import FigureError, NotAllDrawn


def accuracy(row: Row) -> float:
    """Return numbers exact in binary, 0.5 to 0.96875, different for every density and replicate."""
    return 0.5 + row["requested_density"] / 4 + row["replicate"] / 16


def facts_of(store: Path, given: dict[str, Any] | None = None) -> accuracy_vs_sparsity.Facts:
    with connect(store) as connection:
        return figures.select(connection, "study", "accuracy-vs-sparsity", given or {})


def curves(store: Path, given: dict[str, Any] | None = None) -> dict[str, Series]:
    facts = facts_of(store, given)
    found = [one for panel in facts.panels for one in panel.series]
    assert len({one.label for one in found}) == len(found)
    return {one.label: one for one in found}


# ---------------------------------------------------------------- numbers


def test_points_are_means_of_replicates_densest_first(tmp_path: Path) -> None:
    Study(accuracy, densities=(0.125, 0.5)).write(tmp_path)
    [panel] = facts_of(tmp_path).panels
    [one] = panel.series
    assert [point.density for point in one.points] == [0.5, 0.125]
    values = [62.5, 68.75, 75.0]
    point = one.points[0].shown
    assert (point.centre, point.n) == (mean(values), 3)
    assert point.low == pytest.approx(mean(values) - stdev(values))
    [dense] = panel.dense
    assert dense.shown.centre == 81.25
    assert dense.label == "Dense"
    [extremes] = facts_of(tmp_path, {"spread": "minmax"}).panels[0].series
    assert (extremes.points[0].shown.low, extremes.points[0].shown.high) == (62.5, 75.0)


def test_a_bootstrap_band_lies_around_its_mean_and_is_told(tmp_path: Path) -> None:
    Study(accuracy, densities=(0.5,)).write(tmp_path)
    facts = facts_of(tmp_path, {"spread": "bootstrap"})
    point = facts.panels[0].series[0].points[0].shown
    assert point.low is not None
    assert point.high is not None
    assert 62.5 <= point.low < point.centre < point.high <= 75.0
    assert facts.note == "Mean of 3 replicates, band 95 % bootstrap interval."


def test_a_run_that_answers_two_trials_counts_once(tmp_path: Path) -> None:
    run = key_of("one")
    shared = {"mask_key": key_of("mask")}
    write_sweep(tmp_path, "study", [trial(run, grid=0, **shared), trial(run, grid=1, **shared)])
    write_segment(tmp_path, "a", [run_row(run, 0.75), mask_row(key_of("mask"), 0.5, [50])])
    assert curves(tmp_path)["SNIP"].points[0].shown.n == 1
    assert facts_of(tmp_path).note == "One replicate."


def test_what_is_missing_is_left_out_and_owned_up_to(tmp_path: Path) -> None:
    trials = Study(accuracy, ablations=("none", "shuffle")).trials()
    write_sweep(tmp_path, "study", trials)
    with pytest.raises(FigureError, match="nothing to draw yet: none of 9 trials"):
        facts_of(tmp_path)
    chosen = [t for t in trials if t["ablation"] == "none" and t["method"] != "dense"][:2]
    for one in chosen:
        write_live(tmp_path, run_row(one["run_key"], 0.5))
        write_live(tmp_path, mask_row(one["mask_key"], 0.5, [1]))
    facts = facts_of(tmp_path)
    assert facts.note == "One replicate. 2 of 9 trials done."
    assert facts.panels[0].dense == ()
    assert facts.runs == tuple(sorted(one["run_key"] for one in chosen))


# ---------------------------------------------------------------- settings never mix

VARYING: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "lr": ({"lr": 0.1}, {"lr": 0.03}, {"SNIP, lr 0.1", "SNIP, lr 0.03"}),
    "steps": ({"steps": 10}, {"steps": 20}, {"SNIP, steps 10", "SNIP, steps 20"}),
    "nesterov": ({}, {"nesterov": True}, {"SNIP, nesterov False", "SNIP, nesterov True"}),
    "schedule": ({}, {"schedule": "cosine"}, {"SNIP, constant", "SNIP, cosine"}),
    "prune_step": ({}, {"prune_step": 9}, {"SNIP, pruned at 0", "SNIP, pruned at 9"}),
    "rewind_step": (
        {"rewind_step": 0},
        {"rewind_step": 9},
        {"SNIP, rewound to 0", "SNIP, rewound to 9"},
    ),
    "scope": ({}, {"scope": "layerwise"}, {"SNIP, global", "SNIP, layerwise"}),
    "options": ({}, {"options": '{"per_class": 1}'}, {"SNIP, default", "SNIP, per class 1"}),
}


@pytest.mark.parametrize("column", VARYING)
def test_what_varies_tells_curves_apart(tmp_path: Path, column: str) -> None:
    one, other, expected = VARYING[column]
    Study(accuracy, of_method={"snip": [one, other]}).write(tmp_path)
    found = curves(tmp_path)
    assert set(found) == expected
    assert {curve.variant for curve in found.values()} == {0, 1}
    assert all(point.shown.n == 3 for curve in found.values() for point in curve.points)


def test_a_setting_that_no_column_names_is_told_by_its_grid(tmp_path: Path) -> None:
    """With two fine-tuning recipes, for example, trials have equal labels and different runs."""
    Study(accuracy, of_method={"snip": [{"grid": 1}, {"grid": 4}]}).write(tmp_path)
    assert set(curves(tmp_path)) == {"SNIP, grid 1", "SNIP, grid 4"}


def test_two_of_them_in_one_grid_are_told_by_their_order(tmp_path: Path) -> None:
    hidden = [{"score_seed": 1}, {"score_seed": 2}]
    Study(accuracy, of_method={"snip": hidden}).write(tmp_path)
    found = curves(tmp_path)
    assert set(found) == {"SNIP, grid 0, setting 0", "SNIP, grid 0, setting 1"}
    assert all(point.shown.n == 3 for curve in found.values() for point in curve.points)


def test_grids_that_agree_make_one_curve(tmp_path: Path) -> None:
    rows = [
        trial(key_of(grid), grid=grid, requested_density=density, mask_key=key_of("m", grid))
        for grid, density in ((0, 0.5), (1, 0.25))
    ]
    write_sweep(tmp_path, "study", rows)
    masks = [mask_row(key_of("m", grid), 0.5, [50]) for grid in (0, 1)]
    write_segment(tmp_path, "a", [*(run_row(key_of(grid)) for grid in (0, 1)), *masks])
    assert [point.density for point in curves(tmp_path)["SNIP"].points] == [0.5, 0.25]


def test_a_label_says_only_what_varies_on_one_problem(tmp_path: Path) -> None:
    """Numbers of steps that differ between networks are not two settings."""
    settings = [{"network": "a", "steps": 10}, {"network": "b", "steps": 20}]
    Study(accuracy, networks=("x",), settings=settings).write(tmp_path)
    panels = facts_of(tmp_path).panels
    assert [(p.network, p.series[0].label) for p in panels] == [("a", "SNIP"), ("b", "SNIP")]


def test_ablations_are_panels_of_curves_in_a_fixed_order(tmp_path: Path) -> None:
    there = ("invert", "none", "shuffle")
    Study(accuracy, ("snip", "imp"), ablations=there, networks=("a", "b")).write(tmp_path)
    with connect(tmp_path) as connection:
        facts = figures.select(connection, "study", "ablations", {})
        assert [(c.method, c.problem) for c in facts.cells] == [
            ("SNIP", "a on digits"),
            ("IMP", "a on digits"),
            ("SNIP", "b on digits"),
            ("IMP", "b on digits"),
        ]
        assert [one.ablation for one in facts.cells[0].curves] == ["none", "shuffle", "invert"]
        with pytest.raises(FigureError, match="no method with two ablations"):
            figures.select(connection, "study", "ablations", {"ablations": ["none"]})
        with pytest.raises(FigureError, match="matches; it has methods imp, snip; networks a, b"):
            figures.select(connection, "study", "ablations", {"methods": ["snap"]})


# ---------------------------------------------------------------- layers


def test_layers_are_means_over_masks_and_collapsed_ones_are_counted(tmp_path: Path) -> None:
    def layers(row: Row) -> list[int]:
        return [100, 10 * row["replicate"], 0]

    Study(accuracy, densities=(0.9, 0.5, 0.2, 0.1), layers=layers).write(tmp_path)
    with connect(tmp_path) as connection:
        facts = figures.select(connection, "study", "density-by-layer", {})
        assert facts.densities == (0.9, 0.2, 0.1)
        assert figures.select(
            connection, "study", "density-by-layer", {"densities": [0.4]}
        ).densities == (0.5,)
    [cell] = facts.cells
    profile = cell.profiles[0]
    assert [layer.density.centre for layer in profile.layers] == [100.0, 10.0, 0.0]
    assert [layer.collapsed for layer in profile.layers] == [0, 1, 3]
    assert (profile.layers[1].density.low, profile.layers[1].density.high) == (0.0, 20.0)
    assert "×" in facts.note


# ---------------------------------------------------------------- files


def test_files_are_the_same_bytes_and_say_where_they_come_from(tmp_path: Path) -> None:
    Study(accuracy, ablations=("none", "reinit")).write(tmp_path / "store", revision="abc")
    asked = ["accuracy-vs-sparsity", {"ablations": {"title": "Does it (really) matter? \\ é"}}]
    one, two = (figures.draw(tmp_path / "store", "study", asked, tmp_path / n) for n in "ab")
    assert [path.name for path in one] == [
        f"{name}.{suffix}"
        for name in ("accuracy-vs-sparsity", "ablations")
        for suffix in ("pdf", "png")
    ]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    for path in one:
        about = figures.trace(path)
        assert (about["figure"], about["sweep"], about["revision"]) == (path.stem, "study", "abc")
        assert about["sql"].startswith("SELECT trial, ")
        assert about["code"] == ["0.1.0 abc123"]
    assert about["options"] == asked[1]["ablations"]  # type: ignore[index]
    assert about["runs"] == 15, "three dense, and six with and without their own weights"


def test_the_digest_changes_when_a_result_does(tmp_path: Path) -> None:
    digests = set()
    for changed in ("a", "b"):
        store = tmp_path / changed
        rows = [trial(key_of(1), mask_key=key_of("m"))]
        write_sweep(store, "study", rows)
        write_live(store, run_row(key_of(1), digest=changed))
        write_live(store, mask_row(key_of("m"), 0.5, [1]))
        drawn = figures.draw(store, "study", ["accuracy-vs-sparsity"], tmp_path / "out" / changed)
        digests |= {figures.trace(path)["digest"] for path in drawn}
    assert len(digests) == 2


def test_a_file_of_somebody_else_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"%PDF-1.4 /Keywords (no json)")
    with pytest.raises(FigureError, match="does not say where it comes from"):
        figures.trace(path)


def test_what_cannot_be_drawn_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    Study(accuracy).write(tmp_path / "store")
    wanted = ["accuracy-vs-sparsity", "ablations"]
    with pytest.raises(
        NotAllDrawn, match=r"ablations is not drawn: .*nothing to compare"
    ) as caught:
        figures.draw(tmp_path / "store", "study", wanted, tmp_path / "out")
    assert {path.stem for path in caught.value.drawn} == {"accuracy-vs-sparsity"}
    with pytest.raises(FigureError, match="nothing to compare"):
        figures.draw(tmp_path / "store", "study", wanted[1:], tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (5, "a figure is a name or"),
        ({"ablations": {}, "density-by-layer": {}}, "a figure is a name or"),
        ({"ablations": "std"}, "a figure is a name or"),
        ({"ablations": None}, None),
        ({"ablations": {"title": 5}}, "title takes text, not 5"),
        ({"ablations": {"width": ["iclr"]}}, "width takes iclr, neurips"),
        ({"density-by-layer": {"densities": [0.0]}}, "numbers above 0, up to 1, not [0.0]"),
        ({"accuracy-vs-sparsity": {"floor": True}}, "floor takes a number between 0 and 1"),
        ("ablation", "did you mean ablations?"),
        ("zzz", "known: accuracy-vs-sparsity, early-stopping"),
    ],
)
def test_entries_are_checked(entry: Any, problem: str | None) -> None:
    found = figures.check([entry])
    assert (found == []) if problem is None else (problem in found[0])


def test_provenance_survives_what_formats_escape(tmp_path: Path) -> None:
    said = json.dumps({"figure": "f", "sql": "SELECT f(x) FROM (t) \\ \n 'é' <&amp;> ]]>"})
    from matplotlib.figure import Figure

    from analysis import style
    from analysis.figures import save

    for path in save.save(lambda _: Figure(), None, said, tmp_path / "f", figures.FORMATS):
        assert figures.trace(path) == json.loads(said)
    assert style.WIDTHS["icml-column"] == 3.25
