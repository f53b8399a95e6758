"""Who loads what: in fresh processes, since a linter cannot tell a lazy import from an eager."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "duckdb", "matplotlib", "pyarrow", "numpy", "pydantic", "sklearn")


def loaded(program: str) -> set[str]:
    code = f"import sys\n{program}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(ran.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("program", "forbidden"),
    [
        ("import tasks", HEAVY),
        ("import tasks.spec, tasks.catalog", HEAVY),
        ("import analysis, analysis.figures, analysis.errors", HEAVY),
        ("import analysis.results, analysis.sql", ("torch", "ray", "matplotlib")),
        ("import orchestrator.plan, orchestrator.schedule", ("torch", "ray", "duckdb", "pyarrow")),
        ("import orchestrator.study, orchestrator.executors.on_ray", ("torch", "ray")),
        ("import tasks.train, tasks.prune", ("ray", "duckdb", "pyarrow", "pydantic")),
        (
            "from orchestrator.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass",
            HEAVY,
        ),
    ],
)
def test_nothing_heavy_is_loaded(program: str, forbidden: tuple[str, ...]) -> None:
    assert not loaded(program) & set(forbidden)
