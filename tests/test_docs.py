"""The documentation cannot rot: links live, commands exist, and no machine shows through."""

import re
import subprocess
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[1]
TRACKED = [
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
PAGES = [path for path in TRACKED if path.suffix == ".md"]


def commands() -> dict[str, set[str]]:
    from orchestrator.cli import app

    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:src|href)=\"([^\"#]+)\"", page.read_text())
    for target in filter(None, (first or second for first, second in links)):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_is_in_the_readme_and_has_help() -> None:
    from orchestrator.cli import app

    readme = (ROOT / "README.md").read_text()
    for name in commands():
        assert f"tombola {name}" in readme, f"the README does not show `tombola {name}`"
    assert all(command.callback.__doc__ for command in app.registered_commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_shown_is_one_that_exists(page: Path) -> None:
    known = commands()
    for block in re.findall(r"```(?:bash|console)\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for line in re.findall(r"^\$?\s*tombola (.*)$", block, flags=re.MULTILINE):
            bare = re.sub(r'"[^"]*"|#.*', "", line)
            name, *options = bare.split()
            assert name in known, line
            assert {o.partition("=")[0] for o in options if o.startswith("--")} <= known[name], line


def test_no_machine_shows_through() -> None:
    own_paths = re.compile(r"(^|[^A-Za-z0-9_.])/(wo" r"rk|fa" r"rm|ro" r"ot)/", re.MULTILINE)
    registries = re.compile(r"https?://[a-z.-]*(py" r"pi|python" r"hosted|npm" r"js|deb" r"ian)\.")
    for path in TRACKED:
        content = path.read_bytes()
        if b"\0" in content:
            continue
        text = content.decode("utf-8", errors="replace")
        assert not own_paths.search(text), path
        assert not registries.search(text), path
    assert not (ROOT / "uv.lock").exists()
