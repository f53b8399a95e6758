"""Error messages for queries: one line, with the name that was probably meant."""

import difflib
import re

import duckdb

_HINTS = ("Did you mean", "Candidate bindings")
_COLUMN = re.compile(
    r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"'
)
_MOST = 3


def explained(error: Exception, connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return an error in one line; for an unknown column, with similar columns."""
    named = _COLUMN.search(str(error))
    meant = _nearest(named[1] or named[2], _columns(connection, sql)) if named else []
    if meant:
        first = _first(error)
        stop = "" if first.endswith("!") else "."
        return f"{first}{stop} Did you mean {' or '.join(meant)}?"
    return one_line(error)


def one_line(error: Exception) -> str:
    """Return the first line of an error, and its hints."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    hints = [line for line in lines[1:] if line.startswith(_HINTS)]
    return " ".join([_first(error), *hints]).replace(": : ", ": ")


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _columns(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """Return the columns of the tables in a query."""
    sql_columns = """
        SELECT DISTINCT column_name FROM duckdb_columns()
        WHERE schema_name = 'main' AND NOT internal AND list_contains(?, table_name)
    """
    words = sorted(set(re.findall(r"\w+", sql.casefold())))
    return sorted(name for (name,) in connection.execute(sql_columns, [words]).fetchall())


def _nearest(word: str, known: list[str]) -> list[str]:
    """Return names that begin with the word, then contain it, or else are spelt like it."""
    word = word.casefold()
    parts = [name for name in known if word in re.split("_", name.casefold())]
    begun = sorted(parts, key=lambda name: (not name.casefold().startswith(word), len(name), name))
    return (begun or difflib.get_close_matches(word, known, n=_MOST, cutoff=0.6))[:_MOST]
