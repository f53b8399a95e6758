"""A small honest store, and ways to poison it: each is a function that changes a copy of one.

How to add one: write a function `(store, outside)` with a docstring and `@poison(...)`; it is
walked by every command in test_stores.py. `outside` is a folder beside the store that no command
may read as the store's, change or delete.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save

from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.small import write_sweep
from tombola.store import layout, results, schema

Poison = Callable[[Path, Path], object]
Kind = Literal["tables", "weights", "definitions", "strays"]
SECRET = b"a secret of the reader's"
CODE = "import pathlib\npathlib.Path('ran').touch()\ndef f(*a, **k):\n    raise SystemExit(134)\n"


@dataclass(frozen=True)
class Poisoned:
    """A way to poison a store.

    `heals`: `verify` names the damage, and `--repair` ends it. `concerns`: `weights` or
    `definitions`, which few commands open (walking.py names them); `strays`, which are no
    reader's and can be together in one store; or `tables`, that every command reads.
    """

    name: str
    apply: Poison
    heals: bool
    concerns: Kind


POISONS: list[Poisoned] = []


def poison(*, heals: bool = True, of: Kind = "tables") -> Callable[[Poison], Poison]:
    """Add a way to poison a store."""

    def add(apply: Poison) -> Poison:
        POISONS.append(Poisoned(apply.__name__, apply, heals, of))
        return apply

    return add


def honest(folder: Path) -> Path:
    """Build a store that a sweep of two tickets has filled, beside its sweep file `tiny.yaml`."""
    path = write_sweep(
        folder,
        recipe={"steps": 4, "batch_size": 64, "lr": 0.1, "evaluate_every": 4},
        network="conv2_bn",
        grids=[
            {"method": "imp", "levels": [1], "rewind_step": [1]},
            {"method": "random", "levels": [1]},
        ],
    )
    study.run(study.read(path), folder / "store", InlineExecutor())
    return folder / "store"


def first(store: Path, folder: str) -> Path:
    """Return a file of a folder of the store."""
    return next(p for p in sorted((store / folder).rglob("*")) if p.is_file() and "." in p.name[1:])


def register(store: Path, **changes: str) -> None:
    """Change the metadata of a sweep's file, under a valid seal."""
    path = first(store, layout.SWEEPS)
    table = pq.read_table(path)
    about = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    path.write_bytes(results.encode(schema.TRIALS, table, {**about, **changes}))


def define(store: Path, **changes: Any) -> None:
    """Change the sweep's definition in the store."""
    about = pq.read_metadata(first(store, layout.SWEEPS)).metadata
    register(store, definition=json.dumps({**json.loads(about[b"definition"]), **changes}))


def live_row(store: Path, text: str) -> None:
    """Replace fields of a result's row by any text, under a valid seal."""
    path = first(store, layout.LIVE)
    path.write_bytes(results.encode(schema.FOLDED, [{"key": path.stem, "row": text}]))


def mask_header(store: Path, said: object) -> None:
    """Replace the metadata of a mask."""
    path = first(store, layout.MASKS)
    text = said if isinstance(said, str) else json.dumps(said)
    path.write_bytes(save({"a": np.zeros(1, np.uint8)}, metadata={"tombola": text}))


@poison(heals=False, of="definitions")
def a_recipe_that_is_code(store: Path, _: Path) -> None:
    define(store, recipe="evil:f")


@poison(heals=False, of="definitions")
def a_dataset_that_is_code(store: Path, _: Path) -> None:
    define(store, dataset="evil:f")


@poison(heals=False, of="definitions")
def a_network_in_a_package_that_is_code(store: Path, _: Path) -> None:
    define(store, network="evilpack.inner:f")


@poison(heals=False, of="definitions")
def a_score_that_is_code(store: Path, _: Path) -> None:
    define(store, grids=[{"method": "evil:f", "sparsity": [0.5]}])


@poison(heals=False)
def a_definition_all_of_which_is_code(store: Path, _: Path) -> None:
    of_method = [{"method": "evil:f", "sparsity": [0.5]}]
    define(store, recipe="evil:f", dataset="evil:f", network="evilpack.inner:f", grids=of_method)


@poison(of="strays")
def a_link_to_a_folder_of_masks(store: Path, outside: Path) -> None:
    (store / layout.MASKS / "zz").symlink_to(outside)


@poison(of="strays")
def a_link_to_a_folder_of_states(store: Path, outside: Path) -> None:
    (store / layout.STATES / "zz").symlink_to(outside)


@poison(of="strays")
def a_link_to_a_folder_of_results(store: Path, outside: Path) -> None:
    (store / layout.LIVE / "zz").symlink_to(outside)


@poison(of="strays")
def a_link_to_a_folder_of_sweeps(store: Path, outside: Path) -> None:
    (store / layout.SWEEPS / "zz").symlink_to(outside)


@poison(of="strays")
def a_link_to_a_folder_of_a_journal(store: Path, outside: Path) -> None:
    (store / layout.JOURNAL / "zz").symlink_to(outside)


@poison(of="weights")
def a_link_in_place_of_a_mask(store: Path, outside: Path) -> None:
    path = first(store, layout.MASKS)
    path.unlink()
    path.symlink_to(outside / f"{'ab' * 32}.safetensors")


@poison(of="weights")
def a_pipe_in_place_of_a_mask(store: Path, _: Path) -> None:
    path = first(store, layout.MASKS)
    path.unlink()
    os.mkfifo(path)


@poison()
def a_pipe_in_place_of_a_result(store: Path, _: Path) -> None:
    path = first(store, layout.LIVE)
    path.unlink()
    os.mkfifo(path)


@poison()
def a_pipe_in_place_of_a_journal(store: Path, _: Path) -> None:
    path = first(store, layout.JOURNAL)
    path.unlink()
    os.mkfifo(path)


@poison(of="weights")
def a_folder_in_place_of_a_mask(store: Path, _: Path) -> None:
    path = first(store, layout.MASKS)
    path.unlink()
    path.mkdir()


@poison(of="strays")
def a_stray_state(store: Path, _: Path) -> None:
    path = store / layout.STATES / "x" / "y" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")


@poison(of="strays")
def a_stray_result(store: Path, _: Path) -> None:
    (store / layout.LIVE / "x.parquet").write_bytes(b"")


@poison()
def a_sweep_of_the_last_day(store: Path, _: Path) -> None:
    register(store, registered_at="9999-12-31T23:59:59.999999")


@poison()
def a_sweep_without_its_metadata(store: Path, _: Path) -> None:
    path = first(store, layout.SWEEPS)
    table = pq.read_table(path).replace_schema_metadata(None)
    path.write_bytes(results.encode(pa.schema(list(table.schema)), table))


@poison()
def a_definition_that_is_nested_deeply(store: Path, _: Path) -> None:
    register(store, definition="[" * 100_000)


@poison()
def a_result_that_is_nested_deeply(store: Path, _: Path) -> None:
    live_row(store, '{"evals": ' + "[" * 200_000 + "]" * 200_000 + "}")


@poison()
def a_result_of_other_types(store: Path, _: Path) -> None:
    live_row(store, '{"key": 1, "evals": {"a": 2}, "kept": 1e999}')


@poison()
def a_result_of_many_bytes(store: Path, _: Path) -> None:
    path = first(store, layout.LIVE)
    with path.open("wb") as file:
        file.truncate(1_500_000_000)  # a hole: it takes no space


@poison()
def a_result_without_a_column(store: Path, _: Path) -> None:
    path = first(store, layout.LIVE)
    row = {**results.read_row(path)}
    bare = pa.schema([(f.name, f.type) for f in schema.LIVE if f.name != "kind"])
    path.write_bytes(results.encode(bare, [{n: row[n] for n in bare.names}]))


@poison(of="weights")
def a_mask_that_is_nested_deeply(store: Path, _: Path) -> None:
    mask_header(store, "[" * 200_000)


@poison(of="weights")
def a_mask_of_a_huge_shape(store: Path, _: Path) -> None:
    _shaped(store, [6_000_000_000])


@poison(of="weights")
def a_mask_of_a_negative_shape(store: Path, _: Path) -> None:
    _shaped(store, [-1, 8])


@poison(of="weights")
def a_mask_whose_shape_is_text(store: Path, _: Path) -> None:
    _shaped(store, "8")


@poison(of="weights")
def a_mask_without_shapes(store: Path, _: Path) -> None:
    _shaped(store, None)


@poison()
def a_segment_whose_column_is_called_otherwise(store: Path, _: Path) -> None:
    from tombola.store.compact import compact

    compact(store)
    path = next((store / layout.SEGMENTS).glob("evals-*"))
    path.write_bytes(path.read_bytes().replace(b"accuracy", b"accurACy"))


@poison()
def a_file_of_zeros_for_every_file(store: Path, _: Path) -> None:
    for path in sorted(store.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            path.write_bytes(bytes(100))


def _shaped(store: Path, shape: object) -> None:
    from tombola.store import tensors

    path = first(store, layout.MASKS)
    about: dict[str, Any] = {"mask": path.stem, "shapes": {"a": shape}}
    path.write_bytes(tensors.encode({"a": np.zeros(1, np.uint8)}, about))


def flipped(content: bytes, place: int) -> bytes:
    """Return the bytes with one of them changed."""
    return content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :]
