"""A user's own fields as columns of `trials`: options and tags of a sweep file.

They are kept as JSON; each name becomes one flat column, prefixed, so that no column of a later
version can ever take its place.
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
"""By column of schema.TRIALS that holds JSON objects: the prefix, and what a column means."""

TEXT = "text"
_LARGEST = 2**63
_NO_FLOAT = 10**308


def flattened(column: str, texts: Iterable[str]) -> pa.Table:
    """A row for each JSON object: `text`, then its fields in columns of the narrowest type.

    BOOLEAN, BIGINT and DOUBLE where all values are such, else VARCHAR (JSON for lists); null
    where an object does not have the field. What is no object has none.
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
    return text.encode(errors="backslashreplace").decode()  # half a pair is no text
