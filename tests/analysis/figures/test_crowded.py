"""Figures of any number of series: nothing is cut off or overlaps, all data are inside the axes.

Every kind is drawn at the width of a page and of a phone. If a figure cannot be drawn, the error
says how to choose fewer series.
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from analysis import figures, style
from analysis.database.connection import connect, scanning
from analysis.figures.kinds import accuracy_vs_sparsity, cost, layer_collapse
from tests.support import build_store, crowd, sheet_layout
from tests.support.build_store import Row, Study
from tombola.errors import FigureError

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{name: (name, "crowd", {}) for name in figures.FIGURES},
    "accuracy-vs-pruning-step": ("accuracy-vs-pruning-step", "steps", {}),
    "barrier": ("barrier", "steps", {"metric": "accuracy"}),
    "critical-difference": ("critical-difference", "ranked", {}),
    "lineage": ("lineage", "ticket", {}),
    "cost-seconds": ("cost", "crowd", {"unit": "seconds"}),
    "overlap-densities": ("mask-overlap", "crowd", {"across": "densities"}),
    "overlap-replicates": ("mask-overlap", "crowd", {"across": "replicates"}),
    "early-stop": ("early-stopping", "crowd", {}),
}
PHONE = style.WIDTHS["icml-column"]
PAGE = 11.0
"""Inches that a figure of a page's width may be high, its title, legend and note included."""

REFUSED = {
    ("critical-difference", 1): "at least three methods",
    ("mask-overlap", 1): "no two masks to compare",
    ("overlap-densities", 60): "choose fewer of its 5 lrs, 12 methods by the figure's options",
}
QUICK = {
    *((name, 7) for name in KINDS),
    *((name, 13) for name in ("accuracy-vs-sparsity", "pareto", "mask-overlap", "layer-collapse")),
    *((name, 60) for name in ("accuracy-vs-sparsity", "early-stopping", "pareto", "cost")),
    *((name, 60) for name in ("layer-collapse", "overlap-replicates", "timeline", "lineage")),
    *REFUSED,
}
"""The rest is drawn by the slow tests: panels by the dozen take seconds each."""


CASES = [
    pytest.param(
        name,
        count,
        marks=() if (name, count) in QUICK else (pytest.mark.slow,),
        id=f"{name}-{count}",
    )
    for name in KINDS
    for count in crowd.COUNTS
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {}


@pytest.fixture
def prepared(
    stores: dict[int, Path], tmp_path_factory: pytest.TempPathFactory, name: str, count: int
) -> figures.Prepared:
    if count not in stores:
        folder = tmp_path_factory.mktemp(f"crowd{count}")
        stores[count] = crowd.build(folder, crowd.settings(count))
    figure, sweep, given = KINDS[name]
    with scanning(stores[count]), connect(stores[count]) as connection:
        if (name, count) in REFUSED:
            with pytest.raises(FigureError, match=REFUSED[name, count]):
                figures.prepare(connection, sweep, {figure: given})
            pytest.skip("refused, as it should be")
        return figures.prepare(connection, sweep, {figure: given})


def drawn(made: figures.Prepared, **changes: Any) -> Figure:
    with style.style():
        figure: Figure = made.draw(replace(made.facts, **changes))
        return figure


@pytest.mark.parametrize(("name", "count"), CASES)
def test_nothing_is_cut_or_overlapped(prepared: figures.Prepared, name: str, count: int) -> None:
    with style.style():
        figure = drawn(prepared, title="A title of some length, as papers have them")
        assert sheet_layout.faults(figure) == []
        assert figure.get_size_inches()[1] <= PAGE + 1.5
        assert sheet_layout.faults(drawn(prepared, width=PHONE, note="")) == []


# ---------------------------------------------------------------- what a reader is told


def facts(store: Path, name: str, sweep: str = "study", **given: Any) -> Any:
    with connect(store) as connection:
        return figures.select(connection, sweep, name, given)


def accuracy(row: Row) -> float:
    return 0.9 - 0.3 * (1 - row["requested_density"]) ** 2


METHODS = [*style.METHODS][:7]

SHAPES: dict[str, tuple[list[str], list[Row]]] = {
    "methods": ([f"mine:score_{n}" for n in range(13)], [{}]),
    "methods, some shipped": ([*style.METHODS, *(f"mine:f{n}" for n in range(12))], [{}]),
    "rates": (["snip"], [{"lr": 0.1 / 1.1**n} for n in range(24)]),
    "methods and rates": (["snip", "imp", "mine:f"], [{"lr": 0.1 / 2**n} for n in range(6)]),
    "two settings": (
        ["snip", "imp"],
        [{"lr": 0.1 / 2**n, "momentum": 0.1 * m} for n in range(4) for m in range(3)],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_panel_has_more_than_a_dozen_and_each_of_them_looks_its_own(
    tmp_path: Path, shape: str
) -> None:
    """A setting has one colour and line in every legend."""
    methods, settings = SHAPES[shape]
    made = Study(accuracy, methods, (0.5, 0.1), settings=settings, replicates=(0,))
    made.write(tmp_path)
    shown = facts(tmp_path, "accuracy-vs-sparsity")
    panels = [
        {one.label: accuracy_vs_sparsity._look(one) for one in panel.series}
        for panel in shown.panels
    ]
    assert sum(map(len, panels)) == len(methods) * len(settings)
    assert max(map(len, panels)) <= 12
    for panel in panels:
        for one, other in combinations(panel.values(), 2):
            assert replace(one, label="") != replace(other, label="")
    if not shown.each_explains:
        known: dict[str, Any] = {}
        for label, look in (pair for panel in panels for pair in panel.items()):
            assert known.setdefault(label, look) == look
    with style.style():
        assert sheet_layout.faults(accuracy_vs_sparsity.draw(shown)) == []


def test_what_is_too_much_for_a_sheet_says_what_to_choose_by(tmp_path: Path) -> None:
    rates: list[Row] = [{"lr": 0.1 / 2**n} for n in range(7)]
    networks = ("lenet_5", "conv_2", "conv_4")
    Study(accuracy, METHODS, (0.5,), networks=networks, settings=rates, replicates=(0,)).write(
        tmp_path
    )
    said = r"fewer of its 3 networks, 7 lrs, 7 methods by the figure's options \(`methods`, `netw"
    for name in ("density-by-layer", "accuracy-vs-sparsity"):
        with pytest.raises(FigureError, match=said):
            facts(tmp_path, name)
        assert facts(tmp_path, name, networks=["conv_2"])


def test_a_series_without_data_in_a_panel_is_named(tmp_path: Path) -> None:
    """IMP has data in no panel, SNIP in one of two."""
    study = Study(accuracy, ("random", "snip", "imp"), (0.5, 0.1), replicates=(0,))
    trials = study.trials()
    build_store.write_sweep(tmp_path, "study", trials)
    for one in trials:
        lacking = one["method"] == "imp" or (one["method"], one["requested_density"]) == (
            "snip",
            0.1,
        )
        took = {"seconds": 0.0} if lacking else {"device": "cpu"}
        run = build_store.run_row(one["run_key"], accuracy(one), **took)
        build_store.write_live(tmp_path, run)
        if one.get("mask_key"):
            mask = build_store.mask_row(one["mask_key"], 0.5, [50], **took)
            build_store.write_live(tmp_path, mask)
    note = facts(tmp_path, "cost", unit="seconds").note
    assert "Without data in 50 % of weights: IMP; 10 % of weights: SNIP, IMP." in note
    assert "Without data" not in facts(tmp_path, "cost").note


def test_costs_that_are_equal_stay_within_a_ticks_width(tmp_path: Path) -> None:
    Study(accuracy, METHODS, (0.5,), settings=[{"lr": 0.1}, {"lr": 0.05}]).write(tmp_path)
    shown = facts(tmp_path, "cost")
    with style.style():
        figure = cost.draw(shown)
        assert sheet_layout.faults(figure) == []
    for ax in figure.subfigs[2].axes:
        low, high = ax.get_xlim()
        assert low * high == pytest.approx(100.0**2), "all cost 100 iterations: in the middle"
        at = ax.transData.transform((100.0, 0))[0]
        drawn_at = [line.get_transform().transform(line.get_xydata())[0][0] for line in ax.lines]
        assert max(abs(x - at) for x in drawn_at) <= 4.6 * figure.dpi / 72


def test_early_stopping_stays_within_the_training(tmp_path: Path) -> None:
    """Means of 0 and 100 have a spread of 71 on either side of 50."""
    study = Study(accuracy, ("snip",), (0.5,), replicates=(0, 1))
    trials = study.trials()
    build_store.write_sweep(tmp_path, "study", trials)
    for one in trials:
        best = 100 * one["replicate"]
        evals = [
            {"step": step, "split": split, "loss": float(step != best), "accuracy": 0.5}
            for step in (0, 100)
            for split in ("val", "test")
        ]
        build_store.write_live(tmp_path, build_store.run_row(one["run_key"], evals=evals))
        if one.get("mask_key"):
            build_store.write_live(tmp_path, build_store.mask_row(one["mask_key"], 0.5, [50]))
    [panel] = facts(tmp_path, "early-stopping").panels
    [point] = panel.series[0].points
    assert (point.shown.low, point.shown.centre, point.shown.high) == (0.0, 50.0, 100.0)


def test_collapse_is_shown_where_the_data_are(tmp_path: Path) -> None:
    """Half a million weights in three layers collapse at a compression of 166,667 at the latest."""
    study = Study(accuracy, ("snip", "imp"), (0.5, 0.02), size=166_667, replicates=(0,))
    study.write(tmp_path)
    shown = facts(tmp_path, "layer-collapse")
    assert "One weight for each layer would be 166,667 ×." in shown.note
    with style.style():
        figure = layer_collapse.draw(shown)
    [ax] = figure.subfigs[2].axes
    assert 50 < ax.get_xlim()[1] < 100


def test_densities_that_are_left_out_are_told(tmp_path: Path) -> None:
    crowd.build(tmp_path, crowd.settings(7))
    with scanning(tmp_path), connect(tmp_path) as connection:
        shown = figures.select(connection, "ticket", "accuracy-vs-pruning-step", {})
    assert len(shown.panels) == 6
    assert "6 of 7 densities; others by the option `densities`." in shown.note


def test_masks_that_are_not_there_are_named(tmp_path: Path) -> None:
    crowd.build(tmp_path, crowd.settings(7)[:2])
    connection = connect(tmp_path)
    trials = connection.execute(
        "SELECT mask_key FROM trials WHERE sweep = 'crowd' AND requested_density = 0.02"
    ).fetchall()
    for (key,) in trials:
        if key:
            build_store.layout.mask(key)
            (tmp_path / build_store.layout.mask(key)).unlink()
    with connect(tmp_path) as after:
        shown = figures.select(after, "crowd", "mask-overlap", {})
    assert [panel.title for panel in shown.panels] == ["50 % of weights"]
    assert "Without two masks to compare: 2 % of weights." in shown.note


@pytest.mark.parametrize(
    ("methods", "labels"),
    [
        (("mine:my_score", "snip"), {"my score", "SNIP"}),
        (("a:score", "b:score"), {"a:score", "b:score"}),
    ],
)
def test_methods_of_ones_own_are_called_by_their_function(
    tmp_path: Path, methods: tuple[str, ...], labels: set[str]
) -> None:
    Study(accuracy, methods, (0.5,), replicates=(0,)).write(tmp_path)
    [panel] = facts(tmp_path, "accuracy-vs-sparsity").panels
    assert {one.label for one in panel.series} == labels
