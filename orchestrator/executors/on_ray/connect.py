"""Ray itself: imported with our settings, and started here or joined where it runs."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import orchestrator
from orchestrator.executors import address as joining
from orchestrator.executors.address import Address
from tombola.errors import TombolaError

SOURCE = Path(orchestrator.__file__).parents[1]
"""The folder that holds our packages."""

NODE_ID = "ray.io/node-id"

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def import_ray(*, local: bool) -> ModuleType:
    """Ray, told what it reads from the environment when it is imported.

    No usage statistics; a local cluster binds to loopback instead of every interface, which
    is what the second setting does despite its name; one thread for each worker; a token
    where there is one.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    else:  # an executor before this one may have been local
        os.environ.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)
        if joining.has_token():
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
    # A lost worker is told in our words, once it matters; see the journal.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
    os.environ.update(WORKER_ENVIRONMENT)
    import ray

    joining.require_recent(ray.__version__)
    return ray


@contextmanager
def said_to_workers(name: str, value: Path) -> Iterator[None]:
    """An environment variable of the processes that are begun meanwhile, not of this one after."""
    before = os.environ.get(name)
    os.environ[name] = str(value)
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def resolve(said: str) -> Address:
    """The address to join: answered there, and with a token where one is needed."""
    from ray._private import services

    said = os.environ.get("RAY_ADDRESS", said) if said == "auto" else said
    address = None if said == "auto" else joining.parse(said)
    if address is None or not address.client:
        try:  # as Ray reads it: the last cluster started here, this machine's name for loopback
            found = services.canonicalize_bootstrap_address_or_die(said)
        except (ConnectionError, ValueError) as error:
            raise TombolaError(f"--address {said}: {str(error).splitlines()[0]}") from None
        address = joining.parse(found)
    joining.require_token(address)
    joining.probe(address)
    if not address.client:
        _ask_head(address)
    return address


def _ask_head(address: Address) -> None:
    """Ask the head who it is, once: Ray does it for twenty seconds, with a line of log each."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - what C++ writes goes by number
        os.dup2(nowhere.fileno(), 2)
    try:
        GcsClient(address=str(address))
    except Exception as error:  # noqa: BLE001 - Ray's errors of connections have no base
        raise TombolaError(joining.unreached(address, error)) from None
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def cluster_options(address: Address) -> dict[str, Any]:
    """What ray.init is told to join; it ships our packages, so that nodes run the driver's code."""
    told: dict[str, Any] = {
        "address": str(address),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:  # a submitted job: its files are shipped
        return told
    modules = [str(SOURCE / name) for name in ("tasks", "orchestrator", "analysis")]
    return {**told, "runtime_env": {"py_modules": modules, "env_vars": WORKER_ENVIRONMENT}}
