"""What all tests share: one way to draw examples, and the same threads as a worker."""

import os
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
    """The folder of the checkout: sweeps, pages and sources as they are shipped."""
    return Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TOMBOLA_STORE", raising=False)
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "node"))
