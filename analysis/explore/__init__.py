"""Local page of a store: progress of sweeps, figures, learning curves and SQL.

The page is a marimo app (`app.py`), served only to this machine. Only this command needs marimo.
"""

import os
import runpy
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from tombola.errors import ExploreError

_HOST = "127.0.0.1"
_APP = Path(__file__).with_name("app.py")


def serve(store: Path, port: int, announce: Callable[[str], None]) -> None:
    """Serve the page of a store until an interrupt, which ends this process with exit code 130.

    `announce` is called with the address just before the server starts. The address contains a
    random token, because all users of a machine can reach its loopback address. The server reads
    the token from a pipe, because all users can see the arguments of a command.

    Raises
    ------
    ExploreError
        When marimo is not installed, or the port is taken.
    """
    if find_spec("marimo") is None:
        raise ExploreError("explore needs marimo, which is not installed: pip install marimo")
    _check_free(port)
    token = secrets.token_urlsafe(24)
    announce(f"http://{_HOST}:{port}/?access_token={token}")
    reading, writing = os.pipe()
    os.write(writing, token.encode())
    os.close(writing)
    os.dup2(reading, 0)
    _end_at_interrupt()
    os.environ["MARIMO_SKIP_UPDATE_CHECK"] = "1"
    where = ("--headless", "--host", _HOST, "--port", str(port), "--token-password-file", "-")
    sys.argv = ["marimo", "-q", "run", str(_APP), *where, "--no-sandbox"]
    sys.argv += ["--", "--store", str(store.resolve())]
    runpy.run_module("marimo", run_name="__main__", alter_sys=True)


def _end_at_interrupt() -> None:
    """End the process at SIGINT or SIGTERM, at once and without output.

    Nothing is lost, because the page only reads. A normal exit would crash, because the sessions of
    marimo are threads that still run.
    """
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # later threads inherit the mask
    threading.Thread(target=lambda: os._exit(128 + signal.sigwait(ends)), daemon=True).start()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        # As the server does: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ExploreError(f"port {port}: {why}; name another with --port") from None
