"""Columns of `trials` for the user's fields: options and tags of a sweep file.

The store has them as JSON. Each name becomes one column with a prefix, which no column of a later
version can have.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from tombola.store import asked

FIELDS = {
    "options": ("option_", "option `{}` of the method, as the sweep file says it"),
    "network_options": ("network_option_", "option `{}` of the network, as the sweep file says it"),
    "tags": ("tag_", "tag `{}` of the sweep file"),
}
"""Column of schema.TRIALS with JSON objects → (prefix, meaning) of the columns from it."""

TEXT = "text"
_LARGEST = 2**63
_NO_FLOAT = 10**308


def flattened(column: str, texts: Iterable[str]) -> pa.Table:
    """Return a row for each JSON text: `text`, then a column for each field.

    A column is BOOLEAN, BIGINT or DOUBLE if all values are, else VARCHAR (lists as JSON). It is
    null where an object lacks the field. A text that is no JSON object has no fields.
    """
    prefix, meaning = FIELDS[column]
    known = {text: asked.fields(text) for text in texts}
    names = sorted({name for fields in known.values() for name in fields})
    schema = [pa.field(TEXT, pa.string())]
    columns: list[Sequence[Any]] = [list(known)]
    for name in names:
        kind, values = _typed([fields.get(name) for fields in known.values()])
        about = {"comment": f"{meaning.format(name)}; null where it does not say"}
        schema.append(pa.field(f"{prefix}{name}", kind, metadata=about))
        columns.append(values)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=pa.schema(schema))


def _typed(values: Sequence[Any]) -> tuple[pa.DataType, Sequence[Any]]:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_(), values
    if kinds == {int} and all(v is None or -_LARGEST <= v < _LARGEST for v in values):
        return pa.int64(), values
    if kinds and kinds <= {int, float} and not any(_is_beyond(value) for value in values):
        return pa.float64(), [None if v is None else float(v) for v in values]
    return pa.string(), [None if v is None else _text(v) for v in values]


def _is_beyond(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= _NO_FLOAT


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="backslashreplace").decode()  # a lone surrogate is not valid text
