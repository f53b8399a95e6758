"""A Ray of this machine alone: where it keeps its files, who may speak to it, when it is gone."""

import logging
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Any

from orchestrator.executors.on_ray.lingering import Watcher
from tombola.errors import ClusterLost, TombolaError

OBJECT_STORE_BYTES = 100 * 2**20
"""Ray's shared memory: packs and outcomes pass through it, a few kB each, and what a gang's
members begin with, for which Ray takes the disk where it is more."""

SOCKET_BYTES = 107
"""How long the path of a socket may be."""

_LONGEST_BELOW = len("/session_2026-11-27_02-24-45_060169_1234567/sockets/plasma_store")

_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable

_NEEDED = {"raylet", "gcs_server"}
"""Processes without which Ray runs nothing more; workers and agents depend on them."""


def options(num_cpus: int | None, num_gpus: int | None) -> dict[str, Any]:
    """What ray.init is told to start a cluster of this machine."""
    return {
        "address": "local",
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "include_dashboard": False,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": OBJECT_STORE_BYTES,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        **({"_temp_dir": str(folder)} if (folder := short_folder()) else {}),
    }


def short_folder() -> Path | None:
    """Where Ray's sockets and logs can lie; None where it is Ray's own choice.

    That is RAY_TMPDIR, TMPDIR or /tmp. A batch system's folder for a job is often too long for
    the path of a socket; then it is a folder of ours below one of the usual ones.

    Raises
    ------
    TombolaError
        When none will do.
    """
    named = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))  # noqa: S108
    if os.path.isabs(named) and _serves(Path(named) / "ray"):  # noqa: PTH117 - it may be no path
        return None
    for above in filter(None, (os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp", "/dev/shm")):  # noqa: S108
        ours = Path(above) / f"tombola-ray-{os.getuid()}"
        if _is_ours(ours) and _serves(ours / "ray"):
            return ours / "ray"
    longest = SOCKET_BYTES - _LONGEST_BELOW - len("/ray")
    raise TombolaError(
        f"Ray needs a folder for temporary files that can be written and whose path has at most "
        f"{longest} bytes, and {named or 'TMPDIR'} is none: set RAY_TMPDIR to one"
    )


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can put anything there, which Ray allows everybody below it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077


def _serves(folder: Path) -> bool:
    """Whether the folder's path is short enough, and files can be made there."""
    if len(os.fsencode(folder)) + _LONGEST_BELOW > SOCKET_BYTES:
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError):
        return False


class Token:
    """A secret of this launch by which its processes know each other, told by the environment.

    So Ray writes none to a file, which needs a home folder.
    """

    def __init__(self) -> None:
        self._before = os.environ.get(_TOKEN)
        os.environ[_TOKEN] = secrets.token_hex(32)
        _forget_token()

    def withdraw(self) -> None:
        """Restore what the environment said before."""
        del os.environ[_TOKEN]
        if self._before is not None:
            os.environ[_TOKEN] = self._before
        _forget_token()


def _forget_token() -> None:
    """Let Ray look at the environment again."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()


class LocalRay:
    """The processes that ray.init has started here."""

    def __init__(self) -> None:
        from ray._private import worker

        node: Any = worker.global_worker.node
        self._node = node
        self._watchers = [Watcher(one.process.pid) for one in node.all_processes["raylet"]]

    def check(self) -> None:
        """Raise ClusterLost where one is gone without which nothing can run."""
        names = sorted(_NEEDED.intersection(name for name, _ in self._node.dead_processes()))
        if names:
            raise ClusterLost(f"Ray on this machine is gone: its {' and '.join(names)} died")

    def close(self) -> None:
        """See to it that nothing is left of them, once Ray was shut down."""
        for watcher in self._watchers:
            watcher.close()
