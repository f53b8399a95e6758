"""Stores from others: their code does not run, nothing outside changes, damage is named."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.values.key import digest
from tests.security.poison import CODE, POISONS, SECRET, Poisoned, flipped, honest, register
from tests.security.walking import COMMANDS, EXEMPT, Ended, named, walk
from tombola.cli import app
from tombola.errors import StoreError
from tombola.store import layout, parquet, results, schema
from tombola.store.compact import compact
from tombola.store.publish import publish
from tombola.store.verify import verify

LONGEST_SECONDS = 10.0


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    store = honest(folder)
    drawn = ("--only", "learning-curves", "--format", "svg", "--out", str(folder / "drawn"))
    assert walk("figures", "tiny", *drawn, store=store).code == 0
    return folder


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Build a folder with a copy of the honest store, code that must not run, and files outside."""
    shutil.copytree(original / "store", tmp_path / "store")
    shutil.copytree(original / "drawn", tmp_path / "drawn")
    shutil.copy(original / "tiny.yaml", tmp_path)
    (tmp_path / "evil.py").write_text(CODE)
    (tmp_path / "evilpack").mkdir()
    (tmp_path / "evilpack" / "__init__.py").write_text(CODE)
    (tmp_path / "evilpack" / "inner.py").write_text(CODE)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in (f"{'ab' * 32}.safetensors", f"{'ab' * 32}.parquet", "a-b.parquet", "0.jsonl"):
        (outside / name).write_bytes(SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def untouched(here: Path) -> bool:
    found = {path.read_bytes() for path in (here / "outside").iterdir()}
    return len(list((here / "outside").iterdir())) == 4 and found == {SECRET}


def walked(here: Path, *command: str) -> Ended:
    began = time.monotonic()
    ended = walk(*command, store=here / "store")
    assert ended.clean, (ended, getattr(ended.error, "__traceback__", None))
    assert untouched(here), command
    assert not (here / "ran").exists(), command
    assert time.monotonic() - began < LONGEST_SECONDS or command[0] == "run"
    return ended


STRAYS = [one for one in POISONS if one.concerns == "strays"]
TOGETHER = {one.name: [one] for one in POISONS if one not in STRAYS} | {"strays": STRAYS}
"""Poisons by the store that has them."""


@pytest.mark.parametrize("poisons", TOGETHER.values(), ids=TOGETHER)
def test_every_command_ends_cleanly_over_a_poisoned_store_and_touches_nothing_outside(
    here: Path, poisons: list[Poisoned]
) -> None:
    mask = KINDS["mask"](here / "store").stem
    for one in poisons:
        one.apply(here / "store", here / "outside")
    for command in COMMANDS[poisons[0].concerns]:
        walked(here, *named(command, mask))


def test_every_command_does_its_work_over_an_honest_store(here: Path) -> None:
    """Commands really read the store, so the walks over poisoned stores test something."""
    mask = KINDS["mask"](here / "store").stem
    for command in COMMANDS["tables"]:
        ended = walked(here, *named(command, mask))
        assert ended.code == 0 or command[0] in {"cancel", "reference"}, ended


def test_every_command_is_walked_or_exempt() -> None:
    known = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    known |= {one.name for one in app.registered_groups if one.name}
    walks = {command[0] for command in COMMANDS["tables"]}
    assert known == walks | EXEMPT.keys()
    assert not walks & EXEMPT.keys()


@pytest.mark.parametrize("poisoned", [p for p in POISONS if p.heals], ids=lambda one: one.name)
def test_verify_names_the_damage_and_repair_and_a_run_heal_it(
    here: Path, poisoned: Poisoned
) -> None:
    before = results.digests(here / "store")
    poisoned.apply(here / "store", here / "outside")
    assert walked(here, "verify").code == 1
    walked(here, "verify", "--repair")
    assert only_lacking(here / "store")
    assert walked(here, "run", "tiny.yaml", "--executor", "inline").code == 0
    assert walked(here, "verify").code == 0
    assert results.digests(here / "store") == before


@pytest.mark.parametrize("poisoned", POISONS, ids=lambda one: one.name)
def test_a_poisoned_store_is_imported_cleanly_or_not_at_all(here: Path, poisoned: Poisoned) -> None:
    poisoned.apply(here / "store", here / "outside")
    ended = walk("import", str(here / "store"), store=here / "mine")
    assert ended.clean, ended
    assert untouched(here)
    assert not (here / "ran").exists()
    assert only_lacking(here / "mine")


@pytest.mark.parametrize(
    "said",
    [
        *({"name": name} for name in ("a'b", "\x1b[31m", "../x", "x" * 100_000, "")),
        *({"registered_at": at} for at in ("9999-12-31", "0001-01-01", "2026-13-01", "yesterday")),
        *({"revision": revision} for revision in ("../r", "r" * 1000, "\x1b[31m")),
        *({"definition": text} for text in ("[]", "{", "[" * 10**5, '"' + "a" * 10**7 + '"')),
        *({"figures": text} for text in ("{}", "[1]", '["a"', '[{"a": 1}]')),
    ],
    ids=lambda said: " ".join(f"{name} {text[:12]!r}" for name, text in said.items()),
)
def test_of_a_store_with_a_sweep_that_no_file_asks_for_nothing_is_imported(
    here: Path, said: dict[str, str]
) -> None:
    register(here / "store", **said)
    ended = walk("import", str(here / "store"), store=here / "mine")
    assert ended.code == 2, ended
    assert len(ended.errors.splitlines()) == 1
    assert ended.errors.rstrip("\n").isprintable()
    assert not [path for path in (here / "mine").rglob("*.*") if path.is_file()]


@pytest.mark.parametrize("value", ["{}", "[]", "1", '{"network": 1}', '{"network": {"kind": "x"}}'])
def test_a_value_that_is_none_of_ours_is_no_traceback(here: Path, value: str) -> None:
    key = digest(value)
    row = {**results.read_row(KINDS["live"](here / "store")), "key": key, "value": value}
    row["kind"] = "mask"
    row["checksum"] = results.row_checksum(row)
    publish(here / "store" / layout.result(key), results.encode(schema.FOLDED, [schema.fold(row)]))
    for command in ("show", "measure"):
        walked(here, command, key)
    for command in ("verify", "gc", "status"):
        walked(here, command)
    assert walk("import", str(here / "store"), store=here / "mine").clean


def only_lacking(store: Path) -> bool:
    """Return whether no file is damaged and only results with dependants may be missing."""
    return all(finding.lacks for finding in verify(store))


def segment(store: Path) -> Path:
    compact(store)
    return next((store / layout.SEGMENTS).glob("evals-*.parquet"))


KINDS: dict[str, Callable[[Path], Path]] = {
    "segment": segment,
    "live": lambda store: next((store / layout.LIVE).rglob("*.parquet")),
    "sweep": lambda store: next((store / layout.SWEEPS).rglob("*.parquet")),
    "mask": lambda store: next((store / layout.MASKS).rglob("*.safetensors")),
    "state": lambda store: next((store / layout.STATES).rglob("*.safetensors")),
    "journal": lambda store: next((store / layout.JOURNAL).rglob("*.jsonl")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_of_a_file_changes_unnoticed(here: Path, kind: str) -> None:
    """Every byte at the beginning and the end, and a sample between."""
    from tombola.store.artifacts import read_mask, read_state
    from tombola.store.journal import check

    path = KINDS[kind](here / "store")
    content = path.read_bytes()
    step = max(1, len(content) // 2_000)
    readers: dict[str, Callable[[], object]] = {
        "mask": lambda: {n: a.tolist() for n, a in read_mask(here / "store", path.stem).items()},
        "state": lambda: {
            n: a.tobytes()
            for n, a in read_state(here / "store", path.parent.name, int(path.stem)).items()
        },
        "journal": lambda: check(path.read_bytes()),
    }
    read = readers.get(kind, lambda: results.read(path).to_pylist())
    answer = read()
    for place in range(0, len(content), step):
        path.write_bytes(flipped(content, place))
        try:
            assert read() == answer, place
        except (StoreError, ValueError):
            continue
        assert kind in {"mask", "state", "journal"}, place  # a seal has no byte without meaning


@pytest.mark.parametrize("kind", ["segment", "sweep"])
def test_who_reads_a_part_of_a_file_learns_of_damage_to_any_byte(here: Path, kind: str) -> None:
    """Headers of pages are included, which Parquet's checksums do not cover."""
    path = KINDS[kind](here / "store")
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 500)):
        path.write_bytes(flipped(content, place))
        with pytest.raises(parquet.Damage):
            parquet.opened(path)
    path.write_bytes(flipped(content, 6))  # the header of the first page
    ended = walked(here, "sql", "SELECT avg(accuracy) FROM evals")
    assert (ended.code, path.name in ended.errors) == (2, True), ended


def unsealed(path: Path, content: bytes) -> None:
    """Return a file as it was written before files had seals."""
    end = int.from_bytes(content[-8:-4], "little") + 8
    place = content.rindex(b"TOMBOLA<")
    assert content[:-end].endswith(b">TOMBOLA")
    path.write_bytes(content[:place] + content[-end:])


def test_rows_of_an_older_segment_are_compared_with_their_own_checksums(here: Path) -> None:
    """Renamed columns of the same length: the pages and their checksums still agree."""
    parts = sorted(segment(here / "store").parent.glob("*.parquet"))
    for path in parts:
        unsealed(path, path.read_bytes())
    assert not list(verify(here / "store"))
    evals = next(path for path in parts if path.name.startswith("evals-"))
    for old, new in ((b"loss", b"@@@@"), (b"top5", b"loss"), (b"@@@@", b"top5")):
        evals.write_bytes(evals.read_bytes().replace(old, new))
    assert walked(here, "sql", "SELECT avg(loss) FROM evals").code == 0  # and no page is damaged
    assert verify(here / "store")
