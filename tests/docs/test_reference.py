"""What the reference takes from the code is complete, and each page finds its part."""

import importlib.util
import re
import sys
from types import ModuleType

import pytest

from analysis.selection.options import FIGURES
from orchestrator.sweep.recipes import PUBLISHED
from orchestrator.sweep.schema import Grid, RecipeFields, Sweep
from tasks.values.catalog import DATASETS, NETWORKS
from tasks.values.methods import METHODS
from tests.docs.pages import ROOT, SITE
from tombola.cli import app
from tombola.errors import ExitCode


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def filled(generate: ModuleType) -> dict[str, str]:
    """The pages that ask for a part, as they are built."""
    pages = {page.relative_to(ROOT / "docs").as_posix(): page.read_text() for page in SITE}
    asking = {name: text for name, text in pages.items() if generate.ASKED.search(text)}
    return {name: generate.filled(text) for name, text in asking.items()}


def test_every_part_is_used(generate: ModuleType) -> None:
    text = "\n".join(page.read_text() for page in SITE)
    assert {part for part, _ in generate.ASKED.findall(text)} == set(generate.PARTS)


def test_no_table_is_ragged(filled: dict[str, str]) -> None:
    for page, text in filled.items():
        assert "<!-- generate" not in text, page
        for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
            bars = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(bars) == 1, (page, block[:200])


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("sweep_file", [*Sweep.model_fields, *Grid.model_fields, *RecipeFields.model_fields]),
        ("methods", [*METHODS, *(option for m in METHODS.values() for option in m.options)]),
        ("networks", NETWORKS),
        ("datasets", DATASETS),
        ("recipes", PUBLISHED),
        ("figures", FIGURES),
        ("exit_codes", [code.name for code in ExitCode]),
        ("tables", ["trial", "accuracy", "density", "settings(sweep)", "energy"]),
    ],
)
def test_everything_there_is_has_a_line(
    filled: dict[str, str], page: str, names: list[str]
) -> None:
    text = filled[f"reference/{page}.md"]
    lacking = [name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
    assert not lacking


def test_every_key_of_a_sweep_file_is_explained() -> None:
    for model in (Sweep, Grid, RecipeFields):
        assert not [name for name, field in model.model_fields.items() if not field.description]


def test_each_method_has_a_section_with_its_paper() -> None:
    text = (ROOT / "docs/reference/methods.md").read_text()
    for name in METHODS:
        section = text.partition(f"\n### {name}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
        assert re.search(r"\d{4}|\]\(#", section) or name == "random", name


def test_every_command_is_in_the_reference_and_has_help(filled: dict[str, str]) -> None:
    import typer

    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"## tombola {name}\n" in filled["reference/commands.md"]
        assert command.help, name


def test_a_part_that_is_not_there_is_an_error(generate: ModuleType) -> None:
    with pytest.raises(KeyError, match="nothing"):
        generate.filled("<!-- generate: nothing -->")


def test_the_readme_counts_right() -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"{len(METHODS)} methods and {len(PUBLISHED)} recipes" in readme
