"""One writer, one compactor and readers on one store, each in its own process.

The n-th result has the key digest(str(n)), so a reader knows what it must see: `counter` holds how
many results were committed before it asked.
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from analysis.database import connection as reading
from tasks.values.key import digest
from tests.support.build_store import mask_row, run_row
from tests.support.commit import commit
from tombola.store.compact import compact
from tombola.store.publish import open_store
from tombola.store.results import digests, inventory

EVALS = 4
LAYERS = 3
GATHERED = 40
"""Results that a compaction waits for."""

QUERY = """
    SELECT tasks.key, kind,
           (SELECT count(*) FROM evals WHERE run_key = tasks.key),
           (SELECT count(*) FROM layers WHERE mask_key = tasks.key)
    FROM tasks
"""

Report = dict[str, Any]


def row(number: int) -> dict[str, Any]:
    """Build the n-th result: a run or a mask in turn."""
    key, worker = digest(str(number)), {"worker": "w", "launch": "l", "torch": "t"}
    if number % 2:
        return run_row(key, started_at=None, **worker)
    return mask_row(key, 0.5, [50] * LAYERS, started_at=None, **worker)


def write(store: Path, counter: "Synchronized[int]", goes_on: Callable[[int], bool]) -> Report:
    """Commit results, one after another."""
    while goes_on(counter.value):
        commit(store, row(counter.value))
        counter.value += 1
    return {"committed": counter.value}


def merge(store: Path, counter: "Synchronized[int]", goes_on: Callable[[int], bool]) -> Report:
    """Compact the results committed since, again and again."""
    merges = merged = 0
    while goes_on(counter.value):
        if counter.value - merged >= GATHERED:
            merged = counter.value
            merges += compact(store) > 0
        else:
            time.sleep(0.001)  # leaves the core to the others
    return {"merges": merges}


def read(store: Path, counter: "Synchronized[int]", goes_on: Callable[[int], bool]) -> Report:
    """Ask in SQL and for the inventory in turn; return errors in the answers."""
    asked, problems = 0, set()
    while goes_on(counter.value) or not asked:
        known = [digest(str(number)) for number in range(counter.value)]
        if asked % 4 == 3:
            found = [(key, "", 0, 0) for key in inventory(store).results]
            if not digests(store).keys() >= set(known):
                problems.add("digests: lost")
        else:
            with reading.connect(store) as connection:
                found = connection.execute(QUERY).fetchall()
        keys = [key for key, *_ in found]
        if len(keys) != len(set(keys)):
            problems.add("twice")
        if not set(known) <= set(keys):
            problems.add("lost")
        whole = {"run": (EVALS, 0), "mask": (0, LAYERS), "": (0, 0)}
        if any(counts != whole[kind] for _, kind, *c in found for counts in [tuple(c)]):
            problems.add("parts")
        asked += 1
    return {"asked": asked, "problems": sorted(problems)}


def together(
    store: Path, *, readers: int = 4, results: int | None = None, seconds: float = 0.0
) -> list[Report]:
    """Run all until a number of results is committed or a time is over; return their reports."""
    open_store(store, create=True)
    context = multiprocessing.get_context("spawn")
    counter, told = context.Value("i", 0), context.Queue()
    roles = [write, merge, *[read] * readers]
    start = context.Barrier(len(roles))
    workers = [
        context.Process(target=_work, args=(role, store, counter, results, seconds, start, told))
        for role in roles
    ]
    for worker in workers:
        worker.start()
    reports = [told.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return reports


def _work(
    role: Callable[..., Report],
    store: Path,
    counter: "Synchronized[int]",
    results: int | None,
    seconds: float,
    start: Barrier,
    told: Any,
) -> None:
    start.wait(timeout=120)
    until = time.monotonic() + seconds

    def goes_on(committed: int) -> bool:
        return committed < results if results is not None else time.monotonic() < until

    try:
        told.put({"role": role.__name__, **role(store, counter, goes_on)})
    except Exception as error:  # noqa: BLE001 - told to the one who asked
        told.put({"role": role.__name__, "error": repr(error)})
