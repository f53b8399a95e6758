"""Print `tombola show`, `tombola measure`, and the tables that `tombola sql` can query."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tasks.networks import counts
from tasks.networks.counts import Share
from tasks.values.key import decode
from tasks.values.torchvision_names import PREFIX
from tombola.errors import TombolaError
from tombola.store import schema
from tombola.store.asked import fields
from tombola.store.lineage import stands_on
from tombola.store.results import Row

SHORT_KEY = 12


class Connection(Protocol):
    """The part of a DuckDB connection that the tables of this command need."""

    def execute(self, query: str, parameters: Any = None) -> Any: ...


def print_expression(console: Console, connection: Connection, prefix: str) -> None:
    """Print a run or mask: its fields, its provenance, its inputs, and its users.

    Raises
    ------
    TombolaError
        When no key, or more than one key, begins with `prefix`.
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
    """Return the whole key that begins with `prefix`.

    Raises
    ------
    TombolaError
        When no key in this store, or more than one, begins so.
    """
    return _find(connection, prefix)[0]


def _find(connection: Connection, prefix: str) -> tuple[str, str, str | None]:
    prefix = prefix.strip().lower()
    if not prefix or set(prefix) - set("0123456789abcdef"):
        raise TombolaError(
            f"{prefix!r} is not a key: give hexadecimal digits of `run_key` in trials"
        )
    answers = " UNION ALL ".join(
        f"SELECT {column}, '{column.removesuffix('_key')}', NULL FROM trials"
        for column in schema.ANSWERS
    )
    rows = connection.execute(
        f"""
        SELECT key, any_value(kind), any_value(value) FROM (
            SELECT key, kind, value FROM tasks UNION ALL {answers})
        WHERE starts_with(key, ?) GROUP BY key ORDER BY key LIMIT 3
        """,
        [prefix],
    ).fetchall()
    if not rows:
        raise TombolaError(f"no run or mask of this store has a key that begins with {prefix}")
    if len(rows) > 1:
        keys = ", ".join(row[0][: len(prefix) + 6] for row in rows)
        raise TombolaError(f"several keys begin with {prefix}: {keys}, …; give more characters")
    key, kind, value = rows[0]
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
    """Print the prunable share of the network's parameters, as its task counted them."""
    size, parameters = connection.execute(
        "SELECT size, parameters FROM tasks WHERE key = ?", [key]
    ).fetchone()
    if not size or not parameters or "network" not in value:
        return
    try:
        network = decode(value["network"])
        known = counts.share(network)
    except (ValueError, TypeError, KeyError, AttributeError):
        return  # a value of a later version
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
    """Print all inputs, nearest first."""
    console.print("inputs")
    seen: set[str] = set()
    inputs = stands_on(value)
    while inputs:
        key = inputs.pop(0)
        if key in seen:
            continue
        seen.add(key)
        row = connection.execute("SELECT kind, value FROM tasks WHERE key = ?", [key]).fetchone()
        if row is None:
            console.print(f"  {key[:SHORT_KEY]}  (no longer in the store)")
            continue
        parent = fields(row[1])
        console.print(f"  {row[0]:<5} {key[:SHORT_KEY]}  {_summary(parent)}")
        inputs += stands_on(parent)
    if not seen:
        console.print("  none: it starts from an initialization")


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
    """Describe trials of a sweep by what distinguishes them."""
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


def print_measured(console: Console, layers: list[Row], forms: list[Row]) -> None:
    """Print the layers of a mask as bipartite graphs, and time and size of its storage forms."""
    table = Table("layer", box=None)
    for heading in ("kept", "density", "dead units", "Δr", "Δs", "IMDB", "random bound"):
        table.add_column(heading, justify="right")
    for layer in layers:
        graph = ("delta_regular", "delta_spectral", "imdb", "random_bound")
        table.add_row(
            layer["layer"],
            f"{layer['kept']:,}",
            f"{layer['kept'] / layer['size']:.3%}",
            f"{layer['dead_units']:,}",
            *("-" if layer.get(name) is None else f"{layer[name]:.3f}" for name in graph),
        )
    console.print(table)
    console.print()
    table = Table("form", box=None)
    for heading in ("a pass of one image", "size"):
        table.add_column(heading, justify="right")
    for form in forms:
        table.add_row(form["form"], f"{form['milliseconds']:.2f} ms", f"{form['bytes']:,} bytes")
    console.print(table)


def print_schema(
    console: Console, columns: Sequence[tuple[str, str, str, str]], examples: Sequence[str]
) -> None:
    """Print tables with columns, types and meanings, then example queries."""
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
