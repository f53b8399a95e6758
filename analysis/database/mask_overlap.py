"""Weights that two masks both keep, counted from the store's mask files, for SQL and Python."""

import re
from functools import lru_cache
from pathlib import Path

import duckdb
import numpy as np
from duckdb.func import FunctionNullHandling

from tombola.errors import StoreError
from tombola.store import layout, location, tensors
from tombola.store.location import locate
from tombola.store.tensors import Arrays

_KEY = re.compile(r"[0-9a-f]{64}")
_HELD = 64
"""Masks in memory at a time, eight weights to a byte."""


class Masks:
    """Masks of a store by key; each file is read and checked once, then cached."""

    def __init__(self, store: str | Path) -> None:
        self._store = locate(store)
        self._bits = lru_cache(_HELD)(self._read)

    def kept_by_both(self, mask_a: str | None, mask_b: str | None, layer: str) -> int | None:
        """Count the weights of a layer that both masks keep; None if a file or it is missing.

        Raises
        ------
        StoreError
            When a file is damaged, or the layers have different shapes.
        """
        a, b = self._bits(mask_a).get(layer), self._bits(mask_b).get(layer)
        if a is None or b is None:
            return None
        if a.shape != b.shape:
            raise StoreError(
                f"layer {layer} differs in shape: masks {str(mask_a)[:12]} and {str(mask_b)[:12]}"
            )
        return int(np.bitwise_count(a & b).sum(dtype=np.int64))

    def _read(self, key: str | None) -> Arrays:
        """Return a mask's bits by layer; empty if its file is freed or the key is not valid."""
        if key is None or not _KEY.fullmatch(key):
            return {}
        path = self._store / layout.mask(key)
        try:
            bits, about = tensors.decode(location.read(path))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StoreError(f"{path} {error}; `tombola verify --repair` removes it") from None
        if about.get("mask") != key:
            raise StoreError(f"{path} holds another mask than its name says")
        return bits


def offer(connection: duckdb.DuckDBPyConnection, store: str | Path) -> None:
    """Add the function `kept_by_both(mask_a, mask_b, layer)`, which reads mask files only."""
    masks = Masks(store)
    text, whole = duckdb.sqltypes.VARCHAR, duckdb.sqltypes.BIGINT
    connection.create_function(
        "kept_by_both",
        masks.kept_by_both,
        [text] * 3,
        whole,
        null_handling=FunctionNullHandling.SPECIAL,
    )


def complaint(error: duckdb.Error) -> StoreError | None:
    """Return the StoreError behind a query's error on a mask file, or None."""
    match = re.search(r"executing the UDF: StoreError: (.*)", str(error))
    return StoreError(match[1]) if match else None
