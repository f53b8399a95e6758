"""The documentation cannot rot: links live, commands exist, and no machine shows through."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from tests.docs import pages

ROOT = Path(__file__).parents[1]
FILES = [  # tracked, or about to be
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
PAGES = [path for path in FILES if path.suffix == ".md"]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def commands() -> dict[str, set[str]]:
    """The options that each command knows."""
    from tombola.cli import app

    group = typer.main.get_command(app)
    return {
        name: {"--help"}.union(*(p.opts + p.secondary_opts for p in command.params))
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def shown(page: Path) -> list[list[str]]:
    """The words after each `tombola` in a page's shell blocks."""
    lines = [
        words
        for block in pages.blocks(page)
        if block.language in {"bash", "console", "sh"}
        for words in pages.commands(block.text)
    ]
    return [words[1:] for words in lines if words[0] == "tombola"]


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = pages.FENCE.sub("", page.read_text())
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:src|href)=\"([^\"#]+)\"", text)
    for target in filter(None, (first or second for first, second in links)):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@each_page
def test_every_command_shown_is_one_that_exists(page: Path) -> None:
    known = commands()
    for command in shown(page):
        name, *arguments = command
        assert name in known, f"tombola {name}"
        options = {word.partition("=")[0] for word in arguments if re.match(r"--?[A-Za-z]", word)}
        assert options <= known[name], f"tombola {shlex.join(command)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_machine_shows_through(path: Path) -> None:
    """Neither a path of one machine nor the host name of a package registry."""
    content = path.read_bytes()
    assert not re.search(rb"(?<![\w.-])/(?:work|farm|root|home|Users)/", content)
    registries = rb"\b(?:pypi|pythonhosted|anaconda|npmjs|crates|debian|download\.pytorch)"
    assert not re.search(registries + rb"\.(?:org|io|com)\b", content)


def test_the_lock_names_versions_and_no_address(project_root: Path) -> None:
    assert "://" not in (project_root / "requirements.lock").read_text()
    assert project_root / "uv.lock" not in FILES, "requirements.lock is the one lock"
