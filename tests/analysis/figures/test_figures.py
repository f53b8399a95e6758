"""Figures: the facts that are drawn, and the record of their origin inside the files."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfReader

from analysis import figures, style
from analysis.database.connection import connect
from analysis.figures import axes
from analysis.figures.kinds import density_by_layer
from analysis.stats import summary
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.small import TINY, write_sweep
from tombola.errors import FigureError, StoreError

ALL = ["accuracy-vs-sparsity", "ablations", "density-by-layer"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    grids = [*TINY["grids"], {"method": "magnitude", "density": 0.0001}]
    recipe = {**TINY["recipe"], "lr": [0.1, 0.05]}
    asked = study.read(
        write_sweep(
            folder,
            replicates=3,
            grids=grids,
            recipe=recipe,
            network=["lenet_300_100", "conv2_bn"],
            figures=ALL,
        )
    )
    assert not study.run(asked, folder / "store", InlineExecutor()).failures
    return folder / "store"


def test_a_point_is_the_mean_and_spread_of_its_replicates(store: Path) -> None:
    connection = connect(store)
    facts = figures.select(connection, "tiny", "accuracy-vs-sparsity", {})
    rows = connection.execute(
        "SELECT 100 * avg(accuracy), 100 * stddev_samp(accuracy), count(*) FROM trials"
        " WHERE method = 'snip' AND ablation = 'none' AND level = 5 AND lr = 0.1"
        " AND network = 'conv2_bn'"
    ).fetchone()
    assert rows is not None
    panel = next(p for p in facts.panels if p.title == "Conv-2 (batch norm) on digits")
    point = next(s for s in panel.series if s.label == "SNIP, lr 0.1").points[1].shown
    assert point.centre == pytest.approx(rows[0])
    assert point.low == pytest.approx(rows[0] - rows[1])
    assert point.n == rows[2] == 3


def test_different_settings_never_share_a_curve(store: Path) -> None:
    facts = figures.select(connect(store), "tiny", "accuracy-vs-sparsity", {})
    assert [panel.network for panel in facts.panels] == ["lenet_300_100", "conv2_bn"]
    for panel in facts.panels:
        labels = [one.label for one in panel.series]
        assert len(labels) == 10
        assert set(labels) == {
            f"{name}, lr {lr}"
            for lr in (0.1, 0.05)
            for name in ("Random", "SNIP", "IMP, rewound to 0", "IMP, rewound to 3", "Magnitude")
        }
        assert all(p.shown.n == 3 for one in panel.series for p in one.points)
        assert [dense.label for dense in panel.dense] == ["Dense, lr 0.1", "Dense, lr 0.05"]
        assert [dense.shown.n for dense in panel.dense] == [3, 3]


def test_options_choose(store: Path) -> None:
    options = {"methods": ["imp"], "networks": ["conv2_bn"], "spread": "minmax"}
    facts = figures.select(connect(store), "tiny", "accuracy-vs-sparsity", options)
    assert {one.method for panel in facts.panels for one in panel.series} == {"imp"}
    assert len(facts.panels) == 1
    assert "minimum to maximum" in facts.note


def test_the_ablation_grid_compares_methods_that_have_ablations(store: Path) -> None:
    facts = figures.select(connect(store), "tiny", "ablations", {"networks": ["conv2_bn"]})
    labels = {f"{name}, lr {lr}" for name in ("Random", "SNIP") for lr in (0.1, 0.05)}
    assert {cell.method for cell in facts.cells} == labels
    assert [c.ablation for c in facts.cells[0].curves] == ["none", "shuffle"]
    with pytest.raises(FigureError, match="nothing to compare"):
        figures.select(connect(store), "tiny", "ablations", {"methods": ["imp"]})


def test_a_layer_that_keeps_nothing_is_marked(store: Path) -> None:
    options = {"methods": ["magnitude"], "networks": ["lenet_300_100"]}
    facts = figures.select(connect(store), "tiny", "density-by-layer", options)
    layers = [layer for cell in facts.cells for p in cell.profiles for layer in p.layers]
    assert any(layer.collapsed == 3 and layer.density.centre == 0 for layer in layers)
    assert "×" in facts.note
    with style.style():
        drawn = density_by_layer.draw(facts)
    marks = [line.get_marker() for ax in drawn.subfigs[2].axes for line in ax.lines]
    assert "x" in marks


def test_the_footnote_owns_up_to_what_is_missing(store: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(store, tmp_path / "store"))
    study.register(study.read(write_sweep(tmp_path, replicates=4)), copy)
    facts = figures.select(connect(copy), "tiny", "accuracy-vs-sparsity", {})
    assert "Mean of 3 replicates, band ± 1 standard deviation. 27 of 36 trials done." in facts.note


def test_the_same_store_gives_the_same_bytes_and_they_say_where_they_come_from(
    store: Path, tmp_path: Path
) -> None:
    one = figures.draw(store, "tiny", ALL, tmp_path / "one")
    two = figures.draw(store, "tiny", ALL, tmp_path / "two")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    for path in one:
        if path.suffix == ".png":
            with Image.open(path) as image:
                about: dict[str, Any] = json.loads(image.info["Provenance"])
        else:
            about = json.loads(PdfReader(path).metadata["/Keywords"])
        assert about["figure"] == path.stem
        assert about["sweep"] == "tiny"
        assert "FROM trials" in about["sql"]
        assert len(about["digest"]) == 64
        assert about["runs"] > 50
        assert about["code"][0].startswith("0.1.0")


def test_pdfs_have_the_exact_width_and_embed_their_fonts(store: Path, tmp_path: Path) -> None:
    asked = [{"ablations": {"width": "icml-column"}}]
    path = figures.draw(store, "tiny", asked, tmp_path)[0]
    page = PdfReader(path).pages[0]
    assert float(page.mediabox.width) / 72 == pytest.approx(3.25, abs=0.01)
    fonts = page["/Resources"]["/Font"]
    assert all(fonts[name]["/Subtype"] in ("/Type0", "/TrueType") for name in fonts)


def test_a_figure_asked_twice_is_two_files(store: Path, tmp_path: Path) -> None:
    asked = ["ablations", {"ablations": {"methods": ["snip"]}}]
    drawn = figures.draw(store, "tiny", asked, tmp_path)
    assert [p.name for p in drawn if p.suffix == ".pdf"] == ["ablations.pdf", "ablations-2.pdf"]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("acuracy-vs-sparsity", "did you mean accuracy-vs-sparsity?"),
        ({"ablations": {"spread": "sem"}}, "spread takes std, minmax, ci95, bootstrap, not 'sem'"),
        ({"ablations": {"methods": "imp"}}, "methods takes a list"),
        ({"accuracy-vs-sparsity": {"chance": 10}}, "chance takes a number between 0 and 1"),
        ({"density-by-layer": {"chance": 0.1}}, "has no option 'chance'"),
    ],
)
def test_a_bad_figure_is_told_in_a_sentence(asked: Any, problem: str, tmp_path: Path) -> None:
    assert problem in figures.check([asked])[0]


def test_nothing_to_draw_is_told_and_draws_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    from tombola.store.publish import open_store

    open_store(store, create=True)
    study.register(study.read(write_sweep(tmp_path)), store)
    with pytest.raises(FigureError, match="nothing to draw yet"):
        figures.draw(store, "tiny", ALL, tmp_path / "out")
    with pytest.raises(StoreError, match="no sweep 'other'; it has tiny"):
        figures.draw(store, "other", ALL, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_summaries() -> None:
    assert summary([1.0, 2.0, 6.0], "minmax") == summary([1.0, 2.0, 6.0], "minmax")
    found = summary([1.0, 2.0, 6.0], "minmax")
    assert (found.centre, found.low, found.high, found.n) == (3.0, 1.0, 6.0, 3)
    found = summary([1.0, 3.0], "std")
    assert found.high == pytest.approx(2 + 2**0.5)
    found = summary([1.0, 3.0], "ci95")
    assert found.high == pytest.approx(2 + 12.706, abs=1e-3)
    alone = summary([5.0])
    assert (alone.low, alone.high) == (None, None), "one replicate has no spread"
    with pytest.raises(ValueError, match="at least one"):
        summary([])


def test_ticks_keep_both_ends_and_do_not_crowd() -> None:
    densities = [0.8**n for n in range(19)]
    ticks = axes._thinned(densities, 9)
    assert ticks[0] == 1.0
    assert ticks[-1] == densities[-1]
    assert 5 <= len(ticks) <= 10
    assert ticks == sorted(ticks, reverse=True)


def test_a_method_looks_the_same_in_every_figure() -> None:
    looks = [style.look(name) for name in style.METHODS]
    assert (
        len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(looks)
    )
    assert style.look("my_method") == style.look("my_method")


def test_the_reported_accuracy_is_the_one_asked_for_and_said(tmp_path: Path) -> None:
    """Last, best on validation and best on test are three numbers; a figure names its choice."""

    path = write_sweep(
        tmp_path,
        eval=["train", "val", "test"],
        recipe={"steps": 60, "batch_size": 64, "lr": 0.5, "evaluate_every": 5},
        grids=[{"method": "snip", "density": [0.5]}],
    )
    study.run(study.read(path), tmp_path / "store", InlineExecutor())
    with connect(tmp_path / "store") as connection:
        row = connection.execute(
            "SELECT accuracy, best_val_accuracy, best_accuracy FROM trials WHERE method = 'snip'"
        ).fetchone()
        for report, expected in zip(("last", "best_val", "best"), row, strict=True):
            facts = figures.select(connection, "tiny", "accuracy-vs-sparsity", {"report": report})
            [point] = facts.panels[0].series[0].points
            assert point.shown.centre == pytest.approx(100 * expected)
            assert ("peeks" in facts.note) == (report == "best")
    assert row[2] >= max(row[:2])


def test_layer_collapse_and_pruning_steps_are_drawn_from_what_is_stored(tmp_path: Path) -> None:
    from analysis.figures.kinds import accuracy_vs_pruning_step, layer_collapse

    path = write_sweep(
        tmp_path,
        grids=[
            {"method": "magnitude", "compression": {"log10": "0.5..4..0.5"}, "train": False},
            {"method": ["random", "snip"], "density": [0.3], "prune_step": [0, 4, 8]},
            {
                "method": {"magnitude_after_training": {"retrain": "weights"}},
                "density": [0.3],
                "rewind_step": [0, 4, 8],
            },
        ],
    )
    study.run(study.read(path), tmp_path / "store", InlineExecutor())
    with connect(tmp_path / "store") as connection:
        facts = figures.select(connection, "tiny", "layer-collapse", {"methods": ["magnitude"]})
        [panel] = facts.panels
        [limit] = panel.methods[0].limits
        smallest = connection.execute(
            "SELECT compression, min(kept) FROM trials JOIN layers USING (mask_key) "
            "WHERE method = 'magnitude' GROUP BY ALL"
        ).fetchall()
        assert limit.compression == max(c for c, kept in smallest if kept)
        assert not limit.open
        assert panel.most == pytest.approx(50_200 / 3)
        layer_collapse.draw(facts).savefig(tmp_path / "collapse.png")
        options = {"methods": ["random", "snip", "magnitude_after_training"]}
        steps = figures.select(connection, "tiny", "accuracy-vs-pruning-step", options)
        [panel] = steps.panels
        assert {c.method: [p.step for p in c.points] for c in panel.curves} == {
            "random": [0, 4, 8],
            "snip": [0, 4, 8],
            "magnitude_after_training": [0, 4, 8],
        }
        accuracy_vs_pruning_step.draw(steps).savefig(tmp_path / "steps.png")


def test_a_metric_is_shown_in_its_own_unit_and_said_on_the_axis(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path,
        replicates=2,
        eval=["train", "val", "test"],
        grids=[
            {"method": "imp", "levels": [0, 2], "rewind_step": [0, 4], "measure": "barrier"},
            {"method": "snip", "levels": [2]},
        ],
    )
    study.run(study.read(path), tmp_path / "store", InlineExecutor())
    asked = ["barrier", "early-stopping", {"accuracy-vs-sparsity": {"metric": "delta"}}]
    assert len(figures.draw(tmp_path / "store", "tiny", asked, tmp_path / "figures")) == 6
    with connect(tmp_path / "store") as connection:
        facts = figures.select(connection, "tiny", "barrier", {})
        assert facts.metric == "Error barrier (points)"
        assert {c.method for p in facts.panels for c in p.curves} == {"imp"}
        [(expected,)] = connection.execute(
            "SELECT 100 * avg(barrier) FROM trials WHERE level = 2 AND rewind_step = 4"
        ).fetchall()
        panel = next(p for p in facts.panels if p.title.endswith("64% left"))
        assert panel.curves[0].points[1].shown.centre == pytest.approx(expected)
        assert not panel.dense
        stops = figures.select(connection, "tiny", "early-stopping", {"methods": ["snip"]})
        [(step,)] = connection.execute(
            "SELECT avg(e.step) FROM trials JOIN evals e USING (run_key) WHERE method = 'snip'"
            " AND e.split = 'val' AND e.loss = (SELECT min(loss) FROM evals"
            " WHERE run_key = e.run_key AND split = 'val')"
        ).fetchall()
        assert stops.panels[0].series[0].points[0].shown.centre == pytest.approx(step)
        with pytest.raises(FigureError, match=r"has no barrier to show: .*`measure: barrier`"):
            figures.select(connection, "tiny", "barrier", {"methods": ["snip"]})
        with pytest.raises(FigureError, match="metric takes accuracy, delta"):
            figures.select(connection, "tiny", "barrier", {"metric": "luck"})
