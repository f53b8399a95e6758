"""A store written by the first version must stay readable, valid and shared."""

import shutil
from pathlib import Path

import pytest

from analysis.database import connection as reading
from orchestrator.running import study
from tests.support.small import write_sweep
from tombola.store.verify import verify

SHIPPED = Path(__file__).parent / "store"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "store"))


def test_an_old_store_is_whole_and_readable(store: Path) -> None:
    assert verify(store) == []
    connection = reading.connect(store)
    rows = connection.execute(
        "SELECT method, status, density, accuracy FROM trials ORDER BY trial"
    ).fetchall()
    assert [row[:2] for row in rows] == [("dense", "done"), ("snip", "done"), ("imp", "done")]
    assert rows[1][2] == pytest.approx(0.8**5, abs=1e-4)
    assert connection.execute("SELECT count(*) FROM layers").fetchone() == (9,)
    assert connection.execute("SELECT count(*) FROM attempts").fetchone()[0] >= 14


def test_an_old_store_still_answers_its_sweep(store: Path, tmp_path: Path) -> None:
    asked = study.read(
        write_sweep(
            tmp_path,
            name="golden",
            network="conv2_bn",
            recipe={"steps": 4, "batch_size": 64, "lr": 0.1, "evaluate_every": 2},
            grids=[
                {"method": "snip", "levels": [5]},
                {"method": "imp", "levels": [2], "rewind_step": 1},
            ],
        )
    )
    planned, _ = study.plan_for(asked, store)
    assert planned.tasks == {}


def test_a_store_that_moved_is_the_same_store(store: Path, tmp_path: Path) -> None:
    """No stored file holds a path."""
    moved = store.rename(tmp_path / "elsewhere")
    assert verify(moved) == []
    for path in moved.rglob("*"):
        if path.is_file() and path.suffix != ".duckdb":
            assert str(tmp_path).encode() not in path.read_bytes()
