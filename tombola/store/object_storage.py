"""A store in object storage: paths below a URL that fsspec knows (s3://, gs://, …).

An ObjectPath has the methods of pathlib.Path that the store uses. Each operation is one
request. Writes are atomic. Nothing is cached, as other machines write too. Each error of a
client is raised as the OSError that a directory would have raised, in one line.
"""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import PurePath, PurePosixPath
from typing import Any, Self
from urllib.parse import urlsplit

import fsspec.asyn
import fsspec.core
import pyarrow as pa

from tombola.errors import StoreError, TaskTimeout

AT_ONCE = 32
"""Concurrent requests; with more, this process would be the bottleneck."""

_TOGETHER = 1024
"""The most objects that one call reads into memory or removes."""

SEND_SECONDS, SLOWEST = 150.0, 250_000
"""A write counts as hung after SEND_SECONDS plus its bytes at SLOWEST bytes per second."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

_S3_ERRORS = {
    "NoCredentialsError": "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "AWS_PROFILE",
    "PartialCredentialsError": "half of the credentials: set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY",
}


class ObjectPath:
    """A key in a bucket; made by `open_url`, joined like a Path."""

    __slots__ = ("filesystem", "key")

    def __init__(self, filesystem: Any, key: str) -> None:
        self.filesystem, self.key = filesystem, key

    # ------------------------------------------------------------ names

    def __truediv__(self, relative: str | PurePath) -> Self:
        return type(self)(self.filesystem, f"{self.key}/{relative}")

    def __str__(self) -> str:
        return str(self.filesystem.unstrip_protocol(self.key))

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and (self.key, self.filesystem) == (
            other.key,
            other.filesystem,
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: "ObjectPath") -> bool:
        return self.key < other.key

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Self:
        return type(self)(self.filesystem, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> Self:
        return self.parent / name

    def relative_to(self, root: Self) -> PurePosixPath:
        return PurePosixPath(self.key).relative_to(root.key)

    def resolve(self) -> Self:
        return self

    # ------------------------------------------------------------ one object

    def read_bytes(self) -> bytes:
        with _translating_errors(self):
            return bytes(self.filesystem.cat_file(self.key))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def exists(self) -> bool:
        with _translating_errors(self):
            return bool(self.filesystem.exists(self.key))

    def is_dir(self) -> bool:
        """Return whether any object lies below."""
        try:
            with _translating_errors(self):
                return bool(self.filesystem.ls(self.key, detail=False))
        except FileNotFoundError:
            return False

    def unlink(self, *, missing_ok: bool = False) -> None:
        try:
            with _translating_errors(self):
                self.filesystem.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def upload(self, file: str) -> None:
        """Upload a local file, in parts if it is large. Readers see it once it is complete."""
        seconds = SEND_SECONDS + os.stat(file).st_size / SLOWEST  # noqa: PTH116
        with _translating_errors(self):
            _write(self.filesystem, "put_file", file, self.key, seconds=seconds)

    def version(self) -> tuple[str, int]:
        """Return the tag or time of the object, which changes with it, and its size."""
        with _translating_errors(self):
            about = self.filesystem.info(self.key)
        tag = next((about[n] for n in ("ETag", "etag", "mtime", "created") if n in about), "")
        return str(tag), int(about["size"])

    def copy(self) -> pa.NativeFile:
        """Return a local copy of the object as an open file; cached until the object changes."""
        return _copy(self, self.version())

    # ------------------------------------------------------------ below it

    def published(self, suffix: str) -> Iterator[Self]:
        """Yield the objects with that suffix below, in the order of a walk through folders."""
        keys: list[str] = []
        with suppress(FileNotFoundError), _translating_errors(self):
            keys = self.filesystem.find(self.key)
        above = len(self.key) + 1
        for parts in sorted(key[above:].split("/") for key in keys if key.endswith(suffix)):
            if not any(part.startswith(".") for part in parts):
                yield self / "/".join(parts)


def send(files: Sequence[tuple[ObjectPath, bytes]]) -> None:
    """Write objects concurrently; readers see the old object or the whole new one."""
    if not files:
        return
    rounds = -(-len(files) // AT_ONCE)
    seconds = rounds * SEND_SECONDS + sum(len(content) for _, content in files) / SLOWEST
    first = files[0][0]
    try:
        with _translating_errors(first):
            objects = {path.key: content for path, content in files}
            _write(first.filesystem, "pipe", objects, seconds=seconds)
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, "there is no such bucket", str(first)) from error


def _write(filesystem: Any, verb: str, *arguments: object, seconds: float) -> None:
    """Write with a time limit, as clients have none for sending."""
    if not filesystem.async_impl:
        getattr(filesystem, verb)(*arguments)
        return
    write = getattr(filesystem, f"_{verb}")
    fsspec.asyn.sync(filesystem.loop, write, *arguments, timeout=seconds)


def contents(paths: Sequence[ObjectPath]) -> Iterator[bytes | None]:
    """Yield the content of each object, read concurrently, or None if it is gone."""
    for first in range(0, len(paths), _TOGETHER):
        some = paths[first : first + _TOGETHER]
        with _translating_errors(some[0]):
            objects = some[0].filesystem.cat([path.key for path in some], on_error="return")
        for path in some:
            content = objects[path.key]
            if isinstance(content, bytes):
                yield content
            elif isinstance(content, FileNotFoundError):
                yield None
            else:
                raise _as_os_error(path, content) from content


def remove(paths: Sequence[ObjectPath]) -> None:
    """Remove objects in a few requests; objects that are gone already are ignored."""
    for first in range(0, len(paths), _TOGETHER):
        some = paths[first : first + _TOGETHER]
        with suppress(FileNotFoundError), _translating_errors(some[0]):
            some[0].filesystem.rm([path.key for path in some])


def sizes(paths: Sequence[ObjectPath]) -> Iterable[int]:
    """Return the size of each object in bytes."""
    if not paths:
        return []
    with _translating_errors(paths[0]):
        return [int(size) for size in paths[0].filesystem.sizes([path.key for path in paths])]


def open_url(url: str, *, patient: bool) -> ObjectPath:
    """Return the path of a URL; with `patient`, requests are tried for about a minute.

    Raises
    ------
    StoreError
        When the scheme is not known, or its client is not installed.
    """
    scheme = url.partition("://")[0]
    try:
        filesystem, key = fsspec.core.url_to_fs(url, **_options(scheme, patient=patient))
    except ImportError:
        extra = _EXTRAS.get(scheme)
        cure = (
            f"pip install 'tombola[{extra}]'" if extra else f"install fsspec's client of {scheme}"
        )
        raise StoreError(f"stores at {scheme}:// need one more package: {cure}") from None
    except ValueError as error:
        raise StoreError(f"store {url}: {error}") from None
    if scheme in _EXTRAS and not key:
        raise StoreError(f"store {url} names no bucket; --store {scheme}://BUCKET/PREFIX does")
    if scheme in ("s3", "s3a"):
        # botocore retries requests without an answer; this retries incomplete answers.
        filesystem.retries = 2 if patient else 1
    return ObjectPath(filesystem, key.rstrip("/"))


def _options(scheme: str, *, patient: bool) -> dict[str, Any]:
    """Return options of the client: no cache of listings, and limits of time."""
    options: dict[str, Any] = {"use_listings_cache": False, "batch_size": AT_ONCE}
    if scheme in ("s3", "s3a"):
        tries = os.environ.get("AWS_MAX_ATTEMPTS") or (6 if patient else 3)
        options["session"] = _s3_session()
        options["max_concurrency"] = 1  # with more, it asks for the size of each object first
        options["config_kwargs"] = {
            "connect_timeout": 4,
            "read_timeout": 10,
            "retries": {"mode": "standard", "total_max_attempts": int(tries)},
            "max_pool_connections": AT_ONCE,
        }
    return options


@lru_cache
def _s3_session() -> Any:
    """Return a session that sends data at once: waiting for 100-continue has no time limit."""
    from aiobotocore.session import get_session
    from botocore.handlers import add_expect_header

    session = get_session()
    session.unregister("before-call.s3", add_expect_header)
    return session


@lru_cache(maxsize=256)
def _copy(path: ObjectPath, version: tuple[str, int]) -> pa.NativeFile:  # noqa: ARG001
    """Copy an object to a file without a name, so that a killed process leaves nothing."""
    with tempfile.NamedTemporaryFile(prefix="tombola-") as file:
        file.write(path.read_bytes())
        file.flush()
        return pa.OSFile(file.name)


@contextmanager
def _translating_errors(path: ObjectPath) -> Iterator[None]:
    try:
        yield
    except TaskTimeout:
        raise  # an alarm of the watchdog, not an error of the client
    except Exception as error:
        raise _as_os_error(path, error) from error


def _as_os_error(path: ObjectPath, error: Exception) -> OSError:
    """Return an error as an OSError with a number, one line and the path."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such object or bucket", str(path))
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, PermissionError):
        message = f"access is refused ({first.rstrip('.')}); check the credentials"
        return PermissionError(errno.EACCES, message, str(path))
    if isinstance(error, TimeoutError):
        return TimeoutError(errno.ETIMEDOUT, "no answer in time", str(path))
    if (url := getattr(error, "kwargs", {}).get("endpoint_url")) is not None:
        parts = urlsplit(str(url))
        first = f"the endpoint {parts.scheme}://{parts.netloc} does not answer"
    first = _S3_ERRORS.get(type(error).__name__, first)
    return OSError(getattr(error, "errno", None) or errno.EIO, first, str(path))
