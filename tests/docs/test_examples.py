"""Examples in the pages work: sweep files are read, Python compiles, tutorials are run as shown."""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator.sweep.schema import Grid, RecipeFields, Sweep
from tests.docs.pages import ROOT, SITE, TUTORIALS, Block, blocks, commands
from tests.support.small import tombola

PAGES = [*SITE, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
OTHERS = {"make", "source", "ray", "(umask", "RAY_AUTH_MODE=token"}
"""Commands of the tutorials that are not Tombola's."""


def every(language: str) -> list[pytest.param]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT).as_posix()}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page))
        if block.language == language
    ]


# ---------------------------------------------------------------- Python


@pytest.mark.parametrize("block", every("python"))
def test_python_compiles_and_imports(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(
                    f"{node.module}.{name.name}"
                )


# ---------------------------------------------------------------- sweep files


@pytest.mark.parametrize("block", every("yaml"))
def test_keys_of_sweep_files_exist(block: Block) -> None:
    """A whole sweep file or a part of one; what a part may leave out is not asked for."""
    said = yaml.safe_load(block.text)
    if said is None or "jobs" in said or "services" in said:
        return
    known = set(Sweep.model_fields) | {"extends"}
    assert set(said) <= known
    for grid in said.get("grids", []):
        assert set(grid) <= set(Grid.model_fields)
    if isinstance(said.get("recipe"), dict):
        assert set(said["recipe"]) <= set(RecipeFields.model_fields) | {"from"}


@pytest.mark.parametrize(
    "block",
    [b for b in every("yaml") if {"name", "grids"} <= set(yaml.safe_load(b.values[0].text) or ())],
)
def test_whole_sweep_files_are_read(block: Block, tmp_path: Path) -> None:
    _save_all(tmp_path)
    (tmp_path / "sweep.yaml").write_text(block.text)
    ran = tombola("plan", "sweep.yaml", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


# ---------------------------------------------------------------- tutorials


def _save_all(folder: Path) -> None:
    for page in TUTORIALS:
        for block in blocks(page):
            if block.title:
                (folder / block.title).write_text(_shorter(block.text))


def _shorter(text: str) -> str:
    """The same work for a test: fewer iterations and replicates."""
    return (
        text.replace("5ep", "8it")
        .replace('"2ep"', '"8it"')
        .replace("replicates: 3", "replicates: 2")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for name in ("my_own",):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "page",
    [p for p in TUTORIALS if p.stem in {"first_sweep", "your_own_method"}],
    ids=lambda p: p.stem,
)
def test_a_tutorial_is_run_as_it_is_shown(page: Path, folder: Path) -> None:
    """In order: files are saved, commands are run, in this process in place of Ray's."""
    ran = []
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(_shorter(block.text))
        for words in commands(block.text) if block.language == "bash" else ():
            if words[0] in OTHERS:
                continue
            assert words[0] == "tombola", words
            here = ["--executor", "inline"] if words[1] == "run" else []
            ended = tombola(*words[1:], *here, cwd=folder)
            assert ended.returncode == 0, (words, ended.stderr)
            ran.append(words[1])
    assert ran.count("run") >= 2
    assert list((folder / "figures").rglob("*.pdf")) or page.stem != "first_sweep"


def test_tutorials_have_no_other_commands() -> None:
    for page in TUTORIALS:
        for block in blocks(page):
            if block.language == "bash":
                assert {words[0] for words in commands(block.text)} <= OTHERS | {"tombola"}


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"_TOMBOLA_COMPLETE": "source_bash"}, "complete -o"),
        ({"_TOMBOLA_COMPLETE": "source_zsh"}, "compdef"),
        (
            {"_TOMBOLA_COMPLETE": "complete_bash", "COMP_WORDS": "tombola pl", "COMP_CWORD": "1"},
            "plan",
        ),
    ],
    ids=["bash", "zsh", "a command"],
)
def test_shells_are_told_how_to_complete(asked: dict[str, str], given: str, tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("tombola")
    ran = subprocess.run(
        [script], env=os.environ | asked, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert given in ran.stdout, ran.stderr


@pytest.mark.slow
def test_the_tutorial_of_clusters_is_run_as_it_is_shown(tmp_path: Path) -> None:
    """On a Ray head of the test's own, at its own address."""
    from tests.support.cluster import cluster
    from tests.support.small import command

    page = ROOT / "docs/tutorial/laptop_to_cluster.md"
    with cluster() as ray:
        ray.head(cpus=2)
        for block in blocks(page):
            if block.title:
                (tmp_path / block.title).write_text(_shorter(block.text))
            for words in commands(block.text) if block.language == "bash" else ():
                if words[0] != "tombola":
                    continue
                there = [ray.address if w == "127.0.0.1:6379" else w for w in words[1:]]
                ended = command(*there, cwd=tmp_path, **ray.environment)
                assert ended.returncode == 0, (words, ended.stderr)
