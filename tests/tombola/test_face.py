"""`import tombola`: the public Python interface, as a notebook uses it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tombola
from tasks.values.catalog import dataset_facts
from tests.support.small import write_sweep
from tombola.errors import StoreError, SweepError


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("face")
    sweep = tombola.read(write_sweep(folder))
    assert not tombola.run(sweep, folder / "store").failures
    return folder


def rows(here: Path, query: str) -> list[tuple[object, ...]]:
    with tombola.connect(here / "store") as connection:
        return connection.execute(query).fetchall()


def test_every_name_is_there_and_documented() -> None:
    for name in tombola.__all__:
        assert getattr(tombola, name).__doc__, name
    assert sorted(dir(tombola)) == sorted(tombola.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tombola.nothing  # noqa: B018


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'duckdb', 'ray', 'pyarrow', 'numpy', 'matplotlib', 'pydantic'}"
    code = f"import sys, tombola; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_a_mistake_in_a_figure_is_found_by_read(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, figures=["no-such-figure"])
    with pytest.raises(SweepError, match="no-such-figure"):
        tombola.read(path)


def test_what_is_done_is_not_planned_again(here: Path) -> None:
    assert tombola.plan(tombola.read(here / "tiny.yaml"), here / "store").tasks == {}


def test_the_module_of_any_run_has_the_accuracy_that_is_stored(here: Path) -> None:
    images, labels = tombola.dataset("digits")("test")
    for key, accuracy in rows(here, "SELECT DISTINCT run_key, accuracy FROM trials"):
        module = tombola.module(here / "store", str(key), train=True)
        with torch.no_grad():
            pixels = torch.as_tensor(images)
            pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
            facts = dataset_facts("digits")
            logits = module((pixels - facts.mean[0]) / facts.std[0])
        right = (logits.argmax(1) == torch.as_tensor(labels)).float().mean().item()
        assert right == pytest.approx(accuracy, abs=1e-6)


def test_pruned_weights_are_zero_and_the_mask_says_which(here: Path) -> None:
    [(run, mask, density), *_] = rows(
        here, "SELECT run_key, mask_key, density FROM trials WHERE mask_key IS NOT NULL"
    )
    kept = tombola.mask(here / "store", str(mask))
    again = tombola.mask(here / "store", str(mask)[:12])
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    total = sum(t.numel() for t in kept.values())
    assert sum(int(t.sum()) for t in kept.values()) / total == pytest.approx(density, rel=1e-6)
    state = tombola.module(here / "store", str(run), train=True).state_dict()
    assert all(not state[name][~keep].any() for name, keep in kept.items())
    dense = rows(here, "SELECT run_key FROM trials WHERE mask_key IS NULL")[0][0]
    assert tombola.mask(here / "store", str(dense)) == {}


def test_trained_again_weights_are_those_that_were_stored(here: Path) -> None:
    from tombola.store import layout

    for path in layout.published(here / "store" / layout.STATES, ".safetensors"):
        key, step = path.parent.name, int(path.stem)
        stored = tombola.weights(here / "store", key, step)
        moved = path.rename(path.with_suffix(".aside"))
        again = tombola.weights(here / "store", key, step, train=True)
        moved.rename(path)
        assert stored.keys() == again.keys()
        assert all(torch.equal(stored[name], again[name]) for name in stored)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("abc", "6 to 64 digits"),
        ("../../etc", "6 to 64 digits"),
        ("0" * 64, "has no result"),
        ("0" * 12, "has no result"),
    ],
)
def test_a_key_that_is_none_is_refused_in_a_sentence(here: Path, key: str, says: str) -> None:
    for ask in (tombola.weights, tombola.mask, tombola.module):
        with pytest.raises(StoreError, match=says):
            ask(here / "store", key)


def test_weights_that_are_not_stored_are_named_and_so_is_the_way_out(here: Path) -> None:
    [(run,), *_] = rows(here, "SELECT run_key FROM trials")
    with pytest.raises(StoreError, match=r"step 5 are not stored \(stored: 0.*train=True"):
        tombola.weights(here / "store", str(run), 5)


def test_old_names_are_the_same_modules_and_warn() -> None:
    code = """
import warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    from tasks.datasets import reader
    from orchestrator import study
    from analysis import results
from tasks.data import readers
import orchestrator.running.study, analysis.database.connection
assert reader is readers.reader
assert study is orchestrator.running.study
assert results is analysis.database.connection
assert readers.__spec__.name == "tasks.data.readers"
print(*(w.message for w in told), sep="\\n")
"""
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.splitlines() == [
        "tasks.datasets has moved to tasks.data.readers",
        "orchestrator.study has moved to orchestrator.running.study",
        "analysis.results has moved to analysis.database.connection",
    ]
