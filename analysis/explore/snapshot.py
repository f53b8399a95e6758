"""Contents of the page from one snapshot of a store: queries and figures."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis import style
from analysis.database import connection
from analysis.database.quoting import literal
from analysis.figures import FIGURES
from analysis.report import contents, queries
from analysis.report.contents import Picture
from analysis.selection.options import parse
from tombola.store import arrow, schema

STATUSES = ("done", "failed", "blocked", "pending")
"""Statuses of a trial."""

_SWEEPS = """
SELECT sweep, figures, list(DISTINCT network), list(DISTINCT dataset),
       coalesce(list(DISTINCT method) FILTER (method <> 'dense'), []),
       coalesce(list(DISTINCT ablation) FILTER (method <> 'dense'), [])
FROM trials JOIN sweeps USING (sweep) WHERE current
GROUP BY sweep, figures, registered_at ORDER BY registered_at DESC, sweep
"""
_PROGRESS = """
SELECT sweep, status, count(*) FROM trials JOIN sweeps USING (sweep) WHERE current
GROUP BY sweep, status, registered_at ORDER BY registered_at DESC, sweep
"""
_LAUNCH = f"""
SELECT max(launch) FROM attempts WHERE key IN (
    SELECT unnest([{", ".join(schema.ANSWERS)}])
    FROM trials WHERE sweep = $sweep)
"""
_TASKS = f"""
WITH latest AS (
    SELECT key, any_value(kind) AS kind, arg_max(event, noted_at) AS event
    FROM attempts WHERE launch = ({_LAUNCH}) GROUP BY key)
SELECT kind AS task, count(*) FILTER (event = 'finished') AS finished,
       count(*) FILTER (event = 'dispatched') AS running,
       count(*) FILTER (event = 'failed') AS failed,
       count(*) FILTER (event = 'blocked') AS blocked
FROM latest GROUP BY kind ORDER BY kind
"""
_HEARD = f"SELECT max(noted_at) FROM attempts WHERE launch = ({_LAUNCH})"
_TRAINED = f"""
SELECT trial, method, setting, ablation, requested_density, replicate, network, dataset
FROM trials JOIN (FROM settings({{sweep}})) USING (trial)
WHERE sweep = {{sweep}} AND run_key IS NOT NULL AND method <> 'dense'{{passing}}
ORDER BY trial LIMIT {queries.MOST_TRIALS}
"""

_DRAWING = threading.Lock()  # matplotlib's settings are global, and each page is a thread


@dataclass(frozen=True)
class Filter:
    """Filter of trials; an empty field selects all. Dense trials match any method and ablation."""

    networks: Sequence[str] = ()
    datasets: Sequence[str] = ()
    methods: Sequence[str] = ()
    ablations: Sequence[str] = ()

    def options(self) -> dict[str, list[str]]:
        """Return the filter as options of a figure."""
        return {name: list(chosen) for name, chosen in vars(self).items() if chosen}

    def sql(self) -> str:
        """Return the filter as conditions on `trials`, each beginning with AND."""
        conditions = ""
        for name, chosen in self.options().items():
            dense = " OR method = 'dense'" if name in ("methods", "ablations") else ""
            conditions += f" AND ({name[:-1]} IN ({', '.join(map(literal, chosen))}){dense})"
        return conditions


@dataclass(frozen=True)
class Asked:
    """Contents of a sweep: all values of a filter, and entries of `figures:` by title.

    Figures that are not in the sweep file come last.
    """

    everything: Filter
    figures: dict[str, Any]


class Snapshot:
    """A store as it was at the creation of this object; `arrow.mark` tells whether it changed.

    `sweeps` has the contents of each sweep, the latest launch first.

    Raises
    ------
    StoreError
        When the store is missing or damaged; the methods raise it too.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.mark = arrow.mark(store)  # before reading, so that later results count as a change
        self._connection = connection.connect(store)
        self.sweeps = {
            name: Asked(Filter(*map(sorted, values)), _figures(json.loads(figures)))
            for name, figures, *values in self._rows(_SWEEPS)
        }

    def progress(self) -> dict[str, dict[str, int]]:
        """Return the number of trials of each sweep by status."""
        counts: dict[str, dict[str, int]] = {}
        for name, status, count in self._rows(_PROGRESS):
            counts.setdefault(name, dict.fromkeys(STATUSES, 0))[status] = count
        return counts

    def tasks(self, sweep: str) -> pa.Table:
        """Return the progress of the sweep's latest launch, by kind of task."""
        return self._table(_TASKS, {"sweep": sweep})

    def heard(self, sweep: str) -> datetime | None:
        """Return when that launch last wrote to its journal, UTC."""
        [(heard,)] = self._rows(_HEARD, {"sweep": sweep})
        return heard.replace(tzinfo=UTC) if heard else None

    def failures(self, sweep: str) -> pa.Table:
        """Return the failed tasks, by class and message."""
        return self._table(queries.failures(sweep))

    def trials(self, sweep: str, chosen: Filter) -> pa.Table:
        """Return the first trials that match the filter, with the columns of the report."""
        columns = queries.columns(self._connection, sweep)
        return self._table(queries.trials(sweep, columns, chosen.sql()))

    def trained(self, sweep: str, chosen: Filter) -> dict[str, int]:
        """Return the numbers of trained trials that match the filter, by label."""
        rows = self._rows(_TRAINED.format(passing=chosen.sql(), sweep=literal(sweep)))
        several = len({row[6:] for row in rows}) > 1
        return {_label(row, several): row[0] for row in rows}

    def columns(self) -> pa.Table:
        """Return all tables, columns and macros for queries, with their meaning."""
        names = ("table", "column", "type", "meaning")
        columns = zip(*connection.describe(self._connection), strict=True)
        return pa.table(dict(zip(names, map(list, columns), strict=True)))

    def figure(self, sweep: str, entry: Any, chosen: Filter) -> Picture:
        """Return a figure of the trials that match the filter, or the reason for none."""
        name, given = parse(entry)
        with _DRAWING, connection.scanning(self.store):
            return contents.picture(self._connection, sweep, {name: given | chosen.options()})

    def learning(self, sweep: str, trials: Sequence[int]) -> Picture:
        """Return the learning curves of trials; replicates are averaged."""
        entry = {"learning-curves": {"trials": list(trials), "ablations": []}}
        return self.figure(sweep, entry, Filter())

    def _rows(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        with connection.scanning(self.store):
            return self._connection.execute(query, values).fetchall()

    def _table(self, query: str, values: Any = None) -> pa.Table:
        with connection.scanning(self.store):
            return self._connection.sql(query, params=values).to_arrow_table()


def _figures(entries: list[Any]) -> dict[str, Any]:
    others = [name for name in FIGURES if name not in {parse(entry)[0] for entry in entries}]
    named: dict[str, Any] = {}
    for entry in [*entries, *others]:
        name, given = parse(entry)
        title = contents.titled(name) + (f": {given['title']}" if given.get("title") else "")
        number = 1 + sum(known.split(" #")[0] == title for known in named)
        named[f"{title} #{number}" if number > 1 else title] = entry
    return named


def _label(row: Sequence[Any], several: bool) -> str:
    """Return the label of a trial; with network and dataset if there are several."""
    number, method, setting, ablation, density, replicate, *problem = row
    name = style.ablated(", ".join(filter(None, [style.look(method).label, setting])), ablation)
    words = [f"{number}: {name}", f"{style.percent(density)} %", f"seed {replicate}"]
    return ", ".join([*words, style.problem(*problem)] if several else words)
