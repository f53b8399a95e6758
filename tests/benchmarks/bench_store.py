"""The store: commit, list and read ten thousand results, live and compacted."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report, timed

from analysis.database import connection as reading
from tasks.values.key import digest
from tests.support.commit import commit
from tombola.store import layout, results
from tombola.store.compact import compact
from tombola.store.publish import open_store

COUNT = 10_000
SHIPPED = Path(__file__).parents[1] / "golden" / "store"


def main() -> None:
    machine()
    paths = list((SHIPPED / layout.LIVE).rglob("*.parquet"))
    rows = [results.read(path).to_pylist()[0] for path in paths]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store", create=True)

        def fill() -> None:
            for number in range(COUNT):
                row = rows[number % len(rows)]
                commit(store, {**row, "key": digest(str(number))})

        committing, _ = timed(fill)
        report("commit (fsync included)", f"{COUNT / committing:,.0f} results/s")
        seconds, held = timed(lambda: results.inventory(store))
        assert len(held.results) == COUNT
        report("list 10,000 live results", f"{seconds:.2f} s")
        live, connection = timed(lambda: reading.connect(store))
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (COUNT,)
        report("connect, 10,000 live results", f"{live:.2f} s", "<= 2 s")
        compacting, merged = timed(lambda: compact(store))
        assert merged == COUNT
        report("compaction", f"{COUNT / compacting:,.0f} results/s")
        segment, _ = timed(lambda: reading.connect(store), repeat=3)
        report("connect, one segment", f"{segment:.2f} s")
        report("live / compacted", f"{live / segment:.1f} x")


if __name__ == "__main__":
    main()
