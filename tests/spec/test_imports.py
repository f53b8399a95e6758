"""Modules that each entry point loads, in fresh processes: a linter cannot see lazy imports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "ray", "duckdb", "matplotlib", "pyarrow", "numpy", "pydantic", "sklearn", "scipy")


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def loaded(program: str) -> set[str]:
    code = f"import sys\n{program}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    return set(run(sys.executable, "-c", code).stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("program", "forbidden"),
    [
        ("import tasks", HEAVY),
        ("import tasks.values.records, tasks.values.key, tasks.values.catalog", HEAVY),
        ("import analysis, analysis.figures, tombola.errors", HEAVY),
        (
            "import analysis.database.connection, analysis.database.sql",
            ("torch", "ray", "matplotlib"),
        ),
        ("import analysis.lint, analysis.report", ("torch", "ray", "matplotlib")),
        (
            "import orchestrator.planning.planner, orchestrator.scheduling.scheduler",
            ("torch", "ray", "duckdb", "pyarrow"),
        ),
        ("import orchestrator.running.study, orchestrator.executors.on_ray", ("torch", "ray")),
        (
            "import tasks.training.train, tasks.pruning.prune",
            ("ray", "duckdb", "pyarrow", "pydantic"),
        ),
    ],
)
def test_nothing_heavy_is_loaded(program: str, forbidden: tuple[str, ...]) -> None:
    assert not loaded(program) & set(forbidden)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("sql", "--help")], ids=" ".join
)
def test_asking_for_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    ran = run(sys.executable, "-X", "importtime", "-m", "tombola.cli", *arguments)
    assert "Usage" in ran.stdout
    # "import time:  self | cumulative |   package.module", a line for each module
    imported = set(re.findall(r"^import time:.*\| +([A-Za-z_]\w*)", ran.stderr, re.MULTILINE))
    assert "typer" in imported
    ours = set(HEAVY) - ({"pydantic"} if len(arguments) > 1 else set())  # typer reads options by it
    assert not imported & ours


def test_the_command_uses_our_packages_in_a_folder_that_has_its_own(
    tmp_path: Path, project_root: Path
) -> None:
    """Folders of users may hold a `tasks` or `tests` of their own."""
    for name in ("tombola", "tasks", "orchestrator", "analysis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a foreign package')")
    sweep = project_root / "sweeps" / "quickstart.yaml"
    ran = run(Path(sys.executable).with_name("tombola"), "plan", sweep, cwd=tmp_path)
    assert "trials" in ran.stdout
