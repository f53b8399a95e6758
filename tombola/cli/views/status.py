"""What `status`, `show` and `sql` without a query print: questions to the store, in SQL."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from orchestrator.running.progress import Snapshot, sentence
from tasks.networks import counts
from tasks.networks.counts import Share
from tasks.values.key import decode
from tasks.values.torchvision_names import PREFIX
from tombola.errors import TombolaError
from tombola.store import schema
from tombola.store.asked import fields
from tombola.store.beacon import Told
from tombola.store.lineage import stands_on
from tombola.terminal import styled
from tombola.text import visible

SHORT_KEY = 12


class Connection(Protocol):
    """A DuckDB connection, as far as it is needed here."""

    def execute(self, query: str, parameters: Any = None) -> Any: ...


# ---------------------------------------------------------------- status

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
"""Failures by the innermost line of their tracebacks: one bug is one line, whatever its message.

A canary ends its launch before any task began, so that it says nothing of later launches.
"""


def print_status(
    console: Console, connection: Connection, sweep: str | None, told: Sequence[Told] = ()
) -> int:
    """Trials by status for each sweep, then what the latest launch is doing.

    What launches that run have `told` is said as they say it themselves. Returns how many
    trials are not done.
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
    _print_told(console, told)
    for failure, message, place, count, key, messages in connection.execute(_FAILURES).fetchall():
        others = f", and {messages - 1} other messages" if messages > 1 else ""
        at = f" at {place}" if place else ""
        console.print(
            f"failed: {count} x {failure}{at}: {visible(message or '')}{others} "
            f"(e.g. {key[:SHORT_KEY]})",
            soft_wrap=True,
        )
    return sum(totals[0] - totals[1] for _, *totals in rows)


def _print_told(console: Console, told: Sequence[Told]) -> None:
    for launch, numbers, age in told:
        with suppress(ValueError, TypeError, OverflowError):
            line = f"{launch}: {sentence(Snapshot.of(numbers))} ({max(0.0, age):.0f} s ago)"
            console.print(visible(line), soft_wrap=True)


# ---------------------------------------------------------------- the summary of a sweep


class Summary(Protocol):
    """Mean accuracies of a sweep, as far as they are needed here (analysis.selection.summary)."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def headings(self) -> tuple[str, ...]: ...
    @property
    def densities(self) -> tuple[float, ...]: ...
    @property
    def lines(self) -> Mapping[tuple[str, ...], Mapping[float, float | None]]: ...
    @property
    def digits(self) -> int: ...


def print_summary(console: Console, sweep: str, summary: Summary) -> None:
    """Mean test accuracy over replicates, a line for each setting, a column for each density."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in summary.headings:
        table.add_column(heading, overflow="fold")
    for density in summary.densities:
        table.add_column(f"{100 * density:.3g} %", justify="right", no_wrap=True)
    for names, line in summary.lines.items():
        table.add_row(*names, *(_cell(line, d, summary.digits) for d in summary.densities))
    console.print(f"{sweep}: {summary.done:,} of {summary.total:,} trials done")
    console.print("Test accuracy (%), mean over replicates, by weights remaining")
    console.print(table)


def _cell(line: Mapping[float, float | None], density: float, digits: int) -> str:
    """A mean; a dash where nothing is done; nothing where nothing was asked."""
    if density not in line:
        return ""
    mean = line[density]
    return "-" if mean is None else f"{mean:.{digits}f}"


_READS = "SELECT sum(node_reads), sum(store_reads) FROM tasks WHERE launch = ?"


def print_reads(console: Console, connection: Connection, launch: str) -> None:
    """What the nodes' own copies of weights and masks spared a launch; nothing without them."""
    near, far = connection.execute(_READS, [launch]).fetchone()
    if near is not None:
        console.print(
            f"weights and masks: {near:,} read from the nodes' own copies, {far:,} from the store",
        )


# ---------------------------------------------------------------- the checklist


class Finding(Protocol):
    """A point of the reporting checklist, as far as it is needed here."""

    @property
    def rule(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def evidence(self) -> str: ...


_COLOURS = {"ok": "green", "warning": "yellow", "not answered": "dim"}


def print_checklist(console: Console, findings: Sequence[Finding]) -> None:
    """Each rule, whether it is kept, and why."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("rule", "outcome", "evidence"):
        table.add_column(heading, overflow="fold")
    for found in findings:
        outcome = styled((found.outcome, _COLOURS[found.outcome]))
        table.add_row(found.rule, outcome, found.evidence)
    console.print(table)
    ok = sum(found.outcome == "ok" for found in findings)
    console.print(f"{ok} of {len(findings)} ok")


# ---------------------------------------------------------------- show


def print_expression(console: Console, connection: Connection, prefix: str) -> None:
    """A run or mask: its fields, its provenance, its inputs, and who uses it.

    Raises
    ------
    TombolaError
        When no key, or more than one, begins so.
    """
    key, kind, text = _find(connection, prefix)
    value = fields(text) if text else None
    console.print(f"{kind} {key}", style="bold")
    if value is None:
        console.print("asked for by a sweep, not computed yet")
    else:
        _print_fields(console, value)
        _print_prunable(console, connection, key, value)
        _print_provenance(console, connection, key)
        _print_lineage(console, connection, value)
    _print_users(console, connection, key)


def find_key(connection: Connection, prefix: str) -> str:
    """The whole key that begins so.

    Raises
    ------
    TombolaError
        When there is none in this store, or there are several.
    """
    return _find(connection, prefix)[0]


def _find(connection: Connection, prefix: str) -> tuple[str, str, str | None]:
    prefix = prefix.strip().lower()
    if not prefix or set(prefix) - set("0123456789abcdef"):
        raise TombolaError(f"{prefix!r} is no key: keys are hexadecimal, see `run_key` in trials")
    asked = " UNION ALL ".join(
        f"SELECT {column}, '{column.removesuffix('_key')}', NULL FROM trials"
        for column in schema.ANSWERS
    )
    found = connection.execute(
        f"""
        SELECT key, any_value(kind), any_value(value) FROM (
            SELECT key, kind, value FROM tasks UNION ALL {asked})
        WHERE starts_with(key, ?) GROUP BY key ORDER BY key LIMIT 3
        """,
        [prefix],
    ).fetchall()
    if not found:
        raise TombolaError(f"no run or mask of this store has a key that begins with {prefix}")
    if len(found) > 1:
        keys = ", ".join(row[0][: len(prefix) + 6] for row in found)
        raise TombolaError(f"several keys begin with {prefix}: {keys}, …; give more characters")
    key, kind, value = found[0]
    return key, kind, value


def _print_fields(console: Console, value: dict[str, Any]) -> None:
    for name, field in value.items():
        if name in ("kind", "version"):
            continue
        console.print(f"  {name:<12} {_words(field)}", soft_wrap=True)


def _words(field: Any) -> str:
    if not isinstance(field, dict):
        return str(_short(field))
    inner = {k: v for k, v in field.items() if k not in ("kind", "version")}
    return ", ".join([field["kind"], *(f"{k}={_short(v)}" for k, v in inner.items())])


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) == 64:
        return value[:SHORT_KEY]
    if isinstance(value, dict):
        inner = [f"{k}={_short(v)}" for k, v in value.items() if k not in ("kind", "version")]
        return f"{value['kind']}({', '.join(inner)})"
    return value


def _print_prunable(
    console: Console, connection: Connection, key: str, value: dict[str, Any]
) -> None:
    """What of the network's parameters could be pruned, as its task counted them."""
    size, parameters = connection.execute(
        "SELECT size, parameters FROM tasks WHERE key = ?", [key]
    ).fetchone()
    if not size or not parameters or "network" not in value:
        return
    try:
        network = decode(value["network"])
        known = counts.share(network)
    except (ValueError, TypeError, KeyError, AttributeError):
        return  # of a version that this code does not compute
    share = Share(size, parameters, known.others if known else ())
    rest = f"; not {share.without}" if known else ""
    if ":" in network.name and not network.name.startswith(PREFIX):
        rest = f"; `tombola check {network.name}` says which"
    console.print(
        f"  {'prunable':<12} {share.percent} of {parameters:,} parameters{rest}", soft_wrap=True
    )


def _print_provenance(console: Console, connection: Connection, key: str) -> None:
    row = connection.execute(
        """
        SELECT density, kept, size, seconds, worker, device, launch, attempt, tombola, code,
               torch, started_at FROM tasks WHERE key = ?
        """,
        [key],
    ).fetchone()
    density, kept, size, seconds, worker, device, launch, attempt, version, code, torch, at = row
    kept_of = (
        "" if kept is None else f"; keeps {kept:,} of {size:,} weights ({100 * density:.3g} %)"
    )
    console.print(
        f"computed in {seconds:.2f} s on {worker} ({device}), {at:%Y-%m-%d %H:%M:%S} UTC, launch "
        f"{launch}, attempt {attempt}, tombola {version} ({code or 'no commit'}), torch {torch}"
        f"{kept_of}",
        soft_wrap=True,
    )


def _print_lineage(console: Console, connection: Connection, value: dict[str, Any]) -> None:
    """The chain of what it stands on, nearest first."""
    console.print("stands on")
    seen: set[str] = set()
    inputs = stands_on(value)
    while inputs:
        key = inputs.pop(0)
        if key in seen:
            continue
        seen.add(key)
        row = connection.execute("SELECT kind, value FROM tasks WHERE key = ?", [key]).fetchone()
        if row is None:
            console.print(f"  {key[:SHORT_KEY]}  (not in the store any more)")
            continue
        parent = fields(row[1])
        console.print(f"  {row[0]:<5} {key[:SHORT_KEY]}  {_summary(parent)}")
        inputs += stands_on(parent)
    if not seen:
        console.print("  nothing: it starts from an initialization")


def _summary(value: dict[str, Any]) -> str:
    if value["kind"] == "mask":
        return f"{value['score']['kind']} at density {value['density']:.4g}"
    if value["kind"] != "run":
        return "measured"
    masked = "masked" if value["mask"] else "dense"
    steps = f"steps {value['first_step']}-{value['recipe']['steps']}"
    return f"{value['network']['name']} {masked}, {steps}"


def _print_users(console: Console, connection: Connection, key: str) -> None:
    tasks = connection.execute(
        "SELECT kind, key FROM tasks WHERE contains(value, ?) ORDER BY kind, key", [f'"{key}"']
    ).fetchall()
    keys = ", ".join(schema.ANSWERS)
    trials = connection.execute(
        f"SELECT sweep, trial FROM trials WHERE ? IN (dense_key, {keys}) ORDER BY sweep, trial",
        [key],
    ).fetchall()
    console.print(f"used by {len(tasks):,} tasks and {len(trials):,} trials")
    for kind, user in tasks[:10]:
        console.print(f"  {kind:<5} {user[:SHORT_KEY]}")
    for sweep, members in groupby(trials[:10], key=itemgetter(0)):
        for line in _named(connection, sweep, [trial for _, trial in members]):
            console.print(f"  {line}", soft_wrap=True)
    if len(tasks) > 10 or len(trials) > 10:
        console.print("  …")


def _named(connection: Connection, sweep: str, trials: list[int]) -> list[str]:
    """Trials of a sweep in words, whatever sets them apart among these."""
    quoted = sweep.replace("'", "''")
    rows = connection.execute(
        f"""
        SELECT trial, method, setting, ablation, requested_density, replicate, network, dataset
        FROM trials JOIN (FROM settings('{quoted}')) USING (trial)
        WHERE sweep = ? AND list_contains(?, trial) ORDER BY trial
        """,
        [sweep, trials],
    ).fetchall()
    several = len({row[-2:] for row in rows}) > 1
    return [
        f"trial {trial} of {sweep}: "
        + ", ".join(
            [
                *filter(None, (method, setting, ablation if ablation != "none" else "")),
                f"density {density:.4g}",
                f"replicate {replicate}",
                *([f"{network} on {dataset}"] if several else ()),
            ]
        )
        for trial, method, setting, ablation, density, replicate, network, dataset in rows
    ]


# ---------------------------------------------------------------- the schema


def print_schema(
    console: Console, columns: Sequence[tuple[str, str, str, str]], examples: Sequence[str]
) -> None:
    """Tables with their columns, types and meanings, then queries to begin with."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("table", "column", "type", "meaning"):
        table.add_column(heading)
    last = None
    for name, column, kind, comment in columns:
        if last not in (None, name):
            table.add_section()
        table.add_row(name if name != last else "", column, kind.lower(), comment or "")
        last = name
    console.print(table)
    console.print("Examples")
    for example in examples:
        console.print(f'  tombola sql "{example}"', soft_wrap=True)
