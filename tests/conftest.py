"""Set-up shared by all tests: one Hypothesis profile, and the thread count of a worker."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

settings.register_profile(
    "tombola",
    deadline=None,
    max_examples=60,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tombola")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the folder of the checkout, with sweeps, pages and sources as shipped."""
    return Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Hide the user's settings, and forget the modules that a test wrote."""
    monkeypatch.delenv("TOMBOLA_STORE", raising=False)
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "node"))
    yield
    ours = str(tmp_path)
    sys.path[:] = [folder for folder in sys.path if not folder.startswith(ours)]
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(ours):
            del sys.modules[name]


@pytest.fixture
def queries_here() -> Iterator[None]:
    """Answer SQL in this process, for tests that are not about the limits of a query."""
    from tests.support.small import queries_in_this_process

    with queries_in_this_process():
        yield
