"""Read the folders of a store as Arrow tables of the declared types, many files at a time.

Published files are never changed. They are removed by a compaction, once a segment holds their
rows, or by a repair. If a listed file is gone when it is read, FileNotFoundError is raised, and
the store must be listed again.
"""

import json
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tombola.errors import DamagedFile, StoreError
from tombola.store import layout, parquet, revisions, schema
from tombola.store.location import contents, source, version
from tombola.store.parquet import bare, conform
from tombola.store.revisions import Revision, utc
from tombola.store.segments import segment_files, segments

if TYPE_CHECKING:
    import pyarrow.dataset as ds


FLAT = {"tasks": bare(schema.TASKS)} | {t: bare(of) for t, of in schema.PARTS.items()}
"""The columns of the tables of a segment, by table, without comments (as all columns below)."""

TRIALS = bare(schema.TRIALS)
REPEATS = bare(schema.REPEATS)
_LIVE = bare(schema.LIVE)
ATTEMPTS = bare(schema.ATTEMPTS)
_FOLDED = schema.FOLDED.names
KEYS = pa.schema([FLAT["tasks"].field("key")])
"""The column of keys in a segment."""

FOLLOWED = pa.schema([ATTEMPTS.field(name) for name in ("launch", "key", "event", "noted_at")])
"""The columns that give the status of a task that did not fail."""

_BLOCK = 1 << 24
"""Bytes of JSON that are read at a time; each line must fit."""


@dataclass(frozen=True)
class Listing:
    """The published files of a store at one moment; a segment is given by its `tasks` file."""

    live: tuple[Path, ...]
    segments: tuple[Path, ...]
    sweeps: tuple[Path, ...]
    journal: tuple[Path, ...]
    repeats: tuple[Path, ...] = ()
    folded_journal: tuple[Path, ...] = ()


def listing(root: Path) -> Listing:
    """List a store: live results before segments, as compaction moves rows in that order."""
    live = tuple(layout.published(root / layout.LIVE, ".parquet"))
    journal, folded = layout.journal_parts(root)
    return Listing(
        live=live,
        segments=tuple(segments(root)),
        repeats=tuple(layout.published(root / layout.REPEATS, ".parquet")),
        sweeps=tuple(layout.published(root / layout.SWEEPS, ".parquet")),
        journal=tuple(journal),
        folded_journal=tuple(folded),
    )


def mark(root: Path) -> Hashable:
    """Return a value that changes when the store does: its files, and versions of sweeps."""
    listed = listing(root)
    return listed, tuple(map(_version, listed.sweeps))


def _version(path: Path) -> Hashable:
    with suppress(FileNotFoundError):
        return version(path)
    return None


# ---------------------------------------------------------------- results


def read_live(paths: Sequence[Path]) -> pa.Table:
    """Read the rows of live results (schema.LIVE), in one thread: the files are small.

    Raises
    ------
    StoreError
        When a file is damaged.
    """
    folded: dict[Path, str] = {}
    tables = [_LIVE.empty_table()]
    for path, content in _read_all(paths):
        with _checked(path):
            file = parquet.parsed(content, one=True)
            if file.schema_arrow.names == _FOLDED:
                folded[path] = str(file.read(use_threads=False)["row"][0].as_py())
            else:
                tables.append(parquet.table(file, _LIVE))
    return pa.concat_tables([*tables, _unfolded(folded)]).combine_chunks()


def read_segment(head: Path, table: str) -> pa.Table:
    """Read one table (of FLAT) of the segment whose `tasks` file is `head`."""
    files = segment_files([head], table)
    return _read(files[0], FLAT[table]) if files else FLAT[table].empty_table()


def segment_keys(head: Path) -> pa.Table:
    """Read the keys of the tasks in a segment: one column, `key`."""
    return _read(head, KEYS)


def scan_segments(heads: Sequence[Path], table: str) -> "ds.Dataset | None":
    """Open one table (of FLAT) of segments; a query reads the columns that it needs.

    None if no segment has the table.

    Raises
    ------
    StoreError
        When the footer of a file is damaged.
    """
    return scan(segment_files(heads, table), FLAT[table])


def scan(paths: Sequence[Path], declared: pa.Schema) -> "ds.Dataset | None":
    """Open files of declared columns, as `scan_segments` does."""
    for path in paths:
        with _checked(path):
            parquet.check_columns(parquet.opened(path).schema_arrow, declared)
    if not paths:
        return None
    import pyarrow.dataset as ds

    return ds.FileSystemDataset([_fragment(path) for path in paths], declared, _format())


def damaged(listed: Listing) -> StoreError | None:
    """Read all files that queries scan, and return the first error, or None."""
    for head in listed.segments:
        for table in FLAT:
            try:
                read_segment(head, table)
            except FileNotFoundError:
                return StoreError(
                    f"{layout.part(head, table)} was removed while it was read; ask again"
                )
            except StoreError as error:
                return error
    return _unreadable(listed.folded_journal)


def _unreadable(tables: Sequence[Path]) -> StoreError | None:
    for path in tables:
        try:
            _read(path, ATTEMPTS)
        except StoreError as error:
            return error
    return None


def read_repeats(paths: Sequence[Path]) -> pa.Table:
    """Read the comparisons of repeated tasks (schema.REPEATS)."""
    tables = [REPEATS.empty_table()]
    for path, content in _read_all(paths):
        with _checked(path):
            tables.append(parquet.table(parquet.parsed(content), REPEATS))
    return pa.concat_tables(tables)


# ---------------------------------------------------------------- sweeps and journal


def read_revision(path: Path) -> Revision:
    """Read the metadata of a sweep's file.

    Raises
    ------
    StoreError
        When the file is damaged.
    """
    with _checked(path):
        return revisions.revision(path, parquet.opened(path))


def read_trials(revision: Revision, declared: pa.Schema = TRIALS) -> pa.Table:
    """Read columns of the trials of a revision."""
    with _checked(revision.path):
        return revisions.trials(parquet.opened(revision.path), revision, declared)


def read_attempts(paths: Sequence[Path]) -> pa.Table:
    """Read the events of journal parts (schema.ATTEMPTS), oldest first; skip unreadable lines."""
    if not paths:
        return ATTEMPTS.empty_table()
    parts = [content.decode(errors="replace").rstrip("\n") for _, content in _read_all(paths)]
    import pyarrow.compute as pc

    try:
        table = conform(_parsed([part for part in parts if part], ATTEMPTS), ATTEMPTS)
        return table.filter(pc.is_valid(table["noted_at"])).sort_by("noted_at")
    except pa.ArrowException:
        pass  # a torn or foreign line: parse line by line
    events = [event for part in parts for event in _events(part)]
    events.sort(key=lambda event: event["noted_at"])
    try:
        return pa.Table.from_pylist(events, ATTEMPTS)
    except (pa.ArrowException, TypeError):
        return pa.Table.from_pylist([e for e in events if _fits(e)], ATTEMPTS)


def read_folded(paths: Sequence[Path]) -> pa.Table:
    """Read the columns FOLLOWED of folded journals."""
    return pa.concat_tables([FOLLOWED.empty_table(), *(_read(path, FOLLOWED) for path in paths)])


# ---------------------------------------------------------------- details


def _events(part: str) -> Iterator[dict[str, Any]]:
    for line in part.split("\n"):
        try:
            event = json.loads(line)
            yield {**event, "noted_at": utc(event["noted_at"])}
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # the journal is advisory: a torn line is no error


def _fits(event: dict[str, Any]) -> bool:
    try:
        pa.Table.from_pylist([event], ATTEMPTS)
    except (pa.ArrowException, TypeError):
        return False
    return True


def _unfolded(folded: dict[Path, str]) -> pa.Table:
    try:
        return conform(_parsed(folded.values(), _LIVE), _LIVE)
    except pa.ArrowException:
        pass  # for example a loss that is not a number, which Arrow's reader refuses
    try:
        return pa.Table.from_pylist([schema.unfold(text) for text in folded.values()], _LIVE)
    except (ValueError, TypeError, pa.ArrowException) as error:
        if len(folded) == 1:
            raise DamagedFile.altered(next(iter(folded)), error) from None
    for path, text in folded.items():
        _unfolded({path: text})  # raises the error of the damaged file
    raise StoreError("live results cannot be read together; `tombola verify` tells more")


def _read_all(paths: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield files with their content; for small files."""
    for path, content in zip(paths, contents(paths), strict=True):
        if content is None:
            raise FileNotFoundError(path)
        yield path, content


def _parsed(lines: Collection[str], declared: pa.Schema) -> pa.Table:
    """Parse JSON objects, a line each, with Arrow: three times as fast as one by one.

    Raises
    ------
    pyarrow.ArrowException
        When a line is not an object of the declared columns.
    """
    content = "\n".join(lines).encode()
    if not content:
        return declared.empty_table()
    import pyarrow.json as pa_json

    return pa_json.read_json(
        pa.BufferReader(content),
        read_options=pa_json.ReadOptions(block_size=max(_BLOCK, 2 * max(map(len, lines)))),
        parse_options=pa_json.ParseOptions(
            explicit_schema=declared, unexpected_field_behavior="ignore"
        ),
    )


@cache
def _format() -> "ds.ParquetFileFormat":
    import pyarrow.dataset as ds  # slow to import, and `tombola status` does not need it

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.ParquetFileFormat(default_fragment_scan_options=options)


def _fragment(path: Path) -> "ds.ParquetFileFragment":
    from pyarrow.fs import LocalFileSystem

    file = source(path)
    place = (str(file), LocalFileSystem()) if isinstance(file, Path) else (file,)
    return _format().make_fragment(*place)


def _read(path: Path, declared: pa.Schema) -> pa.Table:
    with _checked(path):
        return parquet.table(parquet.opened(path), declared)


@contextmanager
def _checked(path: Path) -> Iterator[None]:
    """Raise a StoreError that names the file for any error of reading it, unless it is gone."""
    try:
        with parquet.checked(path):
            yield
    except PermissionError:
        raise StoreError(f"{path} cannot be read: permission denied") from None
