"""Import Ray with the right settings, and start it here or join a running cluster."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import orchestrator
from orchestrator.executors.address import (
    Address,
    has_token,
    parse,
    probe,
    require_recent,
    require_token,
    unreached,
)
from tombola.errors import TombolaError

SOURCE = Path(orchestrator.__file__).parents[1]
"""The folder that holds the packages of this project."""

NODE_ID = "ray.io/node-id"

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def import_ray(*, local: bool) -> ModuleType:
    """Set the environment that Ray reads when it is imported, and import it.

    There are no usage statistics. A local cluster binds to loopback instead of every interface
    (the second setting does that, despite its name). Each worker has one thread. A token is
    used if there is one.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    else:  # an executor before this one may have been local
        os.environ.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)
        if has_token():
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
    # The journal reports lost workers.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
    os.environ.update(WORKER_ENVIRONMENT)
    import ray

    require_recent(ray.__version__)
    return ray


@contextmanager
def environment_of_workers(name: str, value: Path) -> Iterator[None]:
    """Set an environment variable for processes that start within the context."""
    before = os.environ.get(name)
    os.environ[name] = str(value)
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def resolve(text: str) -> Address:
    """Return the address to join, after checking that it answers and that there is a token."""
    from ray._private import services

    text = os.environ.get("RAY_ADDRESS", text) if text == "auto" else text
    address = None if text == "auto" else parse(text)
    if address is None or not address.client:
        try:  # as Ray reads it: the last cluster started here, this machine's name for loopback
            resolved = services.canonicalize_bootstrap_address_or_die(text)
        except (ConnectionError, ValueError) as error:
            raise TombolaError(f"--address {text}: {str(error).splitlines()[0]}") from None
        address = parse(resolved)
    require_token(address)
    probe(address)
    if not address.client:
        _ask_head(address)
    return address


def _ask_head(address: Address) -> None:
    """Try to connect to the head once: Ray itself tries for 20 s, and logs each try."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - C++ writes to the file descriptor
        os.dup2(nowhere.fileno(), 2)
    try:
        GcsClient(address=str(address))
    except Exception as error:  # noqa: BLE001 - Ray's connection errors have no base class
        raise TombolaError(unreached(address, error)) from None
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def cluster_options(address: Address) -> dict[str, Any]:
    """Return options of ray.init to join a cluster; they ship the driver's code to the nodes."""
    options: dict[str, Any] = {
        "address": str(address),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:  # a submitted job has shipped its files
        return options
    modules = [str(SOURCE / name) for name in ("tombola", "tasks", "orchestrator", "analysis")]
    return {**options, "runtime_env": {"py_modules": modules, "env_vars": WORKER_ENVIRONMENT}}
