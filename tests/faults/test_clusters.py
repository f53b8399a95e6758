"""Joining a cluster: what is refused, and what a cluster of two hosts survives."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, cluster, free_port, processes, two_hosts, until
from tests.support.s3 import Server
from tests.support.small import command, outcome, write_sweep
from tombola.errors import ExitCode
from tombola.store import layout
from tombola.store.verify import repair, verify

pytestmark = pytest.mark.slow

GRIDS = [
    {"method": ["random", "snip", "synflow"], "levels": [2, 5, 8], "ablation": ["none", "shuffle"]},
    {"method": "imp", "levels": "1..5", "rewind_step": [0, 10]},
]
RECIPE = {"steps": 40, "batch_size": 64, "lr": 0.1, "evaluate_every": 10}


RUN = (sys.executable, "-m", "tombola.cli", "run", "tiny.yaml")


def join(
    folder: Path, address: str, *options: str, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *RUN, "--address", address, *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def in_front(folder: Path) -> str:
    """Return PYTHONPATH with a folder put first."""
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def refused(ended: subprocess.CompletedProcess[str], said: str) -> None:
    """Assert that a command is refused in one line that contains the words."""
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert said in ended.stderr
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


# ---------------------------------------------------------------- refused before anything


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nothing_listens_it_says_so(tmp_path: Path, scheme: str) -> None:
    write_sweep(tmp_path)
    ended = join(tmp_path, f"{scheme}127.0.0.1:{free_port()}", RAY_AUTH_TOKEN="t" * 64)
    refused(ended, "connection refused; is the cluster running, is this its port?")


def test_something_else_that_listens_is_not_taken_for_a_head(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(1000)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        ended = join(tmp_path, f"ray://127.0.0.1:{server.getsockname()[1]}")
    refused(ended, "something else answers")


@pytest.mark.parametrize("address", ["nowhere", "http://127.0.0.1:8265", "host:0", "ray://", ":1"])
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    write_sweep(tmp_path)
    refused(join(tmp_path, address), f"takes auto, HOST:PORT or ray://HOST:PORT, not {address}")


def test_without_a_token_nothing_beyond_loopback_is_joined(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    nobody = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "", "RAY_AUTH_MODE": ""}
    refused(join(tmp_path, "192.0.2.1:6379", **nobody), "ray get-auth-token --generate")
    off = {**nobody, "RAY_AUTH_TOKEN": "t" * 64, "RAY_AUTH_MODE": "disabled"}
    refused(join(tmp_path, "192.0.2.1:6379", **off), "unset RAY_AUTH_MODE=disabled")
    gone = {**nobody, "RAY_AUTH_TOKEN_PATH": "gone"}
    refused(join(tmp_path, "192.0.2.1:6379", **gone), "RAY_AUTH_TOKEN_PATH=gone: no such file")


def test_a_ray_with_known_holes_is_refused(tmp_path: Path) -> None:
    """A module of the test reports an old version of the installed Ray."""
    write_sweep(tmp_path)
    old = tmp_path / "old"
    old.mkdir()
    (old / "sitecustomize.py").write_text("import ray\nray.__version__ = '2.53.0'\n")
    ended = join(tmp_path, "127.0.0.1:1", PYTHONPATH=in_front(old))
    refused(ended, "Ray 2.53.0 has known holes (CVE-2026-27482")


# ---------------------------------------------------------------- refused by a real cluster


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    """Start a head and a node, which see this machine's files, and a second Ray client server."""
    with cluster() as made:
        made.head(cpus=1)
        yield made


def test_another_token_is_refused_at_once(tmp_path: Path, running: Cluster) -> None:
    write_sweep(tmp_path)
    ended = join(tmp_path, running.address, RAY_AUTH_TOKEN="t" * 64, RAY_AUTH_MODE="token")
    refused(ended, "does not take this token")


def test_another_version_of_ray_is_refused_by_both_names(tmp_path: Path, running: Cluster) -> None:
    write_sweep(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import ray\nray.__version__ = '2.54.1'\n")
    named = {**running.environment, "PYTHONPATH": in_front(other)}
    ended = join(tmp_path, running.address, **named)
    refused(ended, "and this is Ray 2.54.1 on Python")


def test_a_task_that_fits_on_no_node_is_refused(tmp_path: Path, running: Cluster) -> None:
    write_sweep(tmp_path)
    ended = join(tmp_path, running.address, "--cpus-per-task", "2", **running.environment)
    refused(ended, "no node has 2 CPU and 0 GPU for a task: the cluster has 1 CPU and 0 GPU")


def test_a_head_that_dies_is_told_in_a_line_and_nothing_is_lost(tmp_path: Path) -> None:
    """Ray itself would end the driver with 1 after a minute."""
    write_sweep(tmp_path, grids=GRIDS, recipe={**RECIPE, "steps": 4000})
    live = tmp_path / "store" / layout.LIVE
    with cluster() as made:
        head = made.head(cpus=1)
        driver = subprocess.Popen(
            [*RUN, "--address", made.address, "--no-canary"],
            cwd=tmp_path,
            env=made.environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        until(lambda: len(list(layout.published(live, ".parquet"))) >= 3)
        [gcs] = [
            pid
            for pid in processes(head.process.pid)
            if b"gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(gcs, signal.SIGKILL)
        _, errors = driver.communicate(timeout=55)
    assert driver.returncode == ExitCode.CLUSTER_LOST, errors
    assert errors.splitlines() == [
        f"error: the Ray cluster at {made.address} has not answered for 30 s; finished results "
        "are stored: run the same command again"
    ]
    assert not [one for one in verify(tmp_path / "store") if not one.lacks]


def test_a_cluster_without_authentication_is_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    with cluster() as open_to_all:
        token = {"RAY_AUTH_TOKEN": open_to_all.environment["RAY_AUTH_TOKEN"]}
        open_to_all.environment |= {"RAY_AUTH_MODE": "disabled"}
        open_to_all.head(cpus=1)
        ended = join(tmp_path, open_to_all.address, RAY_AUTH_MODE="token", **token)
    refused(ended, "without authentication")
    assert not any((tmp_path / "store" / layout.LIVE).rglob("*.parquet"))


# ---------------------------------------------------------------- two hosts


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    with two_hosts() as names:
        yield names


def test_two_hosts_one_killed_in_the_middle_and_one_that_joins_late(
    tmp_path: Path, hosts: tuple[str, str]
) -> None:
    head, other = (("ip", "netns", "exec", name) for name in hosts)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        write_sweep(folder, grids=GRIDS, recipe=RECIPE)
    assert command("run", "tiny.yaml", "--executor", "inline", cwd=whole).returncode == 0
    undisturbed = outcome(whole / "store")
    with cluster("10.199.0.1") as nodes:
        nodes.head(prefix=head)
        first = nodes.worker(prefix=other)
        process = driver(cut, nodes, prefix=head)
        until(lambda: committed(cut) >= len(undisturbed) // 4)
        first.kill()
        assert committed(cut) < len(undisturbed)
        nodes.worker(prefix=other)
        said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, said + errors
    left = verify(cut / "store")  # what the killed node was writing
    assert all(finding.leftover for finding in left), left
    repair(left)
    assert outcome(cut / "store") == undisturbed
    assert verify(cut / "store") == []


# ---------------------------------------------------------------- one store, or several


@pytest.fixture
def other_store(tmp_path: Path) -> tuple[str, ...]:
    """Return a command prefix under which the store's path is another, empty disk."""
    (tmp_path / "store").mkdir()
    mount = f'mount -t tmpfs none {tmp_path}/store && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", mount, "sh")
    tried = subprocess.run([*prefix, "true"], check=False, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"another disk cannot be mounted here: {tried.stderr.strip()}")
    return prefix


def test_a_node_that_sees_another_store_is_named_before_anything_runs(
    tmp_path: Path, other_store: tuple[str, ...]
) -> None:
    write_sweep(tmp_path)
    with cluster() as nodes:
        nodes.head()
        nodes.worker(prefix=other_store)
        ended = join(tmp_path, nodes.address, **nodes.environment)
    refused(ended, f"the driver's store {tmp_path}/store is not there: put it on a file system")
    assert committed(tmp_path) == 0
    assert not list((tmp_path / "store").rglob(".witness*")), "nothing is left behind"


def test_a_node_that_joins_late_with_another_store_is_named(
    tmp_path: Path, other_store: tuple[str, ...]
) -> None:
    long = {"steps": 3000, "batch_size": 64, "lr": 0.1, "evaluate_every": 1000}
    write_sweep(tmp_path, grids=[{"method": "random", "levels": "1..40"}], recipe=long)
    with cluster() as nodes:
        nodes.head(cpus=1)
        process = driver(tmp_path, nodes)
        until(lambda: committed(tmp_path) >= 1)
        nodes.worker(prefix=other_store)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert "which joined later: the driver's store" in errors
    assert "Traceback" not in errors
    left = verify(tmp_path / "store")  # what the killed node was writing
    assert all(finding.leftover for finding in left), left


def committed(folder: Path) -> int:
    return sum(1 for _ in (folder / "store" / layout.LIVE).rglob("[!.]*.parquet"))


def driver(folder: Path, nodes: Cluster, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, *RUN, "--address", nodes.address],
        cwd=folder,
        env=nodes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


LONG_TASKS = """
import sys
from orchestrator import schedule
from tombola.cli import main
schedule.AHEAD_SECONDS = schedule.PACK_SECONDS = 0.05  # as if these seconds were hours
sys.exit(main())
"""


def test_levels_of_imp_go_on_where_their_weights_are(tmp_path: Path) -> None:
    """Two nodes with a disk each, a store in object storage, and eight chains."""
    server = Server(tmp_path / "buckets").start()
    try:
        with cluster(**server.environment) as nodes:
            nodes.head()
            for name in ("one", "other"):
                nodes.worker(prefix=("env", f"TOMBOLA_CACHE={tmp_path / name}"))
            recipe = {"steps": 60, "batch_size": 64, "lr": 0.1, "evaluate_every": 60}
            grids = [{"method": "imp", "levels": "1..4"}]
            write_sweep(tmp_path, network="conv2_bn", replicates=8, recipe=recipe, grids=grids)
            ended = subprocess.run(
                [sys.executable, "-c", LONG_TASKS, *RUN[3:], "--address", nodes.address],
                cwd=tmp_path,
                env={**os.environ, **nodes.environment},
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            asked = "SELECT worker, count(*) AS n FROM tasks GROUP BY ALL"
            said = command("sql", asked, "--format", "csv", cwd=tmp_path, **server.environment)
            assert len(said.stdout.splitlines()) >= 3, said.stdout + said.stderr
    finally:
        server.kill()
    masks = runs = 8 * 4
    assert len(server.gets("states")) <= masks / 4, "of the weights that were pruned"
    assert len(server.gets("masks")) <= (runs + masks - 8) / 4
