"""The real command, from a sweep file to figures, as a user runs it."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analysis.figures import trace
from tests.support.small import command, outcome, tombola, write_sweep

FIGURES = ["accuracy-vs-sparsity", "ablations", "density-by-layer"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a sweep by Ray; return its folder."""
    folder = tmp_path_factory.mktemp("commands")
    write_sweep(folder, figures=FIGURES)
    ran = command("run", "tiny.yaml", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "13 of 13 trials done" in ran.stdout
    assert "Next: tombola figures tiny.yaml" in ran.stdout
    assert ran.stderr == ""
    return folder


def test_plan_says_what_would_run_and_runs_nothing(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    planned = tombola("plan", "tiny.yaml", "--why", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    for word in ("trials", "trial by trial", "shared", "critical path", "expected time", "disk"):
        assert word in planned.stdout
    assert "not in the store" in planned.stdout
    assert not (tmp_path / "store").exists()


def test_a_second_run_does_nothing_and_starts_no_ray(done: Path) -> None:
    program = (
        "import sys; from tombola.cli import app\n"
        "try: app(['run', 'tiny.yaml'])\n"
        "except SystemExit as end: code = end.code\n"
        "assert not code and 'ray' not in sys.modules and 'torch' not in sys.modules"
    )
    import subprocess
    import sys

    before = outcome(done / "store")
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=done, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Nothing to do: all 13 trials are answered" in ran.stdout
    assert outcome(done / "store") == before


def test_ray_and_inline_give_the_same_results(done: Path, tmp_path: Path) -> None:
    write_sweep(tmp_path)
    ran = tombola("run", "tiny.yaml", "--executor", "inline", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert outcome(tmp_path / "store") == outcome(done / "store")


def test_status_tells_of_a_finished_sweep(done: Path) -> None:
    told = tombola("status", cwd=done)
    assert told.returncode == 0
    assert "tiny" in told.stdout
    assert "0 failed, 0 blocked" in told.stdout


def test_sql_in_every_format(done: Path) -> None:
    query = (
        "SELECT method, count(*) AS n, avg(accuracy) AS accuracy FROM trials GROUP BY 1 ORDER BY 1"
    )
    table = tombola("sql", query, cwd=done)
    assert "random" in table.stdout
    rows = list(
        csv.DictReader(tombola("sql", query, "--format", "csv", cwd=done).stdout.splitlines())
    )
    assert [row["method"] for row in rows] == ["dense", "imp", "random", "snip"]
    parsed = json.loads(tombola("sql", query, "--format", "json", cwd=done).stdout)
    assert parsed[0]["n"] == 1
    assert 0 < parsed[0]["accuracy"] <= 1


def test_sql_reads_standard_input_and_writes_parquet(done: Path) -> None:
    import subprocess
    import sys

    ran = subprocess.run(
        [sys.executable, "-m", "tombola.cli", "sql", "-", "--format", "parquet"],
        input=b"SELECT * FROM evals",
        cwd=done,
        capture_output=True,
        check=True,
    )
    (done / "out.parquet").write_bytes(ran.stdout)
    assert set(pq.read_table(done / "out.parquet")["split"].to_pylist()) == {"train", "test"}


@pytest.mark.usefixtures("queries_here")
def test_sql_without_a_query_shows_the_schema_and_examples_that_run(done: Path) -> None:
    shown = tombola("sql", cwd=done).stdout
    assert "top-1 on test at the last step" in shown
    examples = [line.split('"')[1] for line in shown.splitlines() if 'tombola sql "' in line]
    assert len(examples) == 4
    for example in examples:
        assert tombola("sql", example, cwd=done).returncode == 0


@pytest.mark.usefixtures("queries_here")
@pytest.mark.parametrize("sweep", ["tiny.yaml", "tiny"])
def test_figures_are_drawn_from_the_file_or_from_the_store_alone(done: Path, sweep: str) -> None:
    drawn = tombola("figures", sweep, "--out", "drawn", cwd=done)
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(p.name for p in (done / "drawn").iterdir()) == sorted(
        f"{name}.{suffix}" for name in FIGURES for suffix in ("pdf", "png")
    )


@pytest.mark.parametrize("sweep", ["tiny.yaml", "tiny"])
def test_a_report_is_written_from_the_file_or_from_the_store_alone(done: Path, sweep: str) -> None:
    told = tombola("report", sweep, cwd=done)
    assert (told.returncode, told.stderr) == (0, "")
    path = Path(told.stdout.strip())
    assert path == Path("figures/tiny/report.html")
    text = (done / path).read_text()
    assert "13 of 13 trials done" in text
    assert text.count("<figure>") == text.count("<figcaption>") == len(FIGURES)
    told = tombola("report", sweep, "--out", "elsewhere/x.html", cwd=done)
    assert told.stdout.strip() == "elsewhere/x.html"
    assert (done / "elsewhere" / "x.html").read_text() == text


def test_lint_says_what_is_missing_and_fails_only_when_strict(done: Path) -> None:
    told = tombola("lint", "tiny.yaml", cwd=done)
    assert told.returncode == 0, told.stderr
    assert "1 pair: lenet_300_100 on digits" in told.stdout
    assert "warning" in told.stdout
    strict = tombola("lint", "tiny", "--strict", cwd=done)
    assert (strict.returncode, strict.stdout) == (1, told.stdout)


@pytest.mark.usefixtures("queries_here")
def test_show_tells_what_a_key_is_where_it_came_from_and_who_uses_it(done: Path) -> None:
    query = "SELECT mask_key FROM trials WHERE method = 'imp' AND level = 2 LIMIT 1"
    key = json.loads(tombola("sql", query, "--format", "json", cwd=done).stdout)[0]["mask_key"]
    shown = tombola("show", key[:10], cwd=done).stdout
    assert f"mask {key}" in shown
    assert "magnitude" in shown
    assert "inputs" in shown
    assert "lenet_300_100 dense, steps 0-12" in shown
    assert "used by 1 tasks and 1 trials" in shown


@pytest.mark.usefixtures("queries_here")
def test_verify_and_compact(done: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(done / "store", tmp_path / "store")
    assert "is whole" in tombola("verify", cwd=tmp_path).stdout
    assert "merged" in tombola("compact", cwd=tmp_path).stdout
    assert "is whole" in tombola("verify", cwd=tmp_path).stdout
    query = "SELECT * FROM trials ORDER BY trial"
    one = tombola("sql", query, "--format", "csv", cwd=done).stdout
    two = tombola("sql", query, "--format", "csv", cwd=tmp_path).stdout
    assert one == two


@pytest.mark.usefixtures("queries_here")
def test_a_failing_task_fails_the_run_with_1_and_the_rest_is_done(tmp_path: Path) -> None:
    grids = [
        {"method": {"snip": {"per_class": 9999}}, "levels": [1]},
        {"method": "magnitude", "levels": [1]},
    ]
    write_sweep(tmp_path, grids=grids)
    ran = tombola("run", "tiny.yaml", "--executor", "inline", cwd=tmp_path)
    assert ran.returncode == 1
    assert "1 x raised: per_class takes at most" in ran.stdout
    assert "blocked 1 tasks need a task that failed" in ran.stdout
    statuses = tombola(
        "sql", "SELECT method, status FROM trials ORDER BY trial", "--format", "csv", cwd=tmp_path
    ).stdout.split()
    assert statuses[1:] == ["dense,done", "snip,failed", "magnitude,done"]


@pytest.mark.slow
def test_a_launch_among_foreign_modules_of_the_same_names_uses_ours(tmp_path: Path) -> None:
    """`tasks` and `tests` are common names; the installed command must not import them."""
    import subprocess
    import sys

    write_sweep(tmp_path, grids=[{"method": "snip", "levels": [1]}])
    for name in ("tasks.py", "analysis.py", "orchestrator.py"):
        (tmp_path / name).write_text("raise SystemExit('a foreign module was imported')")
    command = Path(sys.executable).with_name("tombola")
    ran = subprocess.run(
        [command, "run", "tiny.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_launch_is_replayed(done: Path) -> None:
    shown = tombola("replay", cwd=done)
    assert shown.returncode == 0, shown.stderr
    assert "recorded" in shown.stdout
    assert "simulated" in shown.stdout
    refused = tombola("replay", "nosuch", cwd=done)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)


def test_what_if_is_a_table_and_a_figure_that_says_of_what(done: Path) -> None:
    asked = (
        "plan",
        "tiny.yaml",
        "--gpus",
        "4",
        "--gpus-per-task",
        "2",
        "--what-if",
        "--price",
        "2",
        "--set",
        "replicates=9",
    )
    shown = tombola(*asked, "--figure", "what.png", cwd=done)
    assert shown.returncode == 0, shown.stderr
    assert "above bound" in shown.stdout
    assert "on 2 groups of 2 GPUs" in shown.stdout
    assert "adds up in no time" in shown.stdout
    assert trace(done / "what.png")["sweep"] == "tiny"
    refused = tombola(*asked, "--figure", "what.gif", cwd=done)
    assert refused.returncode == 2
    assert "figures are written as pdf, png, svg" in refused.stderr
