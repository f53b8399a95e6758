"""Print `tombola status`: trials by status, the latest launch, and failures."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from orchestrator.running.progress import Snapshot, sentence
from tombola.cli.views.show import SHORT_KEY, Connection
from tombola.store.beacon import Told
from tombola.text import visible

_COUNTS = """
    SELECT sweep, count(*) AS trials,
           count(*) FILTER (status = 'done') AS done,
           count(*) FILTER (status = 'failed') AS failed,
           count(*) FILTER (status = 'blocked') AS blocked,
           count(*) FILTER (status = 'pending') AS pending
    FROM trials WHERE sweep = coalesce(?, sweep)
    GROUP BY sweep ORDER BY sweep
"""

_LAUNCH = """
    WITH newest AS MATERIALIZED (SELECT arg_max(launch, noted_at) AS launch FROM attempts),
    latest AS (
        SELECT arg_max(event, noted_at) AS event, max(noted_at) AS noted_at
        FROM attempts WHERE launch = (FROM newest) GROUP BY key)
    SELECT (FROM newest),
           count(*) FILTER (event = 'finished'), count(*) FILTER (event = 'dispatched'),
           count(*) FILTER (event = 'failed'), count(*) FILTER (event = 'blocked'),
           greatest(0, date_diff('second', max(noted_at), ?::TIMESTAMP))
    FROM latest
"""

_FAILURES = r"""
    WITH latest AS (
        SELECT key, arg_max((event, failure, message, traceback, launch), noted_at) AS last
        FROM attempts WHERE key IN (SELECT key FROM attempts WHERE event = 'failed')
        GROUP BY key),
    placed AS (
        SELECT key, last[2] AS failure, last[3] AS message,
               regexp_extract_all(last[4], 'File "([^"]*/)?([^"/]+", line \d+, in \w+)', 2)[-1]
                   .replace('", line ', ':').replace(', in ', ' in ') AS place
        FROM latest WHERE last[1] = 'failed' AND (
            NOT starts_with(coalesce(last[3], ''), 'canary: ')
            OR last[5] = (SELECT arg_max(launch, noted_at) FROM attempts)))
    SELECT failure, any_value(message), place, count(*), min(key), count(DISTINCT message)
    FROM placed GROUP BY failure, coalesce(place, message), place
    ORDER BY count(*) DESC, failure, place LIMIT 10
"""
"""Failures, grouped by the innermost line of their tracebacks, as one bug has many messages.

The failure of a canary counts only for its own launch, which runs no other task.
"""


def print_status(
    console: Console, connection: Connection, sweep: str | None, told: Sequence[Told] = ()
) -> int:
    """Print trials by status for each sweep, the latest launch, and failures.

    `told` is the progress of running launches. Return the number of trials that are not done.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("sweep")
    for heading in ("trials", "done", "failed", "blocked", "pending"):
        table.add_column(heading, justify="right")
    rows = connection.execute(_COUNTS, [sweep]).fetchall()
    for name, *totals in rows:
        table.add_row(name, *(f"{count:,}" for count in totals))
    if not rows:
        console.print("no sweep was launched in this store yet")
        return 0
    console.print(table)
    now = datetime.now(UTC).replace(tzinfo=None)
    launch, finished, dispatched, failed, blocked, idle = connection.execute(
        _LAUNCH, [now]
    ).fetchone()
    if launch:
        console.print(
            f"latest launch {launch}: {finished:,} tasks finished, {dispatched:,} dispatched, "
            f"{failed:,} failed, {blocked:,} blocked; last heard of {idle:,} s ago",
            soft_wrap=True,
        )
    _print_running(console, told)
    for failure, message, place, count, key, messages in connection.execute(_FAILURES).fetchall():
        others = f", and {messages - 1} other messages" if messages > 1 else ""
        at = f" at {place}" if place else ""
        console.print(
            f"failed: {count} x {failure}{at}: {visible(message or '')}{others} "
            f"(e.g. {key[:SHORT_KEY]})",
            soft_wrap=True,
        )
    return sum(totals[0] - totals[1] for _, *totals in rows)


def _print_running(console: Console, told: Sequence[Told]) -> None:
    for launch, numbers, age in told:
        with suppress(ValueError, TypeError, OverflowError):
            line = f"{launch}: {sentence(Snapshot.of(numbers))} ({max(0.0, age):.0f} s ago)"
            console.print(visible(line), soft_wrap=True)
