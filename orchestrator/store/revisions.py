"""What a sweep's file says of itself and of its trials, checked for every reader of a store."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.store import layout, parquet, schema
from orchestrator.store.parquet import Damage

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""A tag or an option: a column of `trials` is called after it."""

_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_LONGEST = 10_000
"""Characters of a name, a schedule or any other text of a trial."""

_LONGEST_SAID = 1 << 22
"""Characters of a sweep's definition, and of its figures."""

_FIRST, _LAST = datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2200-01-01")


@dataclass(frozen=True)
class Revision:
    """One revision of a sweep: the metadata of its file, by name, and its trials."""

    about: dict[str, str]
    path: Path
    count: int

    @property
    def registered_at(self) -> datetime:
        """When it was last launched, UTC."""
        return utc(self.about["registered_at"])


def utc(text: str) -> datetime:
    """A moment from ISO text, in UTC and without a zone.

    Raises
    ------
    ValueError
        When it is none, or one that no launch of this software can have noted.
    """
    moment = datetime.fromisoformat(text)
    try:
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        moment = _LAST
    if not _FIRST <= moment < _LAST:
        raise ValueError(f"no launch was at {text}")
    return moment


def revision(path: Path, file: pq.ParquetFile) -> Revision:
    """What a sweep's file says of itself.

    Raises
    ------
    Damage
        When it does not say it all, or is called otherwise.
    """
    try:
        known = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
        about = {name: known[name] for name in schema.SWEEP_METADATA}
        utc(about["registered_at"])
        _object(about["definition"], dict)
        _object(about["figures"], list)
    except KeyError as error:
        raise Damage(f"its metadata has no {error}") from None
    except ValueError as error:
        raise Damage(f"metadata: {error}") from None
    name, identity = about["name"], about["revision"]
    if not (_NAME.fullmatch(name) and _NAME.fullmatch(identity)):
        raise Damage("its sweep has an impossible name")
    if path.name != Path(layout.sweep(name, identity)).name:
        raise Damage("it is of another sweep than its name says")
    return Revision(about, path, file.metadata.num_rows)


def trials(file: pq.ParquetFile, declared: pa.Schema = schema.TRIALS) -> pa.Table:
    """Declared columns of the trials in a sweep's file.

    Raises
    ------
    Damage
        When the file is not what was written, or a name in it is none.
    """
    rows = parquet.table(file, declared)
    for field in declared:
        if pa.types.is_string(field.type):
            _check_text(field.name, pc.unique(rows[field.name]))
    return rows


def _check_text(column: str, texts: pa.Array) -> None:
    longest = pc.max(pc.utf8_length(texts)).as_py() or 0
    if longest > _LONGEST:
        raise Damage(f"a text of its column {column} has {longest:,} characters")
    if pc.any(pc.match_substring_regex(texts, _CONTROL)).as_py():
        raise Damage(f"a text of its column {column} has control characters")
    if column in {"options", "tags"}:
        for name in _names(text for text in texts.to_pylist() if text is not None):
            if not _FIELD.fullmatch(name):
                raise Damage(f"{ascii(name)[:60]} in its column {column} is no name")


def _names(texts: Iterator[str]) -> Iterator[str]:
    """Names of fields; what is no object has none."""
    for text in texts:
        with suppress(ValueError):
            yield from _object(text, dict)


def _object(text: str, kind: type) -> Any:
    if len(text) > _LONGEST_SAID:
        raise ValueError(f"a text has {len(text):,} characters")
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(found, kind):
        raise ValueError(f"its JSON is no {'object' if kind is dict else 'list'}")
    return found
