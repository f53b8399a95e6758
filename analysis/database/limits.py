"""One query in a child process, within hard limits of time and memory.

DuckDB checks its own limits between vectors and counts only its buffers. One long text or list
can exceed both. The kernel counts everything: its timer ends the process, and on Linux an
allocation beyond the limit fails, which DuckDB reports as an error.
"""

import json
import re
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa

from analysis.database import children, hints
from analysis.database.connection import connect, scanning
from tombola.errors import QueryError, StoreError, TombolaError

_REFUSED = 1
"""Exit code of the child process when standard error has the reason, as JSON."""

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_LEAST = 16 * 10**6


@dataclass(frozen=True)
class Question:
    """A query to a store with its limits: memory, such as 4GB, and seconds of wall time.

    `beside` is as in `connection.connect`.
    """

    store: str
    sql: str
    memory_limit: str
    timeout_s: float
    beside: str | None = None


def ask(question: Question) -> pa.Table:
    """Return the rows of the query.

    Raises
    ------
    QueryError
        When the query is wrong, or exceeds a limit.
    StoreError
        When the store is missing or a file in it is damaged.
    """
    words, environment = children.command("analysis.database.limits")
    request = json.dumps(asdict(question)).encode()
    ended = subprocess.run(words, input=request, env=environment, capture_output=True, check=False)
    if ended.returncode == 0:
        return pa.ipc.open_stream(ended.stdout).read_all()
    if ended.returncode == -signal.SIGALRM:
        raise QueryError(f"the query took longer than {question.timeout_s:g} s")
    if ended.returncode == _REFUSED:
        refused = json.loads(ended.stderr)
        kind = StoreError if refused["of_store"] else QueryError
        raise kind(refused["problem"])
    if ended.returncode < 0:
        raise QueryError(_too_much(question))
    raise RuntimeError(ended.stderr.decode(errors="replace"))


def answer(question: Question) -> pa.Table:
    """Return the rows, computed in this process, which the limits may end. Raises like `ask`."""
    before = psutil.Process().memory_info()
    try:
        beside = Path(question.beside) if question.beside else None
        connection = connect(question.store, question.memory_limit, beside)
    except (duckdb.OutOfMemoryException, pa.ArrowMemoryError, MemoryError):
        raise QueryError(
            f"opening the store takes more memory than {question.memory_limit}"
        ) from None
    try:
        _limit(question, before)
        with scanning(question.store):
            return connection.sql(question.sql).to_arrow_table()
    except (duckdb.OutOfMemoryException, pa.ArrowMemoryError, MemoryError):
        raise QueryError(_too_much(question)) from None
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryError(hints.explained(error, connection, question.sql)) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.close()


def _limit(question: Question, before: Any) -> None:
    """Set the kernel's timer and memory limit for this process.

    Memory that was in use before the store was read, threads included, does not count.
    """
    number, unit = re.fullmatch(r"(\d+)([KMGT]B)", question.memory_limit).groups()  # type: ignore[union-attr]
    now = psutil.Process().memory_info()
    if hasattr(now, "data"):
        left = int(number) * _UNITS[unit] - (now.rss - before.rss)
        most = now.data + max(left, _LEAST)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.setitimer(signal.ITIMER_REAL, question.timeout_s)


def _too_much(question: Question) -> str:
    return f"the query takes more memory than {question.memory_limit}"


def _main() -> int:
    try:
        rows = answer(Question(**json.load(sys.stdin)))
    except TombolaError as error:
        refused = {"problem": str(error), "of_store": isinstance(error, StoreError)}
        json.dump(refused, sys.stderr)
        return _REFUSED
    with pa.ipc.new_stream(sys.stdout.buffer, rows.schema) as writer:
        writer.write_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
