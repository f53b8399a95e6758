"""Fields of user code are typed, flat columns of `trials`."""

from pathlib import Path

import pytest

from analysis.database import export
from analysis.database.connection import connect, describe
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.build_store import key_of, trial
from tests.support.build_store import write_sweep as write_trials
from tests.support.small import write_sweep
from tombola.errors import SweepError

GRIDS = [
    {"method": ["random", {"snip": {"per_class": 5}}], "levels": [2], "tags": {"batch": 1.5}},
    {"method": {"synflow": {"schedule": "linear"}}, "levels": [2]},
]


def test_options_and_tags_of_a_sweep_file_are_columns_with_types(tmp_path: Path) -> None:
    tags = {"pilot": True, "batch": 2, "who": "anna"}
    asked = study.read(write_sweep(tmp_path, tags=tags, grids=GRIDS))
    study.run(asked, tmp_path / "store", InlineExecutor())
    with connect(tmp_path / "store") as connection:
        rows = connection.execute(
            "SELECT method, option_per_class, option_schedule, tag_pilot, tag_batch, tag_who"
            " FROM trials ORDER BY trial"
        ).fetchall()
        types = {column: kind for _, column, kind, _ in describe(connection)}
    assert rows == [
        ("dense", None, None, True, 2.0, "anna"),
        ("random", None, None, True, 1.5, "anna"),
        ("snip", 5, None, True, 1.5, "anna"),
        ("synflow", None, "linear", True, 2.0, "anna"),
    ]
    names = ("option_per_class", "option_schedule", "tag_pilot", "tag_batch")
    assert [types[name] for name in names] == ["BIGINT", "VARCHAR", "BOOLEAN", "DOUBLE"]


def test_tags_are_in_no_key(tmp_path: Path) -> None:
    plain = study.read(write_sweep(tmp_path))
    tagged = study.read(write_sweep(tmp_path, tags={"a": 1}))
    assert [t.run.key for t in plain.trials] == [t.run.key for t in tagged.trials]


@pytest.mark.parametrize("tags", [{"Batch": 1}, {"a b": 1}, {"a": [1]}, {"a": float("nan")}])
def test_a_tag_is_a_word_with_one_value(tmp_path: Path, tags: dict[str, object]) -> None:
    with pytest.raises(SweepError, match=r"tiny\.yaml:\d+.*tags"):
        study.read(write_sweep(tmp_path, tags=tags))


def test_whatever_json_a_store_holds_is_a_column_or_nothing(tmp_path: Path) -> None:
    """The store may come from a colleague, a later version, or a text editor."""
    said = [
        '{"a": 1}',
        '{"a": [1, 2]}',
        '{"a": "x\'y"}',
        "[1]",
        "torn {",
        '{"b": 1e300, "c": null}',
    ]
    said.append(f'{{"big": {2**70}}}')
    rows = [trial(key_of(n), options=text, tags=text) for n, text in enumerate(said)]
    write_trials(tmp_path, "own", rows)
    with connect(tmp_path) as connection:
        found = connection.execute(
            "SELECT option_a, tag_b, tag_c, option_big FROM trials ORDER BY trial"
        ).fetchall()
    assert [row[0] for row in found] == ["1", "[1, 2]", "x'y", None, None, None, None]
    assert found[5] == (None, 1e300, None, None)
    assert found[6][3] == 2.0**70
    [path] = export.export(tmp_path, tmp_path / "out.duckdb")
    assert path.exists()
