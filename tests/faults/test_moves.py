"""A kill between any two moves of a launch: what is visible then, and what completes it.

All that a launch does to results is to move files into place, one after another. So a kill
leaves a prefix of its moves. One launch is recorded and every prefix looked at: no process is
killed and nothing depends on time. Levels of IMP that no trial asks for are part of it.
"""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from orchestrator.executors.inline import InlineExecutor
from orchestrator.maintenance import merge
from orchestrator.planning.planner import answers
from orchestrator.running import study
from tests.support.small import outcome, tables, write_sweep
from tombola.cli import app
from tombola.store import layout, location, object_storage, results
from tombola.store.compact import compact, publish_segment
from tombola.store.lineage import stands_on
from tombola.store.publish import open_store
from tombola.store.verify import verify

GRIDS = [
    {"method": ["random", "snip"], "levels": [2, 5], "ablation": ["none", "shuffle"]},
    {"method": "imp", "levels": [3], "rewind_step": [0, 3]},
    {"method": "magnitude_after_training", "levels": [2], "measure": ["barrier", "ramanujan"]},
]
"""Of IMP's levels the last alone is a trial: nothing but lineage asks for the others' runs."""


class Recorded(NamedTuple):
    """An undisturbed launch: its sweep file, its store, and the moves of its files in order."""

    path: Path
    store: Path
    moves: list[str]

    @property
    def needs(self) -> dict[str, list[str]]:
        """Map each result to the results it depends on."""
        rows = (row for _, row in results.rows(self.store))
        return {row["key"]: stands_on(json.loads(row["value"])) for row in rows}

    @property
    def between(self) -> set[str]:
        """Return runs that no trial asks for: those of IMP's levels before the last."""
        asked = {value.key for trial in study.read(self.path).trials for value in answers(trial)}
        rows = (row for _, row in results.rows(self.store))
        return {row["key"] for row in rows if row["kind"] == "run"} - asked


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    path, store, moves = write_sweep(folder, grids=GRIDS), folder / "store", []
    move: Callable[..., None] = os.replace

    def noted(old: str, new: str | Path) -> None:
        move(old, new)
        moves.append(str(Path(new).relative_to(store)))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", noted)
        study.run(study.read(path), store, InlineExecutor())
    return Recorded(path, store, moves)


def results_of(moves: list[str]) -> list[str]:
    return [Path(one).stem for one in moves if one.startswith(layout.LIVE)]


def after(recorded: Recorded, moves: list[str], folder: Path) -> Path:
    """Build the store that a kill after these moves leaves."""
    for one in moves:
        if (recorded.store / one).exists():  # a checkpoint, or a probe, is gone again
            (folder / one).parent.mkdir(parents=True, exist_ok=True)
            (folder / one).hardlink_to(recorded.store / one)
    return folder


def prefixes(recorded: Recorded) -> Iterator[list[str]]:
    for count in range(len(recorded.moves) + 1):
        yield recorded.moves[:count]


def test_every_result_appears_after_all_that_it_stands_on(recorded: Recorded) -> None:
    needs = recorded.needs
    appeared: set[str] = set()
    for key in results_of(recorded.moves):
        assert appeared.issuperset(needs[key]), key
        appeared.add(key)
    assert appeared == needs.keys()
    assert sum(map(len, needs.values())) > 20


def test_after_any_move_planning_asks_for_all_that_is_missing_and_nothing_else(
    recorded: Recorded, tmp_path: Path
) -> None:
    asked, everything = study.read(recorded.path), recorded.needs.keys()
    for count, moves in enumerate(prefixes(recorded)):
        store = after(recorded, moves, tmp_path / str(count))
        planned, _ = study.plan_for(asked, store)
        assert everything - set(results_of(moves)) == planned.tasks.keys(), moves[-1:]


def test_launched_again_after_any_artifact_every_table_is_an_undisturbed_ones(
    recorded: Recorded, tmp_path: Path
) -> None:
    """The kill comes after a file and before the result that names it."""
    expected, asked = tables(recorded.store), study.read(recorded.path)
    states = [n for n, one in enumerate(recorded.moves, 1) if one.startswith(layout.STATES)]
    early = [n for n in states if Path(recorded.moves[n - 1]).parent.name in recorded.between]
    assert len(early) >= 5
    for count in early:
        store = after(recorded, recorded.moves[:count], tmp_path / str(count))
        assert verify(store) == []
        study.run(asked, store, InlineExecutor())
        assert tables(store) == expected
        assert verify(store) == []


def test_a_store_of_a_version_that_lost_them_is_named_and_completed(
    recorded: Recorded, tmp_path: Path
) -> None:
    asked, lost = study.read(recorded.path), recorded.between
    for compacted in (False, True):
        moves = [one for one in recorded.moves if Path(one).stem not in lost or "live" not in one]
        store = after(recorded, moves, tmp_path / str(compacted))
        if compacted:
            compact(store)
        found = verify(store)
        assert {finding.lacks for finding in found} == lost
        assert not any(finding.removable for finding in found)
        named = CliRunner().invoke(app, ["verify", "--repair", "--store", str(store)])
        assert named.exit_code == 1
        assert f"{len(lost)} results that others need are missing" in named.output
        study.run(asked, store, InlineExecutor())
        assert verify(store) == []
        compact(store)
        whole = after(recorded, recorded.moves, tmp_path / f"{compacted} whole")
        compact(whole)
        assert tables(store) == tables(whole)


def test_in_object_storage_no_result_is_sent_beside_what_it_stands_on(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files sent together appear in any order, so all inputs of a result must be there before."""
    stages: list[list[str]] = []
    send = object_storage.send

    def noted(files: Any) -> None:
        stages.append([str(path) for path, _ in files])
        send(files)

    monkeypatch.setattr(object_storage, "send", noted)
    url = f"memory://{tmp_path.name}/store"
    study.run(study.read(recorded.path), url, InlineExecutor())
    assert outcome(location.locate(url)) == outcome(recorded.store)
    needs, appeared = recorded.needs, set[str]()
    for stage in stages:
        together = {Path(one).stem for one in stage if layout.LIVE in one}
        assert all(appeared.issuperset(needs[key]) for key in together)
        appeared |= together
    assert appeared == needs.keys()
    assert max(map(len, stages)) > 1, "and yet batches are sent"


def test_a_killed_import_has_what_each_result_stands_on_and_goes_on(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import publishes batches; the kill may leave any number of them."""
    batches: list[set[str]] = []

    def noted(store: Path, rows: list[dict[str, Any]]) -> None:
        batches.append({row["key"] for row in rows})
        publish_segment(store, rows)

    monkeypatch.setattr(merge, "BATCH", 4)
    monkeypatch.setattr(merge, "publish_segment", noted)
    other = after(recorded, recorded.moves, tmp_path / "other")
    compact(other)
    for source in (recorded.store, other):
        batches.clear()
        store = open_store(tmp_path / f"from {source.name}", create=True)
        assert merge.merge(store, source).results == len(recorded.needs)
        assert tables(store) == tables(source)
        there = set[str]()
        for batch in batches:
            there |= batch
            assert all(there.issuperset(recorded.needs[key]) for key in batch)
        assert there == recorded.needs.keys()
        assert len(batches) > 5


@pytest.mark.slow
def test_launched_again_after_any_move_every_table_is_an_undisturbed_ones(
    recorded: Recorded, tmp_path: Path
) -> None:
    expected, asked = tables(recorded.store), study.read(recorded.path)
    order = random.Random("moves").sample(range(len(recorded.moves)), len(recorded.moves))
    for count in order:
        store = after(recorded, recorded.moves[:count], tmp_path / str(count))
        study.run(asked, store, InlineExecutor())
        assert tables(store) == expected
