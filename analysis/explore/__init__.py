"""A local page that shows a store: how its sweeps go on, figures, learning curves, SQL.

It is a marimo app (`app.py`), served to this machine alone. Nothing of marimo is needed before.
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
    """Be the server of a store's page until it is interrupted, which ends this process with 130.

    `announce` is given the address, just before the page is there. A random token is part of it,
    since on a shared machine loopback is everybody's; the server reads it from a pipe, for others
    can see the words of a command.

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
    """End the process when it is told to, at once and in silence: who reads has nothing to lose.

    Marimo waits for nobody either, and its sessions, which are threads, would crash the
    interpreter that is taken down under them.
    """
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # in the threads that come, too
    threading.Thread(target=lambda: os._exit(128 + signal.sigwait(ends)), daemon=True).start()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        # As the server binds: what is left of one that just ended does not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ExploreError(f"port {port}: {why}; name another with --port") from None
