"""Parse and test the address of a Ray cluster, and require a token. Does not import Ray.

Ray itself waits over a minute for an address that does not answer. By default it joins without
authentication, and anyone who reaches such a cluster can run code on it.
"""

import ipaddress
import os
import re
import shlex
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from tombola.errors import TombolaError

PROBE_SECONDS = 4.0
"""Seconds to wait for an answer from an address."""

SETTINGS = b"\x04"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + SETTINGS + bytes(5)
"""The preface of an HTTP/2 connection (RFC 9113, 3.4): a fixed text and an empty settings frame.
The server answers with a settings frame: length (3 bytes), type, flags, stream (4)."""

OLDEST = (2, 54)
"""The first Ray without known holes in its dashboard; see `require_recent`."""

TAKES = "--address takes auto, HOST:PORT or ray://HOST:PORT"

CURE = (
    "make a token with `umask 077; ray get-auth-token --generate`, copy ~/.ray/auth_token to each "
    "node and here (or set RAY_AUTH_TOKEN), and start Ray with RAY_AUTH_MODE=token"
)


@dataclass(frozen=True)
class Address:
    """The address of a cluster. `client`: through Ray's client, from outside the cluster."""

    host: str
    port: int
    client: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ray://' if self.client else ''}{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Return whether the address is this machine's loopback."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse(text: str) -> Address:
    """Parse HOST:PORT or ray://HOST:PORT.

    Raises
    ------
    TombolaError
        When the text is not such an address.
    """
    scheme, separator, rest = text.rpartition("://")
    client = scheme == "ray"
    host, _, port = rest.rpartition(":")
    if client and not host:
        host, port = port, "10001"
    host = host.removeprefix("[").removesuffix("]")
    if (separator and not client) or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise TombolaError(f"{TAKES}, not {text}")
    return Address(host, int(port), client)


def dashboard(url: str) -> Address:
    """Parse the URL of a dashboard.

    Raises
    ------
    TombolaError
        When it is not http://HOST:PORT or https://HOST:PORT.
    """
    scheme, _, rest = url.rstrip("/").partition("://")
    host, _, port = rest.rpartition(":")
    if scheme not in {"http", "https"} or not host or not port.isdigit():
        raise TombolaError(f"submit's --address takes the dashboard's http://HOST:8265, not {url}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def probe(address: Address, *, grpc: bool = True) -> None:
    """Check that an HTTP/2 server, which carries Ray's gRPC, answers at an address.

    Without `grpc`, any server is accepted.

    Raises
    ------
    TombolaError
        When there is no answer within PROBE_SECONDS, or another kind of server answers.
    """
    try:
        with socket.create_connection((address.host, address.port), PROBE_SECONDS) as connection:
            if not grpc or os.environ.get("RAY_USE_TLS", "0") not in {"", "0"}:
                return
            connection.sendall(HELLO)
            if connection.recv(9)[3:4] == SETTINGS:
                return
            why = "something else answers"
    except TimeoutError:
        why = f"no answer in {PROBE_SECONDS:g} s"
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    kind = "Ray client server" if address.client else "Ray head" if grpc else "Ray dashboard"
    raise TombolaError(f"no {kind} at {address}: {why}; is the cluster running, is this its port?")


def answers(address: Address) -> bool:
    """Return whether Ray answers at an address."""
    try:
        probe(address)
    except TombolaError:
        return False
    return True


def require_token(address: Address) -> None:
    """Refuse to join a cluster beyond loopback without Ray's token authentication.

    Raises
    ------
    TombolaError
        When there is no token, or RAY_AUTH_MODE switches it off.
    """
    if address.loopback:
        return
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        raise TombolaError(
            f"{address} is beyond loopback, and Tombola joins such a cluster only with a token: "
            "unset RAY_AUTH_MODE=disabled"
        )
    if mode in {"", "token"} and not has_token():
        raise TombolaError(f"{address} is beyond loopback and there is no token: {CURE}")


def has_token() -> bool:
    """Return whether Ray will find a token, in the places where Ray looks, in its order.

    Raises
    ------
    TombolaError
        When RAY_AUTH_TOKEN_PATH names no readable token (Ray would end the process), or when
        other users can read this user's token file.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path("~/.ray/auth_token").expanduser()
    try:
        exists = bool(path.read_text(encoding="utf-8").strip())
        about = path.stat()
    except (OSError, ValueError) as error:
        if named:
            why = getattr(error, "strerror", None) or "not a text file"
            raise TombolaError(f"RAY_AUTH_TOKEN_PATH={named}: {why.lower()}") from None
        return False
    if named and not exists:
        raise TombolaError(f"RAY_AUTH_TOKEN_PATH={named}: holds no token")
    if exists and about.st_uid == os.geteuid() and about.st_mode & 0o077:
        mode = f"{stat.S_IMODE(about.st_mode):04o}"
        cure = f"chmod 600 {shlex.quote(str(path))}, and make a new token if others were there"
        raise TombolaError(f"{path} has mode {mode}, so that others here can use its token: {cure}")
    return exists


def require_recent(version: str) -> None:
    """Refuse a version of Ray with known holes.

    Raises
    ------
    TombolaError
        Before 2.54.0, whose dashboard lets any web page delete jobs (CVE-2026-27482), and
        before 2.52.0 even run code (CVE-2025-62593).
    """
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or tuple(map(int, match.groups())) < OLDEST:
        raise TombolaError(
            f"Ray {version} has known holes (CVE-2026-27482: web pages reach its dashboard): "
            "install ray>=2.54"
        )


def unreached(address: Address | None, error: Exception) -> str:
    """Return one line for Ray's error when a cluster could not be joined or started."""
    reason = str(error).strip()
    where = f"the Ray cluster at {address}" if address else "Ray on this machine"
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", reason)
    if len(versions) == 2:
        there, here = (f"Ray {ray} on Python {python}" for ray, python in versions)
        return f"{where} runs {there}, and this is {here}: install the same on both"
    if isinstance(error, ImportError):
        return f"{where} needs more of Ray here ({reason}): pip install 'tombola[cluster]'"
    if "uthenticat" in f"{type(error).__name__} {reason}":
        return f"{where} does not take this token: copy its ~/.ray/auth_token here"
    return f"{where} is not available: {(reason.splitlines() or [type(error).__name__])[0]}"


def another_store(store: str, problem: str) -> str:
    """Return the message that a node does not see the store of the driver."""
    return (
        f"the driver's store {store} {problem}: put it on a file system that all nodes mount at "
        "this path, and give this path to --store"
    )


def unguarded(mode: str, host: str) -> str | None:
    """Return the message that a node's Ray accepts anyone's commands, or None if it does not."""
    if is_loopback(host) or mode.lower() not in {"", "disabled"}:
        return None
    return f"its Ray listens on {host} without authentication: {CURE}"
