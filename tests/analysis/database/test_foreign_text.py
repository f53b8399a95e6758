"""Text from users and other stores: names stay names, and every output shows it harmlessly."""

import csv
import io
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import CliRunner

from analysis.database import export, quoting, sql
from analysis.database.connection import closed, connect
from analysis.tables.formats import _escaped, _tex
from tests.support.build_store import key_of, trial, write_sweep
from tombola.cli import app
from tombola.errors import QueryError, StoreError
from tombola.store.verify import verify
from tombola.terminal import Terminal, styled
from tombola.text import cell, lines, shortened, visible

NASTY = (
    "[/x]",
    "[bold red]x",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\rb",
    "a\0b",
    "\u202eevil",
    "\ud800",
    ":smile:",
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-1+cmd",
    "@SUM(A1)",
    "\t=1",
    "<script>alert(1)</script>",
    "$\\frac{$",
    "\\input{/etc/passwd}",
    "'; DROP TABLE trials; --",
    '"',
)


@given(st.text())
def test_literals_and_identifiers_are_read_back_as_they_were(text: str) -> None:
    with duckdb.connect() as connection:
        [(read,)] = connection.execute(f"SELECT {quoting.literal(text)}").fetchall()
        assert read == text
        if text:
            connection.execute(f"SELECT 1 AS {quoting.identifier(text)}")
            assert connection.description is not None
            assert connection.description[0][0] == text


@pytest.mark.parametrize("text", NASTY)
def test_the_terminal_shows_what_is_written_and_nothing_moves(text: str) -> None:
    stream = io.StringIO()
    terminal = Terminal(file=stream, width=200)
    table = Table("heading " + text)
    table.add_row(text)
    terminal.print(table)
    terminal.print(text, style="bold")
    terminal.print(styled(("failed", "red"), text))
    shown = stream.getvalue()
    assert shown.count(lines(text).expandtabs().strip()) >= 3 or "\t" in text
    assert all(char.isprintable() or char == "\n" for char in shown)


@given(st.text())
def test_what_is_visible_is_one_line_that_any_terminal_takes(text: str) -> None:
    shown = visible(text)
    assert "\x1b" not in shown
    assert len(shown.splitlines()) <= 1
    shown.encode()


@pytest.mark.parametrize("text", NASTY)
def test_no_cell_of_csv_is_a_formula(text: str) -> None:
    table = pa.table({"a": [text.encode(errors="replace").decode()], "n": [-5]})
    stream = io.StringIO()
    sql.write(table, "csv", stream)
    [_, [shown, number]] = csv.reader(io.StringIO(stream.getvalue()))
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert number == "-5"


@pytest.mark.parametrize("number", ["-5", "+1", "-0.5", "-1e-3", "-.5", "12"])
def test_numbers_stay_numbers_in_csv(number: str) -> None:
    assert cell(number) == number
    assert cell(float(number)) == float(number)


@pytest.mark.parametrize("text", NASTY)
def test_latex_and_markdown_take_nothing_for_their_own(text: str) -> None:
    tex = _tex(text)
    assert "\\input" not in tex
    assert "\n" not in _escaped(text)
    assert all(char.isprintable() for char in tex + _escaped(text))


def test_a_message_is_never_long() -> None:
    assert len(shortened("x" * 10**6)) < 1000
    assert shortened("short") == "short"


HOSTILE: dict[str, dict[str, Any]] = {
    "a quote in a tag": {"tags": '{"a\\"b": 1}'},
    "SQL in a tag": {"tags": '{"a\\" IS NULL; COPY trials TO \'out.csv\'; --": 1}'},
    "NUL in a tag": {"tags": '{"a\\u0000b": 1}'},
    "an escape in an option": {"options": '{"a\\u001b[31m": 1}'},
    "a long tag": {"tags": '{"' + "a" * 10**6 + '": 1}'},
    "many tags": {"tags": "{" + ", ".join(f'"t{n}": 1' for n in range(1000)) + "}"},
    "an escape in a method": {"method": "\x1b[31msnip"},
    "a long network": {"network": "n" * 10**6},
    "another key": {"run_key": "../../etc/passwd"},
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_names_that_no_sweep_file_gives_are_refused_in_a_line(
    tmp_path: Path, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    write_sweep(store, "hostile", [trial(**{"run_key": key_of(1), **said})])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match=r"hostile-r1\.parquet"):
        connect(store)
    assert any("hostile-r1" in finding.path.name for finding in verify(store))
    for command in (
        ["sql", "FROM trials"],
        ["table", "hostile"],
        ["export", "--all", "--to", "a.csv"],
    ):
        ended = CliRunner().invoke(app, [*command, "--store", str(store)])
        assert ended.exit_code == 2, ended.output
        assert len(ended.output.splitlines()) == 1
        assert len(ended.output) < 1000
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["a'b", "\x1b[31m", "x" * 100_000, "../x"])
def test_a_sweep_is_called_as_a_file_may_call_it(tmp_path: Path, name: str) -> None:
    path = write_sweep(tmp_path, "plain", [trial(key_of(1))])
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    metadata = {**(table.schema.metadata or {}), b"name": name.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(StoreError, match="is not a valid name of a sweep"):
        connect(tmp_path)


@pytest.mark.parametrize("statement", ["SET threads = 1", "ATTACH 'x.duckdb'", "COPY t TO 'x.csv'"])
def test_databases_are_locked_before_text_of_a_store_comes(tmp_path: Path, statement: str) -> None:
    for database in (":memory:", str(tmp_path / "a.duckdb")):
        with closed(database) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS a")
            with pytest.raises(duckdb.Error):
                connection.execute(statement)


def test_a_database_is_of_the_format_that_old_clients_read(tmp_path: Path) -> None:
    """DuckDB's header has the storage version at byte 12; clients from 0.10 on read version 64."""
    write_sweep(tmp_path / "store", "plain", [trial(key_of(1))])
    [path] = export.export(tmp_path / "store", tmp_path / "out.duckdb")
    for written in (path, export.publish(tmp_path / "store")):
        assert int.from_bytes(written.read_bytes()[12:20], "little") == 64


@pytest.mark.parametrize("query", ["SELECT repeat('a', 3000000000)", "SELECT range(400000000)"])
def test_memory_that_duckdb_does_not_count_is_limited_too(tmp_path: Path, query: str) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(QueryError, match="takes more memory than 500MB"):
        sql.query(tmp_path / "store", query, memory_limit="500MB")


def test_an_operation_that_looks_at_no_clock_is_ended(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(QueryError, match=r"took longer than 0\.5 s"):
        sql.query(tmp_path / "store", "SELECT len(repeat('a', 1500000000))", timeout_s=0.5)


def test_the_nearest_column_of_the_tables_asked_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(QueryError, match=r"Did you mean mask_key\?"):
        sql.query(tmp_path / "store", "SELECT mask FROM trials")


@pytest.mark.parametrize(
    "condition",
    [
        *("", " ", "-- nothing", "true) OR (true", "true) --", "true; DROP TABLE trials"),
        *("true ORDER BY 1", "true UNION SELECT 1", "true LIMIT 1", "method = 'a", "("),
        *("true) UNION (SELECT 1", "1 GROUP BY ALL", "/* x", "FROM trials"),
    ],
)
def test_what_is_no_condition_is_refused(condition: str) -> None:
    with pytest.raises(QueryError, match="condition"):
        sql.condition(condition)


@pytest.mark.parametrize(
    "condition", ["true", "(a) OR (b)", "method = ')' -- (", "x IN (SELECT 1)", "a = 1 AND b = '('"]
)
def test_a_condition_stands_in_brackets_as_it_is(condition: str) -> None:
    assert sql.condition(condition) == f"({condition}\n)"
