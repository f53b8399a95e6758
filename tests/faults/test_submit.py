"""A sweep as a job of a real cluster outlives its terminal and stops at a checkpoint."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import RAY, Cluster, cluster, free_port, until
from tests.support.small import command, outcome, write_sweep
from tombola.store import layout
from tombola.store.verify import verify

pytestmark = pytest.mark.slow

MINE = """
def by_size(module, weights, kept, batches, seed):
    return {n: weights[n].abs() for n, p in module.named_parameters() if p.ndim > 1}
"""


@pytest.fixture(scope="module")
def jobs() -> Iterator[tuple[Cluster, str]]:
    """Start a head with a job server; return its URL. Our packages are shipped to it."""
    with cluster() as made:
        made.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        port = free_port()
        options = ["--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        made.head(*options, f"--dashboard-port={port}", cpus=1)
        yield made, f"http://127.0.0.1:{port}"


def submit(
    folder: Path, url: str, cluster: Cluster, *options: str
) -> subprocess.CompletedProcess[str]:
    arguments = ["submit", "tiny.yaml", "--address", url, "--store", str(folder / "store")]
    return command(*arguments, *options, cwd=folder, **cluster.environment)


def ray_job(cluster: Cluster, url: str, verb: str, identity: str) -> str:
    ended = subprocess.run(
        [RAY, "job", verb, "--address", url, identity],
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.stdout + ended.stderr


def test_a_submitted_sweep_runs_with_what_it_extends_and_code_of_ones_own(
    tmp_path: Path, jobs: tuple[Cluster, str]
) -> None:
    running, url = jobs
    base = {"grids": [{"method": ["random", "mine:by_size"], "levels": [2, 5]}]}
    (tmp_path / "mine.py").write_text(MINE)
    write_sweep(tmp_path, name="base", **base)
    (tmp_path / "tiny.yaml").write_text("extends: base.yaml\nname: tiny\n")
    ended = submit(tmp_path, url, running, "--set", "replicates=2")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    identity = ended.stdout.split()[0]
    assert f"ray job logs --follow --address {url} {identity}" in ended.stdout
    until(lambda: re.search("succeeded|failed", ray_job(running, url, "status", identity)))
    assert "10 of 10 trials done" in ray_job(running, url, "logs", identity)
    whole = tmp_path / "whole"
    local = ("--executor", "inline", "--store", whole, "--set", "replicates=2")
    assert command("run", "tiny.yaml", *local, cwd=tmp_path).returncode == 0
    assert outcome(tmp_path / "store") == outcome(whole)
    assert verify(tmp_path / "store") == []


def test_a_job_that_is_stopped_keeps_its_checkpoint(
    tmp_path: Path, jobs: tuple[Cluster, str]
) -> None:
    running, url = jobs
    recipe = {"steps": 100_000, "batch_size": 64, "lr": 0.1, "evaluate_every": 10_000}
    write_sweep(tmp_path, grids=[{"method": "random", "levels": [1]}], recipe=recipe)
    ended = submit(tmp_path, url, running, "--checkpoint-every", "0.5")
    identity = ended.stdout.split()[0]
    kept = tmp_path / "store" / layout.CHECKPOINTS
    until(lambda: any(layout.published(kept, ".safetensors")))
    ray_job(running, url, "stop", identity)
    said = ray_job(running, url, "logs", identity)
    assert "SIGTERM: stopping at checkpoints, 30 s at most" in said
    assert "1 trainings continue from their checkpoints" in said
    assert any(layout.published(kept, ".safetensors"))
    assert verify(tmp_path / "store") == []


@pytest.mark.parametrize(
    ("url", "store", "said"),
    [
        ("http://127.0.0.1:1", "/shared/store", "no Ray dashboard at 127.0.0.1:1: connection ref"),
        ("http://127.0.0.1:1", "store", "--store store: give an absolute path"),
        ("127.0.0.1:8265", "/shared/store", "takes the dashboard's http://HOST:8265, not 127.0"),
        ("http://192.0.2.1:8265", "/shared/store", "ray get-auth-token --generate"),
    ],
)
def test_what_cannot_be_submitted_is_one_line(
    tmp_path: Path, url: str, store: str, said: str
) -> None:
    write_sweep(tmp_path)
    nobody = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "", "RAY_AUTH_MODE": ""}
    options = ("--address", url, "--store", store)
    ended = command("submit", "tiny.yaml", *options, cwd=tmp_path, **nobody)
    assert ended.returncode == 2, ended.stdout
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_another_token_is_refused(tmp_path: Path, jobs: tuple[Cluster, str]) -> None:
    _, url = jobs
    write_sweep(tmp_path)
    options = ("--address", url, "--store", str(tmp_path))
    other = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t" * 64}
    ended = command("submit", "tiny.yaml", *options, cwd=tmp_path, **other)
    assert ended.returncode == 2, ended.stdout
    assert "does not take this token" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
