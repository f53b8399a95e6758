"""A store in object storage: paths below a URL of fsspec's (s3://, gs://, ...).

An ObjectPath has as much of pathlib.Path as the store uses, each operation being one request:
puts are atomic, and nothing is cached, since others write too. Whatever a client raises comes
out as the OSError that a directory would have raised, in one line.
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

from orchestrator.node.watchdog import TaskTimeout
from tombola.errors import StoreError

AT_ONCE = 32
"""Requests under way; more of them wait for this process rather than for the network."""

_TOGETHER = 1024
"""Objects that one call reads into memory or removes."""

SEND_SECONDS, SLOWEST = 150.0, 250_000
"""A write counts as hung after so many seconds, and its bytes at so many a second."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

_S3_ERRORS = {
    "NoCredentialsError": "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "AWS_PROFILE",
    "PartialCredentialsError": "half of the credentials: set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY",
}


class ObjectPath:
    """A key of a bucket; made by `open_url`, put together like a Path."""

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
        with _asking(self):
            return bytes(self.filesystem.cat_file(self.key))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def exists(self) -> bool:
        with _asking(self):
            return bool(self.filesystem.exists(self.key))

    def is_dir(self) -> bool:
        """Whether there is anything below."""
        try:
            with _asking(self):
                return bool(self.filesystem.ls(self.key, detail=False))
        except FileNotFoundError:
            return False

    def unlink(self, *, missing_ok: bool = False) -> None:
        try:
            with _asking(self):
                self.filesystem.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def upload(self, file: str) -> None:
        """Put a local file, in parts where it is large; seen once it is complete."""
        seconds = SEND_SECONDS + os.stat(file).st_size / SLOWEST  # noqa: PTH116
        with _asking(self):
            _write(self.filesystem, "put_file", file, self.key, seconds=seconds)

    def version(self) -> tuple[str, int]:
        """What is another once the object is: its tag, or its time, and its size."""
        with _asking(self):
            about = self.filesystem.info(self.key)
        tag = next((about[n] for n in ("ETag", "etag", "mtime", "created") if n in about), "")
        return str(tag), int(about["size"])

    def copy(self) -> pa.NativeFile:
        """The object as an open local file without a name, shared while it stays as it is."""
        return _copy(self, self.version())

    # ------------------------------------------------------------ below it

    def published(self, suffix: str) -> Iterator[Self]:
        """Objects with that suffix below, sorted as a walk through folders finds them."""
        keys: list[str] = []
        with suppress(FileNotFoundError), _asking(self):
            keys = self.filesystem.find(self.key)
        above = len(self.key) + 1
        for parts in sorted(key[above:].split("/") for key in keys if key.endswith(suffix)):
            if not any(part.startswith(".") for part in parts):
                yield self / "/".join(parts)


def send(files: Sequence[tuple[ObjectPath, bytes]]) -> None:
    """Put objects, concurrently: readers see the one before or the whole of the new one."""
    if not files:
        return
    rounds = -(-len(files) // AT_ONCE)
    seconds = rounds * SEND_SECONDS + sum(len(content) for _, content in files) / SLOWEST
    first = files[0][0]
    try:
        with _asking(first):
            objects = {path.key: content for path, content in files}
            _write(first.filesystem, "pipe", objects, seconds=seconds)
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, "there is no such bucket", str(first)) from error


def _write(filesystem: Any, verb: str, *arguments: object, seconds: float) -> None:
    """Within a time, for clients wait for ever to send."""
    if not filesystem.async_impl:
        getattr(filesystem, verb)(*arguments)
        return
    write = getattr(filesystem, f"_{verb}")
    fsspec.asyn.sync(filesystem.loop, write, *arguments, timeout=seconds)


def contents(paths: Sequence[ObjectPath]) -> Iterator[bytes | None]:
    """What is in each, read concurrently; None where it is gone."""
    for first in range(0, len(paths), _TOGETHER):
        some = paths[first : first + _TOGETHER]
        with _asking(some[0]):
            found = some[0].filesystem.cat([path.key for path in some], on_error="return")
        for path in some:
            content = found[path.key]
            if isinstance(content, bytes):
                yield content
            elif isinstance(content, FileNotFoundError):
                yield None
            else:
                raise _said(path, content) from content


def remove(paths: Sequence[ObjectPath]) -> None:
    """Remove many in a few requests; one that is gone already is well."""
    for first in range(0, len(paths), _TOGETHER):
        some = paths[first : first + _TOGETHER]
        with suppress(FileNotFoundError), _asking(some[0]):
            some[0].filesystem.rm([path.key for path in some])


def sizes(paths: Sequence[ObjectPath]) -> Iterable[int]:
    """Bytes of each."""
    if not paths:
        return []
    with _asking(paths[0]):
        return [int(size) for size in paths[0].filesystem.sizes([path.key for path in paths])]


def open_url(url: str, *, patient: bool) -> ObjectPath:
    """The place that a URL of fsspec's names; `patient` waits out what may pass.

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
        cure = f"pip install 'tombola[{extra}]'" if extra else f"install fsspec's for {scheme}"
        raise StoreError(f"stores at {scheme}:// need one more package: {cure}") from None
    except ValueError as error:
        raise StoreError(f"store {url}: {error}") from None
    if scheme in _EXTRAS and not key:
        raise StoreError(f"store {url} names no bucket; --store {scheme}://BUCKET/PREFIX does")
    if scheme in ("s3", "s3a"):
        # botocore tries again what it has not begun to receive; this is for torn answers.
        filesystem.retries = 2 if patient else 1
    return ObjectPath(filesystem, key.rstrip("/"))


def _options(scheme: str, *, patient: bool) -> dict[str, Any]:
    """No listing cache, and bounds: some seconds where somebody waits, a minute for a result."""
    options: dict[str, Any] = {"use_listings_cache": False, "batch_size": AT_ONCE}
    if scheme in ("s3", "s3a"):
        tries = os.environ.get("AWS_MAX_ATTEMPTS") or (6 if patient else 3)
        options["session"] = _s3_session()
        options["max_concurrency"] = 1  # else it asks for the size of each object before it reads
        options["config_kwargs"] = {
            "connect_timeout": 4,
            "read_timeout": 10,
            "retries": {"mode": "standard", "total_max_attempts": int(tries)},
            "max_pool_connections": AT_ONCE,
        }
    return options


@lru_cache
def _s3_session() -> Any:
    """A session whose puts do not ask first whether they may: that answer has no time limit."""
    from aiobotocore.session import get_session
    from botocore.handlers import add_expect_header

    session = get_session()
    session.unregister("before-call.s3", add_expect_header)
    return session


@lru_cache(maxsize=256)
def _copy(path: ObjectPath, version: tuple[str, int]) -> pa.NativeFile:  # noqa: ARG001
    """Its name is removed at once, so that a process which is killed leaves nothing behind."""
    with tempfile.NamedTemporaryFile(prefix="tombola-") as file:
        file.write(path.read_bytes())
        file.flush()
        return pa.OSFile(file.name)


@contextmanager
def _asking(path: ObjectPath) -> Iterator[None]:
    try:
        yield
    except TaskTimeout:
        raise  # of whoever asks: it may strike anywhere
    except Exception as error:
        raise _said(path, error) from error


def _said(path: ObjectPath, error: Exception) -> OSError:
    """The same as an OSError with a number, one line and where."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such object or bucket", str(path))
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, PermissionError):
        said = f"access is refused ({first.rstrip('.')}); look at the credentials"
        return PermissionError(errno.EACCES, said, str(path))
    if isinstance(error, TimeoutError):
        return TimeoutError(errno.ETIMEDOUT, "no answer in time", str(path))
    if (url := getattr(error, "kwargs", {}).get("endpoint_url")) is not None:
        parts = urlsplit(str(url))
        first = f"the endpoint {parts.scheme}://{parts.netloc} does not answer"
    first = _S3_ERRORS.get(type(error).__name__, first)
    return OSError(getattr(error, "errno", None) or errno.EIO, first, str(path))
