"""Spool rows of results to disk, and read them back with every row after its inputs."""

import json
import tempfile
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from tombola.store import schema
from tombola.store.lineage import stands_on

Row = dict[str, Any]


class Spool:
    """Rows of schema.LIVE in a temporary file; memory holds their keys and inputs only."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="tombola-")  # noqa: SIM115 - closed on exit
        self._places: dict[str, tuple[int, int]] = {}
        self._needs: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """Add a row."""
        content = zlib.compress(schema.fold(row)["row"].encode(), 1)
        self._places[row["key"]] = self._file.tell(), len(content)
        self._needs[row["key"]] = stands_on(json.loads(row["value"]))
        self._file.write(content)

    def rows(self) -> Iterator[Row]:
        """Yield every row once, after its inputs."""
        for key in self._ordered():
            place, size = self._places[key]
            self._file.seek(place)
            yield schema.unfold(zlib.decompress(self._file.read(size)).decode())

    def _ordered(self) -> Iterator[str]:
        begun: set[str] = set()
        for first in self._places:
            path = [first]
            while path:
                key = path[-1]
                if key in begun:
                    path.pop()
                    if self._needs.pop(key, None) is not None:
                        yield key
                    continue
                begun.add(key)
                path += [need for need in self._needs[key] if need in self._places.keys() - begun]
