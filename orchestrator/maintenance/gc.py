"""Garbage collection: find and remove states, masks and checkpoints that no sweep needs.

A store keeps the inputs of unfinished trials of current sweeps, and what the `keep` of each
sweep asks for: all, tickets (masks, and the weights that training starts from), or only metrics.
Results are never removed. A removed file that is needed again is computed again.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from orchestrator.planning.planner import Plan, inputs, plan
from orchestrator.sweep.schema import Sweep
from orchestrator.sweep.trials import Trial, trials
from tasks.values import trust
from tasks.values.records import Mask, State
from tombola.errors import DamagedFile, StoreError, SweepError
from tombola.store import layout, results, revisions
from tombola.store.location import remove, total_size
from tombola.store.parquet import opened
from tombola.store.publish import leftovers

Stored = State | Mask


@dataclass(frozen=True)
class Garbage:
    """Files that can be removed, and their total size in bytes."""

    paths: tuple[Path, ...]
    bytes: int


def find_garbage(store: Path, *, trusted: bool = False) -> Garbage:
    """Find files that no current sweep keeps or needs, and files of killed processes.

    For a `trusted` store, user code that its sweeps name is run.

    Raises
    ------
    StoreError
        When the definition of a sweep cannot be read, as its needs are then unknown.
    """
    held = results.inventory(store)
    kept = wanted(store, held, trusted=trusted)
    garbage = [path for path in _files(store) if path not in kept]
    garbage += [
        path
        for path in layout.published(store / layout.CHECKPOINTS, ".safetensors")
        if path.stem in held.results
    ]
    garbage += leftovers(store)
    return Garbage(tuple(garbage), total_size(garbage))


def wanted(
    store: Path, held: results.Inventory | None = None, *, trusted: bool = False
) -> set[Path]:
    """Return the files of states and masks that the current sweeps of a store keep or need.

    Raises
    ------
    StoreError
        When the definition of a sweep cannot be read.
    """
    held = held or results.inventory(store)
    found: set[Path] = set()
    for name, definition in _current(store):
        with nullcontext() if trusted else trust.nothing_is_run(), _understood(name):
            sweep = Sweep.model_validate(json.loads(definition))
            asked = trials(sweep)
        found |= {_path(store, item) for item in _needed(plan(asked, held))}
        found |= {_path(store, item) for item in _kept(sweep, asked)}
    return found


def free(garbage: Garbage) -> None:
    """Remove the files."""
    remove(garbage.paths)


def _current(store: Path) -> Iterator[tuple[str, str]]:
    """Yield name and definition of the latest revision of every sweep."""
    latest: dict[str, tuple[str, str]] = {}
    for path in layout.published(store / layout.SWEEPS, ".parquet"):
        try:
            about = revisions.revision(path, opened(path)).about
        except ValueError as error:
            raise DamagedFile.altered(path, error) from None
        revision = about["registered_at"], about["definition"]
        latest[about["name"]] = max(revision, latest.get(about["name"], revision))
    for name, (_, definition) in latest.items():
        yield name, definition


@contextmanager
def _understood(name: str) -> Iterator[None]:
    """Raise a StoreError for any error of a definition, which may come from anyone."""
    try:
        yield
    except (
        SweepError,
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
        raise StoreError(
            f"the definition of sweep {name} cannot be read ({reason}), so what it needs is "
            "not known; run it again, or remove its file from the store's sweeps/"
        ) from None


def _needed(undone: Plan) -> Iterator[Stored]:
    for task in undone.tasks.values():
        yield from inputs(task.value)


def _kept(sweep: Sweep, asked: Iterable[Trial]) -> Iterator[Stored]:
    """Yield the inputs of trials that the sweep's `keep` asks for."""
    if sweep.keep == "metrics":
        return
    seen: set[str] = set()
    unexplored: list[Stored] = []
    for trial in asked:
        ticket = (trial.run.start, trial.run.mask)
        own = [item for item in ticket if isinstance(item, State | Mask)]
        yield from own
        unexplored += [*own, *(item for m in trial.measured for item in inputs(m))]
    while sweep.keep == "all" and unexplored:
        item = unexplored.pop()
        if item.key not in seen:
            seen.add(item.key)
            yield item
            unexplored += inputs(item.run if isinstance(item, State) else item)


def _path(store: Path, item: Stored) -> Path:
    if isinstance(item, Mask):
        return store / layout.mask(item.key)
    return store / layout.state(item.run.key, item.step)


def _files(store: Path) -> Iterator[Path]:
    yield from layout.published(store / layout.STATES, ".safetensors")
    yield from layout.published(store / layout.MASKS, ".safetensors")
