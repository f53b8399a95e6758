"""Readers beside a writer and a compactor, in their own processes, see each result once."""

from pathlib import Path

from tests.support import readers
from tombola.store.results import inventory


def test_readers_see_each_result_once_while_it_is_written_and_compacted(tmp_path: Path) -> None:
    reports = readers.together(tmp_path / "store", results=500)
    assert [one for one in reports if "error" in one] == []
    [merges] = [one["merges"] for one in reports if one["role"] == "merge"]
    asked = [one for one in reports if one["role"] == "read"]
    assert len(asked) == 4
    assert all(one["problems"] == [] for one in asked)
    assert merges > 1, "there was something to see"
    assert all(one["asked"] for one in asked)
    assert len(inventory(tmp_path / "store").results) == 500
