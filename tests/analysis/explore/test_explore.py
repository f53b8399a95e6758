"""Content of the page of `tombola explore`, without a browser: filters, progress, figures, HTML."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from analysis import explore
from analysis.explore import markup
from analysis.explore.snapshot import Filter, Snapshot
from analysis.report.contents import Picture
from tests.support.build_store import Row, Study, key_of, note, run_row, write_live, write_sweep
from tombola.errors import ExploreError, StoreError
from tombola.store import arrow

FIGURES = ["ablations", "accuracy-vs-sparsity", {"accuracy-vs-sparsity": {"title": "Best"}}]
STUDY = Study(
    lambda row: row["requested_density"] ** 0.25,
    methods=["snip", "imp"],
    ablations=["none", "shuffle"],
    networks=["lenet_300_100", "conv2_bn"],
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explore")
    STUDY.write(folder, figures=FIGURES)
    waiting = [{**row, "run_key": key_of("later", row["trial"])} for row in numbered()]
    write_sweep(folder, "later", waiting, registered_at="2026-02-01T00:00:00")
    return folder


@pytest.fixture(scope="module")
def seen(store: Path) -> Snapshot:
    return Snapshot(store)


def numbered() -> list[Row]:
    return [{"trial": number, **row} for number, row in enumerate(STUDY.trials())]


def asked_of(label: str) -> list[str]:
    return label.partition(": ")[2].split(", ")


# ---------------------------------------------------------------- what is asked for


def test_sweeps_are_the_latest_first_with_all_that_can_be_chosen(seen: Snapshot) -> None:
    sweeps = seen.sweeps
    assert list(sweeps) == ["later", "study"]
    assert sweeps["study"].everything == Filter(
        ["conv2_bn", "lenet_300_100"], ["digits"], ["imp", "snip"], ["none", "shuffle"]
    )


def test_figures_that_the_sweep_asks_for_come_first_and_each_has_its_name(seen: Snapshot) -> None:
    figures = seen.sweeps["study"].figures
    assert list(figures)[:3] == ["Ablations", "Accuracy vs sparsity", "Accuracy vs sparsity: Best"]
    assert list(figures.values())[:3] == FIGURES
    assert figures["Layer collapse"] == "layer-collapse"


def test_figures_of_one_name_are_numbered(tmp_path: Path) -> None:
    options = [{"ablations": {"spread": spread}} for spread in ("std", "minmax", "ci95")]
    Study(STUDY.accuracy).write(tmp_path, figures=options)
    figures = Snapshot(tmp_path).sweeps["study"].figures
    assert list(figures)[:3] == ["Ablations", "Ablations #2", "Ablations #3"]
    assert list(figures.values())[:3] == options


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("chosen", "passes"),
    [
        (Filter(), lambda row: True),
        (Filter(methods=["snip"]), lambda row: row["method"] in ("snip", "dense")),
        (
            Filter(networks=["conv2_bn"], ablations=["shuffle"]),
            lambda row: (
                row["network"] == "conv2_bn"
                and (row["ablation"] == "shuffle" or row["method"] == "dense")
            ),
        ),
        (Filter(datasets=["it's none"]), lambda row: False),
    ],
    ids=["nothing", "method", "network and ablation", "quoted"],
)
def test_a_filter_passes_what_it_names_and_its_dense_networks(
    seen: Snapshot, chosen: Filter, passes: Callable[[Row], bool]
) -> None:
    found = seen.trials("study", chosen)["trial"].to_pylist()
    assert found == [row["trial"] for row in numbered() if passes(row)]


def test_a_figure_is_of_the_trials_that_pass(seen: Snapshot) -> None:
    of_all = seen.figure("study", "ablations", Filter())
    of_one = seen.figure("study", "ablations", Filter(methods=["snip"], networks=["conv2_bn"]))
    assert (of_all.about or {})["runs"] == len(STUDY.trials())
    # one method at two densities, two ablations and three replicates, and its dense networks
    assert (of_one.about or {})["runs"] == 2 * 2 * 3 + 3
    assert seen.figure("later", "ablations", Filter()).problem.startswith("nothing to draw yet")


def test_learning_curves_are_of_the_chosen_trials_alone(seen: Snapshot) -> None:
    named = seen.trained("study", Filter(methods=["imp"], networks=["conv2_bn"]))
    assert len(named) == 2 * 2 * 3
    assert all(asked_of(label)[0] == "IMP" for label in named)
    label = next(label for label in named if "shuffled" in label)
    shown = seen.learning("study", [named[label]])
    assert shown.problem == ""
    assert (shown.about or {})["options"] == {"ablations": [], "trials": [named[label]]}
    assert shown.note.startswith("One replicate.")
    both = seen.learning("study", [number for one, number in named.items() if "50 %" in one])
    assert "3 replicates" in both.note


def test_all_densities_of_chosen_trials_are_drawn(tmp_path: Path) -> None:
    from analysis import figures
    from analysis.database.connection import connect

    densities = [round(0.8**n, 6) for n in range(1, 12)]
    Study(STUDY.accuracy, densities=densities, replicates=[0]).write(tmp_path)
    with connect(tmp_path) as connection:
        every = {"trials": list(range(1, 12))}
        drawn = figures.select(connection, "study", "learning-curves", every)
        assert drawn.densities == tuple(densities)
        assert len(figures.select(connection, "study", "learning-curves", {}).densities) == 6
    assert figures.check([{"learning-curves": {"trials": ["1"]}}]) == [
        "learning-curves: trials takes a list of trials' numbers, not ['1']"
    ]


# ---------------------------------------------------------------- progress


def test_a_store_that_changes_is_noticed_and_counted(tmp_path: Path) -> None:
    trials = Study(STUDY.accuracy).trials()
    write_sweep(tmp_path, "study", trials)
    before = Snapshot(tmp_path)
    assert before.progress() == {"study": {"done": 0, "failed": 0, "blocked": 0, "pending": 9}}
    assert before.mark == arrow.mark(tmp_path)
    assert before.heard("study") is None

    dense, pruned = trials[0]["run_key"], trials[1]["run_key"]
    write_live(tmp_path, run_row(dense))
    about = {"kind": "run", "noted_at": "2026-01-01T00:00:00"}
    note(
        tmp_path,
        {"event": "dispatched", "key": dense, **about},
        {"event": "finished", "key": dense, **about, "noted_at": "2026-01-01T00:00:01"},
        {"event": "dispatched", "key": trials[2]["run_key"], **about},
        {"event": "failed", "key": pruned, "failure": "memory", "message": "no more", **about},
    )
    assert before.mark != arrow.mark(tmp_path)
    after = Snapshot(tmp_path)
    assert after.progress()["study"] == {"done": 1, "failed": 1, "blocked": 0, "pending": 7}
    [tasks] = after.tasks("study").to_pylist()
    assert tasks == {"task": "run", "finished": 1, "running": 1, "failed": 1, "blocked": 0}
    [failed] = after.failures("study").to_pylist()
    assert (failed["class"], failed["message"], failed["tasks"]) == ("memory", "no more", 1)
    assert after.heard("study") == datetime(2026, 1, 1, second=1, tzinfo=UTC)


def test_a_launch_of_another_sweep_is_not_this_ones(tmp_path: Path) -> None:
    write_sweep(tmp_path, "study", Study(STUDY.accuracy).trials())
    note(
        tmp_path,
        {"event": "failed", "key": key_of("other"), "kind": "run", "noted_at": "2026-01-01"},
    )
    snapshot = Snapshot(tmp_path)
    assert snapshot.tasks("study").num_rows == snapshot.failures("study").num_rows == 0


def test_a_store_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        Snapshot(tmp_path / "nowhere")


# ---------------------------------------------------------------- HTML


def test_whatever_a_store_says_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    counts = dict.fromkeys(("done", "failed", "blocked", "pending"), 1)
    page = markup.progress({evil: counts}, evil)
    page += markup.table(evil, pa.table({evil: [evil]}))
    page += markup.picture(Picture("title", problem=evil))
    about = {"runs": 1, "digest": evil}
    page += markup.picture(Picture(evil, "<svg/>", "<svg/>", evil, about))
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x") == 8


def test_the_chosen_sweep_is_first_and_not_all_are_shown() -> None:
    counts = {"done": 1200, "failed": 1, "blocked": 0, "pending": 0}
    page = markup.progress({f"sweep{n}": counts for n in range(11)}, "sweep10")
    assert page.index("sweep10") < page.index("sweep0")
    assert page.count("1,200 of 1,201 trials done, 1 failed") == markup.MOST
    assert "and 3 more" in page


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(seconds=-2), "0\N{NO-BREAK SPACE}s ago"),
        (timedelta(seconds=59), "59\N{NO-BREAK SPACE}s ago"),
        (timedelta(minutes=5), "5\N{NO-BREAK SPACE}min ago"),
        (timedelta(hours=7), "7\N{NO-BREAK SPACE}h ago"),
        (timedelta(days=3), "3\N{NO-BREAK SPACE}d ago"),
    ],
)
def test_how_long_ago_is_said_in_one_unit(ago: timedelta, said: str) -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    assert markup.heard(now - ago, now) == f"last heard of {said}"


def test_no_rows_are_no_table() -> None:
    assert markup.table("Failures", pa.table({"class": pa.array([], pa.string())})) == ""


# ---------------------------------------------------------------- serving


def test_a_port_that_is_taken_is_one_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "find_spec", lambda name: object())
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ExploreError, match=f"port {port}: .*; name another with --port"):
            explore.serve(store, port, pytest.fail)


def test_without_marimo_it_is_said_how_to_get_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explore, "find_spec", lambda name: None)
    with pytest.raises(ExploreError, match="pip install marimo"):
        explore.serve(store, 2718, pytest.fail)
