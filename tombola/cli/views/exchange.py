"""Print `tombola import` and `tombola diff`: two stores, or two sweeps."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.maintenance import merge
from orchestrator.maintenance.merge import Apart, Merged
from tombola.store import results
from tombola.terminal import Terminal

SHOWN = 20
"""The most alarms that are printed."""


def print_merged(console: Console, other: Path, merged: Merged) -> None:
    """Print what was imported; alarms go to standard error."""
    counts = (
        f"{merged.results:,} results, {merged.masks:,} masks, {merged.states:,} states, "
        f"{len(merged.sweeps):,} sweeps"
    )
    _say(console, f"imported {counts} of {other}; {merged.agreed:,} were here already and agree")
    if merged.sweeps:
        _say(console, f"sweeps: {', '.join(sorted(set(merged.sweeps)))}")
    if merged.refused:
        _say(
            console,
            f"not imported: {merged.refused:,} results that depend on one that differs here",
        )
    print_alarms(Terminal(stderr=True), merged.alarms, "here", str(other))


def print_stores(console: Console, first: Path, second: Path) -> bool:
    """Print results that differ, and counts of results in only one store; return if any differ."""
    ours, theirs = results.digests(first), results.digests(second)
    alarms = list(merge.apart(first, second, merge.differing(ours, theirs)))
    both = len(ours.keys() & theirs.keys()) - len(alarms)
    _say(console, f"{both:,} results are in both and agree")
    for store, only in (
        (first, ours.keys() - theirs.keys()),
        (second, theirs.keys() - ours.keys()),
    ):
        _say(console, f"{len(only):,} results only in {store}")
    print_alarms(console, alarms, str(first), str(second))
    return bool(alarms)


def print_store_sweeps(
    console: Console, first: Path, second: Path, sweeps: Iterable[tuple[str, int, int, int]]
) -> None:
    """Print, for each sweep, how many of its trials are in both stores or in only one."""
    for sweep, both, ours, theirs in sweeps:
        counts = f"{both:,} trials in both, {ours:,} only in {first}, {theirs:,} only in {second}"
        _say(console, f"sweep {sweep}: {counts}")


def print_alarms(console: Console, alarms: list[Apart], first: str, second: str) -> None:
    """Print each result that differs: the first difference, and where each was computed."""
    for alarm in alarms[:SHOWN]:
        row, other = alarm.first, alarm.second
        _say(
            console,
            f"determinism broken: {row['kind']} {row['key'][:12]} differs, {alarm.where}\n"
            f"  {first}: {_origin(row)}\n  {second}: {_origin(other)}",
        )
    if len(alarms) > SHOWN:
        kinds = Counter(alarm.first["kind"] for alarm in alarms[SHOWN:])
        _say(console, f"and {', '.join(f'{n:,} {kind}s' for kind, n in kinds.items())} more")


def print_sweeps(
    console: Console, first: str, second: str, compared: Any, show: Callable[[Any], None]
) -> None:
    """Print the comparison of two sweeps (`differences.Differences`); `show` prints a table."""
    _say(
        console,
        f"{compared.both:,} trials are in both: the same expression and the same result",
    )
    for name, only in ((first, compared.only_first), (second, compared.only_second)):
        _say(console, f"{sum(only['trials'].to_pylist()):,} trials only in {name}")
        if len(only):
            show(only)
    if len(compared.relabelled):
        message = "trials have the same labels in both and are different expressions"
        _say(console, f"{len(compared.relabelled):,} {message}; `tombola show KEY` shows them")
        show(compared.relabelled)


def _origin(row: results.Row) -> str:
    at = f"{row['started_at']:%Y-%m-%d %H:%M:%S} UTC" if row["started_at"] else "unknown time"
    return (
        f"{row['worker']} ({row['device']}), launch {row['launch']}, {at}, "
        f"tombola {row['tombola']} ({row['code'] or 'no commit'}), torch {row['torch']}"
    )


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
