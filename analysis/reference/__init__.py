"""Published numbers with their sources, for overlays; they are never mixed with results."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from analysis.reference.index import INDEX, Reference
from tombola.errors import PublishedError
from tombola.text import nearest

__all__ = ["Reference", "about", "drawable", "load", "names", "path", "sha256_of"]


def names() -> list[str]:
    """Return the names of the references."""
    return list(INDEX)


def drawable() -> list[str]:
    """Return the names of the references with curves."""
    return [name for name, reference in INDEX.items() if reference.has_curves]


def about(name: str) -> Reference:
    """Return the description of a reference: title, source, licence, caveats.

    Raises
    ------
    PublishedError
        When there is no reference of that name.
    """
    if name not in INDEX:
        raise PublishedError(f"no reference {name!r}; {nearest(name, INDEX)}")
    return INDEX[name]


def path(name: str) -> Path:
    """Return the path of the CSV file of a reference."""
    return Path(__file__).with_name(about(name).file)


def load(name: str) -> Any:
    """Return the rows of a reference as a pyarrow Table; missing values are null.

    Raises
    ------
    PublishedError
        When there is no reference of that name, or its file lacks a declared column.
    """
    import pyarrow as pa
    from pyarrow import csv

    types = {"text": pa.string(), "number": pa.float64(), "count": pa.int64()}
    declared = {column: types[kind] for column, kind in about(name).columns.items()}
    try:
        return csv.read_csv(
            path(name),
            convert_options=csv.ConvertOptions(
                column_types=declared,
                include_columns=list(declared),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True),
        )
    except (OSError, pa.ArrowException) as error:
        raise PublishedError(f"{path(name)} cannot be read: {error}") from None


@cache
def sha256_of(name: str) -> str:
    """Return the SHA-256 of the file of a reference, in hexadecimal."""
    return sha256(path(name).read_bytes()).hexdigest()
