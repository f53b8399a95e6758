"""A local Ray's demands on a machine, and the files it leaves, tested without any Ray."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.executors.on_ray import local
from orchestrator.executors.on_ray.lingering import children
from tombola.errors import ClusterLost, ExitCode, TombolaError


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a short folder that counts as the user's folder for Ray sessions."""
    short = Path("/tmp") / f"tombola-test-{os.getpid()}"
    short.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    yield short
    subprocess.run(["rm", "-r", str(short)], check=True)


# what a batch system may say in TMPDIR: whether Ray can have it
NAMED: dict[str, bool] = {
    "short": True,
    "with a space": True,
    "missing/below": True,
    "d" * 90: False,
    "ö" * 20: False,
}


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize("name", NAMED)
def test_a_folder_that_is_too_long_for_sockets_is_replaced_by_a_short_one(
    name: str, variable: str, usual: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = usual / ("a" if NAMED[name] else "")
    monkeypatch.setenv(variable, str(above / name)[:4000])
    found = local.short_folder()
    ours = usual / f"tombola-ray-{os.getuid()}"
    assert found == (None if NAMED[name] else ours / "ray")
    if found:
        assert ours.stat().st_mode & 0o077 == 0
        assert len(os.fsencode(found)) + local._LONGEST_BELOW <= local.SOCKET_BYTES


@pytest.mark.parametrize("named", ["", "relative", "/proc/none", "/dev/null"])
def test_a_folder_that_cannot_be_is_replaced_too(
    named: str, usual: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", named)
    assert local.short_folder() == usual / f"tombola-ray-{os.getuid()}" / "ray"


def test_where_none_serves_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/" + "d" * 90)
    monkeypatch.setattr(local, "_serves", lambda folder: False)
    with pytest.raises(TombolaError, match=r"at most \d+ bytes, and /ddd.* set RAY_TMPDIR"):
        local.short_folder()


def test_what_another_user_could_write_to_is_not_ours(usual: Path) -> None:
    folder = usual / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert not local._is_ours(folder)
    (usual / "link").symlink_to(folder)
    assert not local._is_ours(usual / "link")
    assert local._is_ours(usual / "new")


def test_a_lost_cluster_has_an_exit_code_of_its_own_and_says_how_to_go_on() -> None:
    error = ClusterLost("Ray on this machine is gone")
    assert error.exit_code is ExitCode.CLUSTER_LOST
    assert "run the same command again" in str(error)
    assert TombolaError("x").exit_code is ExitCode.BAD_INPUT


DRIVER = """
import subprocess, sys
from orchestrator.executors.on_ray.lingering import Watcher, children
raylet = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600 & wait"])
while len(children(raylet.pid)) < 2:
    pass
watcher = Watcher(raylet.pid)
print(raylet.pid, *(child.number for child in children(raylet.pid)), flush=True)
sys.stdin.read(1)
watcher.close()
"""


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_what_the_raylet_started_does_not_outlive_the_driver(end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout
        assert driver.stdin
        raylet, *agents = map(int, driver.stdout.readline().split())
        assert len(agents) == 2
        os.kill(raylet, signal.SIGKILL)
        assert all(map(running, agents))
        if end == "killed":
            driver.kill()
        else:
            driver.stdin.write("x")
            driver.stdin.close()
        until(lambda: not any(map(running, agents)))


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_children_are_known_by_number_and_beginning() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = {one.number: one for one in children(os.getpid())}[child.pid]
        assert found.alive
        assert not found._replace(began="1").alive
        child.communicate(b"\n")
    assert not found.alive
