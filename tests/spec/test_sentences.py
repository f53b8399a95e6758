"""The contract of the product, one test for each sentence."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.executors.inline import InlineExecutor
from orchestrator.node.pack import Arrival, Pack
from orchestrator.planning.planner import Nothing, plan
from orchestrator.running import study
from orchestrator.scheduling.graph import Graph, Node
from orchestrator.scheduling.scheduler import (
    Ended,
    Failed,
    Finished,
    GiveUp,
    Scheduler,
    Start,
    Status,
)
from tasks.values.key import Record, added, digest
from tasks.values.records import Mask, Run, State, at, prune
from tasks.values.scores import Magnitude
from tasks.values.training import Dataset, Init, Network, Recipe
from tests.support.commit import commit
from tests.support.small import outcome, write_sweep
from tombola.store import layout, results
from tombola.store.compact import Background, compact
from tombola.store.publish import open_store
from tombola.store.segments import segments

NETWORK = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
RECIPE = Recipe(steps=12, batch_size=64, lr=0.1, evaluate_every=4)


def dense(seed: int = 0) -> Run:
    return Run(
        network=NETWORK,
        dataset=Dataset(name="digits"),
        recipe=RECIPE,
        start=Init(seed=seed),
        order_seed=seed,
    )


def chain(levels: int) -> Run:
    run, mask = dense(), None
    for level in range(1, levels + 1):
        of = at(run, RECIPE.steps)
        mask = prune(NETWORK, Magnitude(), of=of, density=0.999**level, within=mask)
        run = Run(
            network=NETWORK,
            dataset=run.dataset,
            recipe=RECIPE,
            start=Init(seed=0),
            order_seed=0,
            mask=mask,
        )
    return run


class RecordingExecutor(InlineExecutor):
    """Count how often each task is handed out; stop the launch after some packs if asked."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.submitted: Counter[str] = Counter()
        self._left = stop_after

    def submit(self, pack: Pack) -> None:
        self.submitted.update(pack.keys)
        super().submit(pack)

    def wait(self, seconds: float) -> list[Arrival]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left = None if self._left is None else self._left - 1
        return super().wait(seconds)


# Equal values have equal keys in every process, on every machine, in any field order;
# unequal values never do.


def test_equal_values_have_equal_keys_in_every_process() -> None:
    program = (
        "from tasks.values.records import *\n"
        "r = Recipe(evaluate_every=4, lr='1e-1', batch_size=64.0, steps=12)\n"
        "n = Network(classes=10, name='lenet_300_100', input_shape=[1, 8, 8])\n"
        "print(Run(order_seed=0, start=Init(seed=0), recipe=r, dataset=Dataset(name='digits'),"
        " network=n).key)"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        printed = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        assert printed.stdout.decode().strip() == dense().key


def test_unequal_values_have_unequal_keys() -> None:
    mask = prune(NETWORK, Magnitude(), of=Init(seed=0), density=0.5)
    values: list[Record] = [dense(), dense(1), chain(1), chain(2), mask, State(run=dense(), step=3)]
    assert len({value.key for value in values}) == len(set(values)) == len(values)


# A label, a path, a device, a worker count or a wish to save a step does not change a key.


def test_labels_paths_and_saved_steps_are_in_no_key(tmp_path: Path) -> None:
    one = study.read(write_sweep(tmp_path, name="one", description="a", figures=[]))
    (tmp_path / "elsewhere").mkdir()
    two = study.read(write_sweep(tmp_path / "elsewhere", name="two"))
    assert [t.run.key for t in one.trials] == [t.run.key for t in two.trials]
    rewound = study.read(write_sweep(tmp_path, grids=[{"method": "imp", "levels": [1]}]))
    tasks = plan(one.trials, Nothing()).tasks
    fewer = plan(rewound.trials, Nothing()).tasks
    shared = [key for key in tasks if key in fewer and tasks[key].save != fewer[key].save]
    assert shared, "the dense run saves other steps in the two sweeps, under the same key"


# A field added later leaves every old key unchanged.


def test_a_field_added_later_leaves_old_keys_unchanged() -> None:
    class Before(Record, kind="spec_test_before"):
        size: int

    class After(Record, kind="spec_test_after"):
        size: int
        colour: str = added(default="none")

    def text(record: Record) -> str:
        return record.canonical.replace(record.kind, "")

    assert text(After(size=3)) == text(Before(size=3))
    assert text(After(size=3, colour="red")) != text(Before(size=3))


# Work shared by n trials is done once, also across sweeps.


def test_shared_work_is_done_once_also_across_sweeps(tmp_path: Path) -> None:
    store = tmp_path / "store"
    executor = RecordingExecutor()
    first = study.read(write_sweep(tmp_path, name="first"))
    second = study.read(
        write_sweep(
            tmp_path,
            name="second",
            grids=[{"method": ["snip", "grasp"], "levels": [2, 5], "ablation": ["shuffle"]}],
        )
    )
    assert not study.run(first, store, executor).failures
    assert not study.run(second, store, executor).failures
    wanted = {trial.run.key for trial in (*first.trials, *second.trials)}
    assert wanted <= set(executor.submitted)
    assert set(executor.submitted.values()) == {1}


# A finished sweep, launched again, starts nothing; an edited one starts only what is new.


def test_a_finished_sweep_starts_nothing_and_an_edited_one_only_what_is_new(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    asked = study.read(write_sweep(tmp_path))
    assert not study.run(asked, store, InlineExecutor()).failures
    again = RecordingExecutor()
    study.run(asked, store, again)
    assert not again.submitted
    edited = study.read(write_sweep(tmp_path, replicates=2))
    study.run(edited, store, again)
    new = {t.run.key for t in edited.trials} - {t.run.key for t in asked.trials}
    runs = {t.run.key for t in edited.trials if t.labels["replicate"] == 1}
    assert new == runs
    old = {t.key for t in plan(asked.trials, Nothing()).tasks.values()}
    assert not old & set(again.submitted)


# No task starts before all it needs is committed, and every needed task is in the plan (for
# every order of events). A failure blocks exactly its descendants; everything else finishes.


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    count = draw(st.integers(1, 14))
    nodes = []
    for number in range(count):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        seconds = draw(st.sampled_from([0.01, 0.4, 2.0]))
        nodes.append(Node(str(number), seconds, tuple(str(n) for n in sorted(needs))))
    return nodes


def descendants(nodes: list[Node], key: str) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if key in node.needs or found.intersection(node.needs):
            found.add(node.key)
    return found


@given(graphs(), st.integers(1, 4), st.randoms(use_true_random=False), st.booleans())
def test_needs_come_first_and_a_failure_blocks_exactly_its_descendants(
    nodes: list[Node], slots: int, order: random.Random, fails: bool
) -> None:
    scheduler = Scheduler(Graph(nodes), slots)
    needs = {node.key: set(node.needs) for node in nodes}
    culprit = order.choice(nodes).key if fails else None
    done: set[str] = set()
    flying: list[Start] = []
    gave_up: set[str] = set()

    def obey(commands: list[object]) -> None:
        for command in commands:
            if isinstance(command, Start):
                inside: set[str] = set()
                for key in command.keys:
                    assert needs[key] <= done | inside, "started before its needs"
                    inside.add(key)
                flying.append(command)
            elif isinstance(command, GiveUp):
                gave_up.add(command.key)

    obey(scheduler.handle())
    while flying:
        pack = flying.pop(order.randrange(len(flying)))
        events: list[object] = []
        lost: set[str] = set()
        for key in pack.keys:
            if key == culprit:
                events.append(Failed(key))
                lost.add(key)
            elif needs[key] & lost:
                lost.add(key)
            else:
                events.append(Finished(key))
                done.add(key)
        obey(scheduler.handle(*events, Ended(pack.keys)))
    blocked = descendants(nodes, culprit) if culprit else set()
    assert gave_up == blocked | ({culprit} if culprit else set())
    assert done == {node.key for node in nodes} - blocked - {culprit}
    assert {k for k, s in scheduler.status.items() if s is Status.BLOCKED} == blocked
    assert scheduler.finished


# Whatever was killed, the tables equal those of an undisturbed run.


def test_the_tables_of_an_interrupted_sweep_equal_an_undisturbed_ones(tmp_path: Path) -> None:
    asked = study.read(write_sweep(tmp_path))
    study.run(asked, tmp_path / "undisturbed", InlineExecutor())
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            study.run(asked, tmp_path / "interrupted", RecordingExecutor(stop_after=1))
    study.run(asked, tmp_path / "interrupted", InlineExecutor())
    assert outcome(tmp_path / "interrupted") == outcome(tmp_path / "undisturbed")


# A mask at level n+1 keeps a subset of level n, and exactly the asked number of weights, ties
# included: tests/property/test_masks.py, and on real runs in tests/tasks/training/test_tickets.py.


def test_a_mask_keeps_a_subset_of_its_level_above_and_exactly_its_share() -> None:
    import torch

    from tasks.masks import count, select

    scores = {"a": torch.tensor([1.0, 1.0, 1.0, 2.0]), "b": torch.tensor([1.0, 0.0])}
    above = select(scores, 4 / 6).kept
    below = select({n: -t for n, t in scores.items()}, 2 / 6, within=above).kept
    assert count(above) == 4
    assert count(below) == 2
    assert all((above[name] | ~below[name]).all() for name in scores)


# A reader sees each result once, before, during and after compaction.


def test_a_reader_sees_each_result_once_before_during_and_after_compaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.database import connection as reading

    store = tmp_path / "store"
    study.run(study.read(write_sweep(tmp_path)), store, InlineExecutor())
    expected = sorted(outcome(store))

    def seen() -> list[str]:
        rows = reading.connect(store).execute("SELECT key FROM tasks ORDER BY key").fetchall()
        return [key for (key,) in rows]

    assert seen() == expected
    views: list[list[str]] = []
    removed = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if layout.LIVE in path.as_posix() and len(views) < 3:
            views.append(seen())
        removed(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    assert compact(store) == len(expected)
    monkeypatch.undo()
    assert views == [expected] * 3
    assert seen() == expected
    assert not outcome(store), "all live results were merged"


def test_readers_beside_a_launch_that_compacts_itself_see_each_result_once(
    tmp_path: Path,
) -> None:
    """A writer, two drivers that compact and four readers: nothing twice, no error."""
    from analysis.database import connection as reading

    source = tmp_path / "source"
    study.run(study.read(write_sweep(tmp_path)), source, InlineExecutor())
    pattern = [
        results.read_row(path)
        for path in list(layout.published(source / layout.LIVE, ".parquet"))[:5]
    ]
    store = open_store(tmp_path / "store", create=True)
    began = time.monotonic()
    over = threading.Event()
    committed: list[str] = []

    def goes_on() -> bool:
        """Return True for two seconds, or on a busy machine until it was compacted twice."""
        seconds = time.monotonic() - began
        return seconds < 2 or (len(segments(store)) < 2 and seconds < 60)

    def write() -> None:
        drivers = [Background(store, enough=10, pause=0.0) for _ in range(2)]
        while goes_on():
            key = digest(str(len(committed)))
            commit(store, {**pattern[len(committed) % 5], "key": key})
            committed.append(key)
            for driver in drivers:
                driver.tend(len(committed))
        for driver in drivers:
            driver.close()

    def read() -> None:
        last = False
        while not last:
            last = over.is_set()
            known = set(committed)
            query = "SELECT key FROM tasks"
            keys = [key for (key,) in reading.connect(store).execute(query).fetchall()]
            assert len(keys) == len(set(keys)), "twice"
            assert known <= set(keys), "missing"

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)
        looking = [pool.submit(read) for _ in range(4)]
        try:
            writing.result()
        finally:
            over.set()
        for one in looking:
            one.result()
    assert results.inventory(store).results == set(committed)
    assert len(segments(store)) > 1, "it was compacted meanwhile"


# Building, hashing and comparing a chain is linear in its levels.


@pytest.mark.parametrize("levels", [10, 1000])
def test_work_on_a_chain_is_linear_in_its_levels(
    levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = 0
    identify = Record._identify

    def counting(record: Record, text: str) -> None:
        nonlocal counted
        counted += 1
        assert len(text) < 2000
        identify(record, text)

    monkeypatch.setattr(Record, "_identify", counting)
    one = chain(levels)
    assert counted <= 6 * levels + 10
    counted = 0
    other = chain(levels)
    built = counted
    assert one == other
    assert hash(one) == hash(other)
    assert counted == built
    assert isinstance(one.mask, Mask)
