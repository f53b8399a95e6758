"""Ray on this machine only: its options, its folder, its token, and checks that it lives."""

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
"""Ray's shared memory. Packs and outcomes take a few kB each; the start of a process group may
take more, for which Ray uses the disk."""

SOCKET_BYTES = 107
"""The most bytes of the path of a socket."""

_LONGEST_BELOW = len("/session_2026-11-27_02-24-45_060169_1234567/sockets/plasma_store")

_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable

_NEEDED = {"raylet", "gcs_server"}
"""Processes without which Ray cannot run anything."""


def options(num_cpus: int | None, num_gpus: int | None) -> dict[str, Any]:
    """Return the options of ray.init that start a cluster of this machine."""
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
    """Return a folder for Ray's sockets and logs, or None if Ray's own choice works.

    Ray chooses RAY_TMPDIR, TMPDIR or /tmp. The folder of a batch job often makes the paths of
    sockets too long. Then this is a private folder below a usual one.

    Raises
    ------
    TombolaError
        When no folder works.
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
        f"Ray needs a writable folder for temporary files whose path has at most {longest} bytes, "
        f"and {named or 'TMPDIR'} is none: set RAY_TMPDIR to one"
    )


def _is_ours(folder: Path) -> bool:
    """Make a folder, and return whether only this user can write there (Ray lets all users)."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077


def _serves(folder: Path) -> bool:
    """Return whether the path of a folder is short enough, and the folder is writable."""
    if len(os.fsencode(folder)) + _LONGEST_BELOW > SOCKET_BYTES:
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError):
        return False


class Token:
    """A secret in the environment that authenticates the processes of this launch.

    Without it, Ray would write a token to a file in the home folder.
    """

    def __init__(self) -> None:
        self._before = os.environ.get(_TOKEN)
        os.environ[_TOKEN] = secrets.token_hex(32)
        _forget_token()

    def withdraw(self) -> None:
        """Restore the environment."""
        del os.environ[_TOKEN]
        if self._before is not None:
            os.environ[_TOKEN] = self._before
        _forget_token()


def _forget_token() -> None:
    """Make Ray read the environment again."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()


class LocalRay:
    """The processes that ray.init has started on this machine."""

    def __init__(self) -> None:
        from ray._private import worker

        node: Any = worker.global_worker.node
        self._node = node
        self._watchers = [Watcher(raylet.process.pid) for raylet in node.all_processes["raylet"]]

    def check(self) -> None:
        """Raise ClusterLost if a process that Ray needs is dead."""
        names = sorted(_NEEDED.intersection(name for name, _ in self._node.dead_processes()))
        if names:
            raise ClusterLost(f"Ray on this machine is gone: its {' and '.join(names)} died")

    def close(self) -> None:
        """End the remaining processes, after Ray was shut down."""
        for watcher in self._watchers:
            watcher.close()
