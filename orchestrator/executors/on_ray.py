"""Packs as Ray tasks, on this machine or a cluster. The only file that imports Ray.

Ray places packs and reuses worker processes, so torch is imported once in each; retries,
order and packing are ours (schedule.py).
"""

import logging
import os
import random
import signal
import warnings
from contextlib import chdir, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import orchestrator
from orchestrator.errors import TombolaError
from orchestrator.executors.base import Arrival, Pack, Returned, WorkerLost
from orchestrator.failures import Failure
from tasks import own

SOURCE = Path(orchestrator.__file__).parents[1]
"""The folder that holds our packages."""

_NODE_ID = "ray.io/node-id"

OBJECT_STORE_BYTES = 100 * 2**20
"""Ray's shared memory: only packs and outcomes pass through it, a few kB each."""


class RayExecutor:
    """Packs on a Ray cluster: a local one by default, else that of `address`.

    Parameters
    ----------
    address
        HOST:PORT, `ray://…` or `auto` of a running cluster; None starts one here, on
        loopback, without a dashboard.
    num_cpus, num_gpus
        Of the local cluster; None is what the machine has.
    cpus_per_task, gpus_per_task
        Share of a node that a pack holds; by default a GPU where there are any. A pack
        that holds none does not see any.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        num_cpus: int | None = None,
        num_gpus: int | None = None,
        cpus_per_task: float = 1.0,
        gpus_per_task: float | None = None,
    ) -> None:
        self._ray = ray = _import_ray(local=address is None)
        try:
            # Workers import from the folder Ray was started in: let that be ours, and not
            # one where some other `tasks` lies.
            with chdir(SOURCE), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                ray.init(**(_join(address) if address else _start(num_cpus, num_gpus)))
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
            where = f"the Ray cluster at {address}" if address else "Ray on this machine"
            raise TombolaError(f"{where} cannot be reached: {str(error).splitlines()[0]}") from None
        resources = ray.cluster_resources()
        if gpus_per_task is None:
            gpus_per_task = 1.0 if resources.get("GPU") else 0.0
        self.slots = _slots(resources, cpus_per_task, gpus_per_task)
        self._share = cpus_per_task, gpus_per_task
        self._largest = max(node["Resources"].get("CPU", 0.0) for node in ray.nodes())
        whole, share = (1.0, gpus_per_task) if gpus_per_task else (self._largest, cpus_per_task)
        self.widest = max(1, int(whole / share)) if share else 1
        self._avoided: frozenset[str] = frozenset()
        self._run = ray.remote(max_retries=0)(_run_pack)
        self._running: dict[Any, Pack] = {}

    def submit(self, pack: Pack) -> None:
        """Hand the pack to Ray."""
        self._running[self._run.options(**self._options(pack.width)).remote(pack)] = pack

    def _options(self, width: int) -> dict[str, Any]:
        """What a pack of that width holds of a node: at the most all of a device, or of a node."""
        cpus, gpus = self._share
        wide = {"num_cpus": cpus, "num_gpus": min(width * gpus, max(gpus, 1.0))}
        if not gpus:
            wide["num_cpus"] = min(width * cpus, max(cpus, self._largest))
        if not self._avoided:
            return wide
        others = f"!in({','.join(sorted(self._avoided))})"
        return {**wide, "label_selector": {_NODE_ID: others}}

    def avoid(self, nodes: frozenset[str]) -> bool:
        """Send packs to other nodes than these from now on; False where there is no other."""
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        if nodes and not alive - nodes:
            return False
        self._avoided = nodes
        return True

    def wait(self, seconds: float) -> list[Arrival]:
        """Packs that came back, or whose worker died."""
        if not self._running:
            return []
        waiting = list(self._running)
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [self._arrival(reference) for reference in ready]

    def close(self) -> None:
        """Stop workers and leave the cluster (a local one ends)."""
        self._running.clear()
        self._ray.shutdown()

    def _arrival(self, reference: Any) -> Arrival:
        pack = self._running.pop(reference)
        try:
            node, outcomes = self._ray.get(reference)
            return Returned(pack, tuple(outcomes), node)
        except self._ray.exceptions.RayTaskError as error:
            return WorkerLost(pack, f"the worker could not run its pack: {error.cause}")
        except self._ray.exceptions.RayError as error:
            return WorkerLost(pack, str(error).strip().splitlines()[0], self._why(error))

    def _why(self, error: Exception) -> Failure:
        """What befell the worker.

        Raises
        ------
        TombolaError
            When no node is left that could run anything.
        """
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return Failure.OUT_OF_MEMORY
        if not any(node["Alive"] for node in self._ray.nodes()):
            raise TombolaError(
                "the Ray cluster has no node left; what is finished is kept, run the sweep again"
            )
        died = isinstance(error, self._ray.exceptions.NodeDiedError)
        return Failure.NODE_LOST if died else Failure.WORKER_LOST


def strike(address: str, victim: str, dice: random.Random) -> bool:
    """Kill a worker at work, or a node other than the head, of a cluster; False where none is.

    It is done by a task on that node: it kills another process that runs a pack, or the
    raylet that is its own parent.
    """
    ray = _import_ray(local=False)
    if not ray.is_initialized():
        ray.init(**_join(address))
    head = "node:__internal_head__"
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if victim == "node":
        nodes = [node for node in nodes if head not in node["Resources"]]
    dice.shuffle(nodes)
    for node in nodes:
        on_it = {"num_cpus": 0, "max_retries": 0, "label_selector": {_NODE_ID: node["NodeID"]}}
        try:
            if ray.get(ray.remote(**on_it)(_shoot).remote(victim), timeout=30):
                return True
        except ray.exceptions.RayError:
            return True  # whoever shot went down with the node
    return False


def _shoot(victim: str) -> bool:
    if victim == "node":
        os.kill(os.getppid(), signal.SIGKILL)
        return True
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cmdline").read_bytes().startswith(b"ray::_run_pack"):
                os.kill(int(entry.name), signal.SIGKILL)
                return True
    return False


def _run_pack(pack: Pack) -> tuple[str, list[Any]]:
    import ray

    from orchestrator.worker import run_pack

    return ray.get_runtime_context().get_node_id(), run_pack(pack, limited=True)


def _import_ray(*, local: bool) -> ModuleType:
    """Ray, told what it reads from the environment when it is imported.

    No usage statistics; a local cluster binds to loopback instead of every interface, which
    is what the second setting does despite its name; one thread for each worker.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault(own.FOLDER, str(Path.cwd()))
    elif _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
    # A lost worker is told in our words, once it matters; see the journal.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
    os.environ.update(_WORKER_ENVIRONMENT)
    import ray

    return ray


def _has_token() -> bool:
    """Whether there is a token for clusters that ask for one, where Ray looks for it."""
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    return bool(named) or Path("~/.ray/auth_token").expanduser().exists()


def _start(num_cpus: int | None, num_gpus: int | None) -> dict[str, Any]:
    return {
        "address": "local",
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "include_dashboard": False,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": OBJECT_STORE_BYTES,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }


def _join(address: str) -> dict[str, Any]:
    """Ship our packages, so that nodes run the driver's code."""
    return {
        "address": address,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {
            "py_modules": [str(SOURCE / name) for name in ("tasks", "orchestrator", "analysis")],
            "env_vars": _WORKER_ENVIRONMENT,
        },
    }


_WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _slots(have: dict[str, float], cpus: float, gpus: float) -> int:
    fits = [have.get("CPU", 0.0) / cpus] if cpus else []
    fits += [have.get("GPU", 0.0) / gpus] if gpus else []
    slots = int(min(fits, default=1.0))
    if slots < 1:
        raise TombolaError(
            f"no node has {cpus:g} CPU and {gpus:g} GPU for a task: the cluster has "
            f"{have.get('CPU', 0):g} CPU and {have.get('GPU', 0):g} GPU"
        )
    return slots
