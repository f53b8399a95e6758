"""Real Ray nodes for tests, behind a token: several on this machine, or in network namespaces."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SMALL = ("--disable-usage-stats", "--object-store-memory=80000000")
RAY = str(Path(sys.executable).with_name("ray"))


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition; raise an error if it does not become true."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.02)


def processes(session: int, name: bytes = b"") -> list[int]:
    """List the processes of a session whose command line begins with `name`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            same = os.getsid(int(entry.name)) == session
            if same and (entry / "cmdline").read_bytes().startswith(name):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@dataclass
class Node:
    """A `ray start --block` and all processes that it started, in their own session."""

    process: subprocess.Popen[bytes]

    def workers(self) -> list[int]:
        """Return the workers of a node that run a pack."""
        return processes(self.process.pid, b"ray::run_pack")

    def kill(self) -> None:
        """Kill all processes of a node at once, as a power failure does."""
        for pid in processes(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Cluster:
    """The place where nodes are started: environment, address, and leftovers to remove."""

    address: str
    folder: Path
    environment: dict[str, str]
    nodes: list[Node] = field(default_factory=list)

    def start(self, *options: str, prefix: tuple[str, ...] = (), cpus: int = 1) -> Node:
        """Start a node and wait until it is part of the cluster."""
        log = (self.folder / f"node{len(self.nodes)}.log").open("wb")
        process = subprocess.Popen(
            [*prefix, RAY, "start", "--block", *SMALL, f"--num-cpus={cpus}", *options],
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        node = Node(process)
        self.nodes.append(node)
        until(lambda: b"--block" in Path(log.name).read_bytes() or process.poll() is not None)
        assert process.poll() is None, Path(log.name).read_text()
        return node

    def head(self, *options: str, prefix: tuple[str, ...] = (), cpus: int = 0) -> Node:
        """Start the head; by default without a CPU, so that nothing runs on it."""
        host, _, port = self.address.rpartition(":")
        named = [f"--port={port}", f"--node-ip-address={host}", f"--temp-dir={self.folder}/ray"]
        named += ["--head", "--include-dashboard=false"]
        return self.start(*named, *options, prefix=prefix, cpus=cpus)

    def worker(self, *options: str, prefix: tuple[str, ...] = (), cpus: int = 1) -> Node:
        """Start a node that joins."""
        return self.start(f"--address={self.address}", *options, prefix=prefix, cpus=cpus)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def own_address() -> str:
    """Return this machine's address, which Ray uses in place of loopback; send nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        with suppress(OSError):
            asked.connect(("192.0.2.1", 9))
        return str(asked.getsockname()[0])


def _clean() -> dict[str, str]:
    """Return the environment without the variables of a local executor of this process."""
    return {k: v for k, v in os.environ.items() if k != "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}


@contextmanager
def cluster(host: str | None = None, **environment: str) -> Iterator[Cluster]:
    """Build a cluster with its own token; every node is killed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))  # short: sockets lie below it
    named = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        **environment,
    }
    made = Cluster(f"{host or own_address()}:{free_port()}", folder, {**_clean(), **named})
    try:
        yield made
    finally:
        for node in made.nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Build two network namespaces joined by a cable, at 10.199.0.1 and 10.199.0.2."""
    names = tuple(f"tombola-{os.getpid()}-{side}" for side in "ab")
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need `ip` (iproute2) and root")
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            cable = [f"t{os.getpid()}{side}" for side in "ab"]
            ends = [("netns", name) for name in names]
            ip("link", "add", cable[0], *ends[0], "type", "veth", "peer", cable[1], *ends[1])
            for number, (name, end) in enumerate(zip(names, cable, strict=True), 1):
                ip("-n", name, "addr", "add", f"10.199.0.{number}/24", "dev", end)
                for device in (end, "lo"):
                    ip("-n", name, "link", "set", device, "up")
                ip("-n", name, "route", "add", "default", "via", f"10.199.0.{3 - number}")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not permitted here: {error.stderr.decode()}")
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
