"""SQL of users reads the tables and can do nothing else."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pytest

from analysis.database import sql
from tests.support.build_store import key_of, run_row, write_segment
from tombola.errors import QueryError
from tombola.store import layout
from tombola.store.publish import open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sql")
    (root / "secret.csv").write_text("a,b\n1,2\n")
    (root / "link").symlink_to(root / "secret.csv")
    return open_store(root / "store", create=True)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM trials",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
        "FROM evals SELECT count(*)",
        "VALUES (1), (2)",
        "DESCRIBE trials",
        "SHOW TABLES",
        "SUMMARIZE evals",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT 1; -- with a comment",
        "TABLE sweeps",
    ],
)
def test_reading_statements_are_admitted(store: Path, query: str) -> None:
    assert sql.query(store, query).num_columns >= 1


ATTACKS = [
    "COPY trials TO '{root}/out.csv'",
    "COPY (SELECT 1) TO '{root}/store/results/x.parquet'",
    "EXPORT DATABASE '{root}/out'",
    "ATTACH '{root}/out.duckdb'",
    "CREATE TABLE x AS SELECT 1",
    "INSERT INTO tasks SELECT * FROM tasks",
    "DELETE FROM evals",
    "UPDATE evals SET loss = 0",
    "DROP VIEW trials",
    "PRAGMA database_list",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "EXECUTE x",
    "PREPARE x AS SELECT 1",
    "SELECT 1; COPY trials TO '{root}/out.csv'",
    "EXPLAIN ANALYZE COPY trials TO '{root}/out.csv'",
    "EXPLAIN ANALYZE INSERT INTO tasks SELECT * FROM tasks",
    "explain (format json) COPY trials TO '{root}/out.csv'",
    "FROM '{root}/secret.csv'",
    "FROM '{root}/link'",
    "FROM '{root}/store/../secret.csv'",
    "SELECT * FROM read_csv('{root}/secret.csv')",
    "SELECT * FROM read_csv_auto('{root}/secret.csv')",
    "SELECT * FROM read_text('{root}/secret.csv')",
    "SELECT * FROM read_blob('{root}/secret.csv')",
    "SELECT * FROM read_json('{root}/secret.csv')",
    "SELECT * FROM read_parquet('{root}/store/results/live/*/*.parquet')",
    "SELECT * FROM sniff_csv('{root}/secret.csv')",
    "SELECT * FROM glob('{root}/*')",
    "SELECT * FROM parquet_metadata('{root}/x.parquet')",
    "SELECT * FROM query('COPY trials TO ''{root}/out.csv''')",
    "SELECT * FROM read_csv('https://localhost/x.csv')",
    "SELECT * FROM secret",
    "WITH x AS (COPY trials TO '{root}/out.csv') SELECT 1",
    "SELECT getenv('HOME')",
    "IMPORT DATABASE '{root}/out'",
    "FORCE INSTALL httpfs",
    "USE stored",
    "DETACH memory",
    "CREATE SECRET s (TYPE s3)",
    "CREATE MACRO evil() AS 1",
    "BEGIN TRANSACTION",
    "SET VARIABLE x = 1",
    "SELECT * FROM read_csv('{root}/link')",
    "SELECT * FROM read_text('{root}/store/../secret.csv')",
    "SELECT * FROM sniff_csv('{root}/store/../link')",
    "SELECT * FROM read_ndjson('{root}/secret.csv')",
    "SELECT * FROM duckdb_scan('{root}/out.duckdb', 'main', 'x')",
    "SELECT * FROM sqlite_scan('{root}/out.sqlite', 'x')",
    "SELECT * FROM arrow_scan_dumb(1, 2, 3)",
    "SELECT * FROM query_table('{root}/secret.csv')",
    "SELECT * FROM query_table(['{root}/secret.csv'])",
    "SELECT * FROM everywhere",
    "SELECT content FROM read_blob(['{root}/link'])",
    "SELECT (SELECT count(*) FROM '{root}/secret.csv')",
    "FROM 'file://{root}/secret.csv'",
]

everywhere = pa.table({"x": [1]})  # a variable of a module, which SQL must not see either


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_else_is_admitted_and_no_file_is_touched(store: Path, attack: str) -> None:
    secret = pa.table({"x": [1]})  # a Python variable that SQL must not see
    before = sorted(store.parent.rglob("*"))
    with pytest.raises(QueryError) as refused:
        sql.query(store, attack.format(root=store.parent))
    assert "\n" not in str(refused.value)
    assert sorted(store.parent.rglob("*")) == before
    assert secret.num_rows == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SET enable_external_access = true",
        "SET python_enable_replacements = true",
        "SET temp_directory = '{root}'",
        "SET memory_limit = '100GB'",
        "RESET memory_limit",
        "SET lock_configuration = false",
        "PRAGMA enable_profiling",
        "COPY (SELECT 1) TO '{root}/out.csv'",
        "ATTACH '{root}/out.duckdb'",
        "EXPORT DATABASE '{root}/out'",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_what_the_filter_keeps_out_the_connection_refuses_too(
    store: Path, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection refuses dangerous statements even when the filter lets them pass."""
    monkeypatch.setattr(sql, "admit", lambda _: None)
    before = sorted(store.parent.rglob("*"))
    with pytest.raises(QueryError):
        sql.query(store, statement.format(root=store.parent))
    assert sorted(store.parent.rglob("*")) == before


def test_a_query_that_takes_too_long_is_ended(store: Path) -> None:
    endless = "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range + b.range = 7"
    with pytest.raises(QueryError, match=r"took longer than 0\.2 s"):
        sql.query(store, endless, timeout_s=0.2)


def test_a_query_cannot_take_all_memory(store: Path) -> None:
    with pytest.raises(QueryError, match=r"(?i)memory"):
        sql.query(store, "SELECT list(range) FROM range(100000000)", memory_limit="100MB")


def test_a_wrong_name_gets_the_right_one(store: Path) -> None:
    with pytest.raises(QueryError, match="accuracy"):
        sql.query(store, "SELECT acuracy FROM trials")


def written(table: pa.Table, format: sql.Format) -> str:
    stream = io.StringIO()
    sql.write(table, format, stream)
    return stream.getvalue()


def test_rows_in_each_format() -> None:
    table = pa.table({"method": ["snip", None], "accuracy": [0.98765432, 0.5], "n": [3, 12]})
    assert written(table, "csv") == "method,accuracy,n\nsnip,0.98765432,3\n,0.5,12\n"
    assert json.loads(written(table, "json"))[1] == {"method": None, "accuracy": 0.5, "n": 12}
    shown = written(table, "table")
    assert "0.987654" in shown
    assert len({len(line.rstrip()) for line in shown.splitlines() if "snip" in line}) == 1


def test_a_wide_table_is_shown_whole() -> None:
    table = pa.table({f"column_{i}": ["x" * 30] for i in range(20)})
    assert written(table, "table").count("x" * 30) == 20


def test_json_says_null_where_it_has_no_word_for_a_number(store: Path) -> None:
    table = sql.query(store, "SELECT 'nan'::DOUBLE AS loss, [1.5, 'inf'::DOUBLE] AS list")
    assert json.loads(written(table, "json")) == [{"loss": None, "list": [1.5, None]}]
    table = sql.query(store, "SELECT sum(x) AS whole, 0.25 AS part FROM range(4) t(x)")
    assert json.loads(written(table, "json")) == [{"whole": 6, "part": 0.25}]


def test_segments_are_read_by_tables_and_by_nothing_else(tmp_path: Path) -> None:
    write_segment(tmp_path, "a", [run_row(key_of(1))])
    assert sql.query(tmp_path, "SELECT count(*) AS n FROM tasks")["n"].to_pylist() == [1]
    path = tmp_path / layout.segment("tasks", "a")
    for function in ("read_parquet", "read_blob", "read_text", "parquet_metadata", "glob"):
        with pytest.raises(QueryError, match="disabled"):
            sql.query(tmp_path, f"SELECT * FROM {function}('{path}')")
    with pytest.raises(QueryError, match="disabled"):
        sql.query(tmp_path, f"WITH x AS (COPY tasks TO '{path}') SELECT 1")


def test_a_query_spills_to_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    huge = "SELECT * FROM range(20000000) t(x) ORDER BY hash(x)"
    with pytest.raises(QueryError, match=r"(?i)memory"):
        sql.query("store", huge, memory_limit="60MB")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
