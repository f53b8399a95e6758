"""Mistakes in sweep files: all reported at once, each once and with its line; nothing is lost."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from analysis.database import sql
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.small import tombola, write_sweep
from tombola.cli import app
from tombola.errors import SweepError
from tombola.store import layout


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "s.yaml"
    path.write_text(text)
    ended = tombola("plan", str(path), cwd=folder)
    assert ended.returncode == 2, ended.stdout
    return ended.stderr.replace(str(path), "s.yaml").splitlines()


def test_mistakes_of_every_kind_come_together(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        "name: mistakes\ndataset: digits\nnetwork: lenet_300_100\n"
        "recipe:\n  steps: 20\n  batch_size: 64\n  lr: -0.1\n  momentum: 1.5\n"
        "  weight_decay: [0, -1]\n  label_smoothing: 2\n"
        "grids:\n- {method: random, sparsity: 0.5..0.9, recipe: {lr: 0}}\n"
        "tags: {day: 2024-05-01}\nfigures: [nothing, {pareto: {no: 1}}]\n",
    )
    assert [line.split(" ")[1] for line in said] == [
        *("s.yaml:7:", "s.yaml:8:", "s.yaml:9:", "s.yaml:10:"),
        *("s.yaml:12:", "s.yaml:12:", "s.yaml:13:", "s.yaml:14:", "s.yaml:14:"),
    ]
    assert "the date 2024-05-01: write it in quotes" in said[6]
    assert "no figure 'nothing'" in said[7]


@pytest.mark.parametrize("entry", [3, None, ["cost"], {"a": 1, "b": 2}, {"pareto": 3}])
def test_a_figure_that_is_none_is_one_mistake(entry: object, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, figures=[entry])
    ended = tombola("plan", str(path), cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("sparsity", "0.5..0.9", "0.5..0.9 ends before its second value, 1.5"),
        ("density", "0.1..0.9..1", "ends before its second value, 1.1"),
        ("levels", "0...12", "with two dots between"),
        ("levels", "0..12...2", "with two dots between"),
        ("levels", "..3", "with two dots between"),
        ("levels", "3..", "with two dots between"),
        ("levels", "3..1", "that rises"),
        ("levels", "0..8..0", "that rises"),
        ("compression", "1..1.5", "ends before its second value, 2"),
    ],
)
def test_a_range_that_is_none_is_refused(field: str, text: str, words: str, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, grids=[{"method": "random", field: text}])
    with pytest.raises(SweepError, match=r"takes|ends") as caught:
        study.read(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "count"), [("0..3", 4), ("2..2", 1), ("0..6..3", 3), ("0..7..3", 3)]
)
def test_ranges_hold_their_ends(text: str, count: int, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, grids=[{"method": "random", "levels": text}], dense=False)
    densities = {trial.labels["requested_density"] for trial in study.read(path).trials}
    assert len(densities) == count


@pytest.mark.parametrize(("said", "held"), [(0.1, 144), (144, 144), (0, 0), (0.5, 719)])
def test_validation_is_a_count_or_a_share(said: float, held: int, tmp_path: Path) -> None:
    trial = study.read(write_sweep(tmp_path, validation=said)).trials[0]
    assert trial.run.dataset.validation == held


@pytest.mark.parametrize("said", [-1, 1.5, "many", True, -0.1])
def test_another_validation_is_refused(said: object, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="validation"):
        study.read(write_sweep(tmp_path, validation=said))


def test_fine_tuning_takes_over_all_of_a_recipe_but_its_beginning(tmp_path: Path) -> None:
    recipe = {"steps": 20, "batch_size": 64, "lr": 0.1, "label_smoothing": 0.1}
    recipe |= {"optimizer": "adam", "warmup": 5, "weight_decay": 1e-3}
    grid = {"method": "magnitude_after_training", "sparsity": [0.5], "finetune": {"steps": 10}}
    [trial] = study.read(write_sweep(tmp_path, recipe=recipe, grids=[grid], dense=False)).trials
    tuned, before = trial.run.recipe, trial.dense.recipe
    assert (tuned.label_smoothing, tuned.optimizer, tuned.weight_decay) == (0.1, "adam", 1e-3)
    assert (tuned.steps, tuned.warmup, before.warmup) == (10, 0, 5)


def test_a_condition_that_cannot_be_asked_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path, store = write_sweep(tmp_path), tmp_path / "store"
    run = ("run", str(path), "--executor", "inline", "--where", "bad = 1")
    assert tombola(*run, cwd=tmp_path).returncode == 2
    assert list(layout.published(store / layout.SWEEPS, ".parquet")) == []
    first = study.read(path)
    study.register(first, store)
    before = {p.name: p.read_bytes() for p in layout.published(store / layout.SWEEPS, ".parquet")}
    write_sweep(tmp_path, replicates=3)
    assert tombola(*run, cwd=tmp_path).returncode == 2
    after = {p.name: p.read_bytes() for p in layout.published(store / layout.SWEEPS, ".parquet")}
    assert after == before


@pytest.mark.parametrize("before", [False, True])
def test_a_condition_is_asked_before_its_sweep_is_registered(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver killed during the query leaves nothing, and other drivers see nothing."""
    store = tmp_path / "store"
    if before:
        study.register(study.read(write_sweep(tmp_path)), store)
    path = write_sweep(tmp_path, replicates=3)

    def sweeps() -> dict[str, bytes]:
        there = layout.published(store / layout.SWEEPS, ".parquet")
        return {path.name: path.read_bytes() for path in there}

    left, seen, found = sweeps(), [], []
    query = sql.query

    def killed(*asked: Any, **how: Any) -> Any:
        found.append(query(*asked, **how)["trial"].to_pylist())
        seen.append(sweeps())
        raise SystemExit(137)

    monkeypatch.setattr(sql, "query", killed)
    where = ["--where", "method = 'snip' AND replicate = 2", "--store", str(store)]
    ended = CliRunner().invoke(app, ["run", str(path), "--executor", "inline", *where])
    asked = [(t.labels["method"], t.labels["replicate"]) for t in study.read(path).trials]
    assert ended.exit_code == 137
    assert seen == [left]
    assert sweeps() == left
    assert found == [[number for number, one in enumerate(asked) if one == ("snip", 2)]]


def test_a_figure_that_cannot_be_drawn_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    wanted = ["accuracy-vs-sparsity", "critical-difference", "density-by-layer"]
    path = write_sweep(tmp_path, figures=wanted)
    study.run(study.read(path), tmp_path / "store", InlineExecutor())
    drawn = tombola("figures", str(path), "--format", "svg", cwd=tmp_path)
    assert drawn.returncode == 1
    assert "critical-difference is not drawn: " in drawn.stderr
    assert [Path(line).stem for line in drawn.stdout.split()] == [wanted[0], wanted[2]]
    one = tombola("figures", str(path), "--only", "density-by-layer", "--out", "o", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    assert {p.stem for p in (tmp_path / "o").iterdir()} == {"density-by-layer"}
    changed = f"figures={yaml.safe_dump([{'cost': {'title': 'Mine'}}], default_flow_style=True)}"
    other = tombola("figures", str(path), "--set", changed.strip(), "--format", "svg", cwd=tmp_path)
    assert other.stdout.split() == ["figures/tiny/cost.svg"]


def test_the_version_and_short_help_are_told(tmp_path: Path) -> None:
    from tombola.version import __version__

    assert tombola("--version", cwd=tmp_path).stdout == f"tombola {__version__}\n"
    assert "Usage" in tombola("plan", "-h", cwd=tmp_path).stdout


def test_a_price_without_what_if_is_refused(tmp_path: Path) -> None:
    ended = tombola("plan", str(write_sweep(tmp_path)), "--price", "2", cwd=tmp_path)
    assert (ended.returncode, "--what-if" in ended.stderr) == (2, True)


def test_a_sweep_that_takes_anothers_name_says_what_is_no_longer_asked(tmp_path: Path) -> None:
    grids = [{"method": "random", "sparsity": [0.5, 0.75]}]
    run = ("run", "tiny.yaml", "--executor", "inline", "--no-canary")
    write_sweep(tmp_path, grids=grids)
    assert "the sweep tiny has changed" not in tombola(*run, cwd=tmp_path).stdout
    assert "the sweep tiny has changed" not in tombola(*run, cwd=tmp_path).stdout
    more = [{"method": "random", "sparsity": [0.5, 0.75, 0.9]}]
    write_sweep(tmp_path, grids=more)
    assert "the sweep tiny has changed" not in tombola(*run, cwd=tmp_path).stdout
    write_sweep(tmp_path, grids=[{"method": "magnitude", "sparsity": [0.5]}])
    said = tombola(*run, cwd=tmp_path).stdout
    assert "has changed: 3 of its earlier trials are no longer in it" in said
    assert "Next: tombola sql" in said
    assert "tombola figures" not in said  # it asks for none


def test_missing_files_are_told_by_plan_and_refused_by_run(tmp_path: Path) -> None:
    write_sweep(tmp_path, dataset="mnist")
    there = {"TOMBOLA_DATA": str(tmp_path / "none")}
    planned = tombola("plan", "tiny.yaml", cwd=tmp_path, **there)
    assert planned.returncode == 0
    assert "note: the files of mnist are not in" in planned.stdout
    ended = tombola("run", "tiny.yaml", "--executor", "inline", cwd=tmp_path, **there)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "`tombola data fetch mnist`" in ended.stderr


def test_a_figure_shows_the_settings_that_are_asked_for_alone(tmp_path: Path) -> None:
    from analysis import connect
    from analysis.figures import select

    grid = {"method": "random", "sparsity": [0.5, 0.75], "tags": {"day": "one"}}
    recipe = {"steps": 12, "batch_size": 64, "lr": [0.1, 0.01], "evaluate_every": 4}
    path = write_sweep(tmp_path, grids=[grid], recipe=recipe)
    study.run(study.read(path), tmp_path / "store", InlineExecutor())
    with connect(tmp_path / "store") as connection:

        def curves(**where: object) -> int:
            shown = select(connection, "tiny", "accuracy-vs-sparsity", {"where": where})
            return sum(len(panel.series) for panel in shown.panels)

        assert [curves(), curves(lr=0.1), curves(lr=[0.1, 0.01]), curves(day="one")] == [2, 1, 2, 2]
        with pytest.raises(ValueError, match="did you mean lr"):
            curves(lrr=0.1)
        with pytest.raises(ValueError, match="no pruned trial"):
            curves(day="two")


def test_a_failed_measurement_fails_its_trial(tmp_path: Path, monkeypatch) -> None:
    from analysis import connect
    from orchestrator.node import task

    def broken(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(task.Computing, "_connect", broken)
    grid = {"method": "random", "sparsity": [0.5], "measure": "ramanujan"}
    path = write_sweep(tmp_path, grids=[grid], dense=False)
    assert study.run(study.read(path), tmp_path / "store", InlineExecutor()).failures
    with connect(tmp_path / "store") as connection:
        assert connection.execute("SELECT DISTINCT status FROM trials").fetchall() == [("failed",)]
