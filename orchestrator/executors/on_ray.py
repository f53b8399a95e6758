"""Packs as Ray tasks, on this machine or a cluster. The only file that imports Ray.

Ray places packs and reuses worker processes, so torch is imported once in each; retries,
order and packing are ours (schedule.py).
"""

import functools
import importlib
import logging
import os
import random
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import orchestrator
from orchestrator.errors import StoreError, TombolaError
from orchestrator.executors import joining
from orchestrator.executors.base import Arrival, Pack, Returned, WorkerLost
from orchestrator.executors.joining import Address
from orchestrator.failures import Failure
from orchestrator.preemption import Notice, heeding
from orchestrator.store.place import locate
from orchestrator.store.witness import Witness, answer, seen
from tasks import own

SOURCE = Path(orchestrator.__file__).parents[1]
"""The folder that holds our packages."""

_NODE_ID = "ray.io/node-id"

OBJECT_STORE_BYTES = 100 * 2**20
"""Ray's shared memory: only packs and outcomes pass through it, a few kB each."""

LOOK_SECONDS = 3.0
"""Between looks at the nodes of a cluster: which joined, which are to be drained."""

AGENT_SECONDS = 60.0
"""How long a head may take until it can start jobs."""

ATTEST_SECONDS = 180.0
"""How long a node may take to unpack our code, import torch and read a file."""


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
        Share of a node that a pack holds; by default a GPU where there are any, or less of
        one once a rehearsal showed how much memory a task takes. A pack that holds none does
        not see any.

    Raises
    ------
    TombolaError
        When there is no such cluster, no token for it, another Ray on it, or no room for a
        task; at a store's first pack, when a node cannot run it or has another store there.
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
        self._where = _resolve(address) if address else None
        self._may_share = False
        try:
            # Workers import from the folder Ray was started in: let that be ours, and not
            # one where some other `tasks` lies. A user's code is where we are now.
            with _said_to_workers(own.FOLDER, Path.cwd()), chdir(SOURCE), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ray.init(**(_join(self._where) if self._where else _start(num_cpus, num_gpus)))
        except (ray.exceptions.RayError, ImportError, OSError, RuntimeError, ValueError) as error:
            raise TombolaError(joining.unreached(self._where, error)) from None
        if gpus_per_task is None:
            gpus_per_task = 1.0 if ray.cluster_resources().get("GPU") else 0.0
            self._may_share = bool(gpus_per_task)
        self._share = cpus_per_task, gpus_per_task
        self._looked = time.monotonic()
        self.slots = joining.slots(ray.nodes(), *self._share)
        if not self.slots:
            have = ray.cluster_resources()
            ray.shutdown()
            raise TombolaError(joining.no_room(have, *self._share))
        self._largest = max(node["Resources"].get("CPU", 0.0) for node in ray.nodes())
        self.widest = joining.widest(self._largest, *self._share)
        self._avoided: frozenset[str] = frozenset()
        self._run = ray.remote(max_retries=0)(_run_pack)
        self._running: dict[Any, Pack] = {}
        self._witnesses: dict[str, Witness] = {}
        self._cancelled: set[Any] = set()
        self.draining = False

    def submit(self, pack: Pack) -> None:
        """Hand the pack to Ray; a cluster's nodes are asked for its store before the first."""
        if self._where and pack.store not in self._witnesses:
            self._witnesses[pack.store] = witness = Witness(locate(pack.store))
            self._call_witness(witness, pack.store)
        name = self._witnesses[pack.store].name if self._where else None
        run = self._run.options(**self._options(pack.width), **self._nodes(pack.near))
        self._running[run.remote(pack, name)] = pack

    def _options(self, width: int) -> dict[str, Any]:
        """What a pack of that width holds of a node: at the most all of a device, or of a node."""
        cpus, gpus = self._share
        wide = {"num_cpus": cpus, "num_gpus": min(width * gpus, max(gpus, 1.0))}
        if not gpus:
            wide["num_cpus"] = min(width * cpus, max(cpus, self._largest))
        return wide

    def _nodes(self, near: str) -> dict[str, Any]:
        """None of those to avoid, and the one that is near unless it is busy.

        A fallback is taken at once, where a soft NodeAffinitySchedulingStrategy waits.
        """
        others = {_NODE_ID: f"!in({','.join(sorted(self._avoided))})"} if self._avoided else {}
        if not near or near in self._avoided:
            return {"label_selector": others} if others else {}
        fallback = [{"label_selector": others}]
        return {"label_selector": {_NODE_ID: near}, "fallback_strategy": fallback}

    def fit(self, memory: float) -> None:
        """Let packs that each take this fraction of a GPU's memory share one; 0: not known.

        Not where the user has said how much of a GPU a task holds.
        """
        if memory and self._may_share:
            self._share = self._share[0], joining.gpu_share(memory)
            self.slots = max(1, joining.slots(self._ray.nodes(), *self._share))
            self.widest = joining.widest(self._largest, *self._share)

    def avoid(self, nodes: frozenset[str]) -> bool:
        """Send packs to other nodes than these from now on; False where there is no other."""
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        if nodes and not alive - nodes:
            return False
        self._avoided = nodes
        return True

    def wait(self, seconds: float) -> list[Arrival]:
        """Packs that came back, or whose worker died."""
        if self._where and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self.slots = max(1, joining.slots(self._ray.nodes(), *self._share))
        if not self._running:
            return []
        waiting = list(self._running)
        if self.draining:
            for reference in set(waiting) - self._cancelled:
                self._cancelled.add(reference)
                self._ray.cancel(reference)
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [self._arrival(reference) for reference in ready]

    def drain(self) -> None:
        """Ask what runs to stop where it can go on from; safe in a signal's handler."""
        self.draining = True

    def close(self) -> None:
        """Stop workers and leave the cluster (a local one ends)."""
        self._running.clear()
        for witness in self._witnesses.values():
            witness.close()
        self._ray.shutdown()

    def _arrival(self, reference: Any) -> Arrival:
        pack = self._running.pop(reference)
        try:
            node, outcomes = self._ray.get(reference)
            return Returned(pack, tuple(outcomes), node)
        except self._ray.exceptions.TaskCancelledError:
            return Returned(pack)  # it had not begun
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, StoreError):
                raise TombolaError(str(error.cause)) from None
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

    def _call_witness(self, witness: Witness, store: str) -> None:
        """Ask each node that could run a pack, in a task, before anything else."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        attest, asked = self._ray.remote(_attest), {}
        for node in self._ray.nodes():
            if joining.slots([node], *self._share):
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ask = attest.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
                name = f"node {node['NodeManagerHostname']}"
                asked[ask.remote(store, witness.name)] = name
        self._ray.wait(list(asked), num_returns=len(asked), timeout=ATTEST_SECONDS)
        for reference, node in asked.items():
            try:
                wrong, written, mode, host = self._ray.get(reference, timeout=0)
            except self._ray.exceptions.RayError as error:
                said = str(getattr(error, "cause", None) or error).strip().splitlines()
                raise TombolaError(
                    f"{node} cannot run a task: {said[-1] if said else type(error).__name__}"
                ) from None
            if wrong is None and not witness.confirm(written):
                wrong = joining.another_store(store, "is another one there")
            if wrong is None:
                wrong = joining.unguarded(mode, host)
            if wrong is not None:
                raise TombolaError(f"{node}: {wrong}")


def submit_job(
    url: str, identity: str, entrypoint: str, folder: Path, environment: dict[str, str]
) -> None:
    """Start a command on a cluster through its dashboard at `url`, in a copy of `folder`.

    Raises
    ------
    TombolaError
        When there is no dashboard, no token for it, or it does not take the job.
    """
    address = joining.dashboard(url)
    ray = _import_ray(local=False)
    joining.require_token(address)
    joining.probe(address, grpc=False)
    from ray.job_submission import JobSubmissionClient

    try:
        logging.disable(logging.INFO)  # Ray tells of each file that it packs
        environment = {**_WORKER_ENVIRONMENT, **environment}
        client = JobSubmissionClient(url)
        runtime = {"working_dir": str(folder), "env_vars": environment}
        until = time.monotonic() + AGENT_SECONDS
        while True:
            try:
                client.submit_job(
                    entrypoint=entrypoint, submission_id=identity, runtime_env=runtime
                )
                return
            except RuntimeError as error:  # a head that has just started has no agent yet
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(LOOK_SECONDS)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        raise TombolaError(joining.unreached(address, error)) from None


def strike(address: str, victim: str, dice: random.Random) -> bool:
    """Kill a worker at work, or a node other than the head, of a cluster; False where none is.

    It is done by a task on that node: it kills another process that runs a pack, or the
    raylet that is its own parent.
    """
    ray = _import_ray(local=False)
    if not ray.is_initialized():
        ray.init(**_join(_resolve(address)))
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


# ---------------------------------------------------------------- on the node


def _run_pack(pack: Pack, witness: str | None) -> tuple[str, list[Any]]:
    """The node, and how each job of the pack ended."""
    from ray import get_runtime_context

    from orchestrator.worker import run_pack

    notice, here = Notice(), get_runtime_context()
    gpus = len(here.get_accelerator_ids().get("GPU", ()))
    reasons = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "the launch is stopping"}
    with ExitStack() as stack:
        stack.enter_context(heeding(notice, reasons))  # ray.cancel arrives as the second
        if witness is not None:
            _same_store(pack.store, witness)
            stack.enter_context(_watching_the_node(notice))
        return here.get_node_id(), run_pack(pack, limited=True, gpus=gpus, notice=notice)


@functools.cache
def _same_store(store: str, witness: str) -> None:
    """Refuse a store that is not the driver's: this node may have joined after the others."""
    if not seen(locate(store), witness):
        node = f"node {socket.gethostname()}, which joined later"
        raise StoreError(f"{node}: {joining.another_store(store, 'is not there')}")


@contextmanager
def _watching_the_node(notice: Notice) -> Iterator[None]:
    """Give notice once this node is to be drained (spot preemption, `ray drain-node`)."""
    from ray import get_runtime_context
    from ray._private.state import state

    here, over = get_runtime_context().get_node_id(), threading.Event()

    def watch() -> None:
        with suppress(Exception):  # advisory, and not of Ray's public interface
            while not over.wait(LOOK_SECONDS):
                if here in state.get_draining_nodes():
                    notice.give("its node is drained")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _attest(store: str, witness: str) -> tuple[str | None, str, str, str]:
    """What is wrong with this node if anything, the answer it wrote, its Ray's mode and address."""
    import ray

    about = os.environ.get("RAY_AUTH_MODE", ""), str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    try:
        importlib.import_module("orchestrator.worker")
        return (None, answer(locate(store), witness), *about)
    except ImportError as error:
        return (f"cannot run a task: {error}", "", *about)
    except StoreError as error:
        return (joining.another_store(store, str(error)), "", *about)


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


# ---------------------------------------------------------------- Ray's start


def _import_ray(*, local: bool) -> ModuleType:
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
    os.environ.update(_WORKER_ENVIRONMENT)
    import ray

    joining.require_recent(ray.__version__)
    return ray


@contextmanager
def _said_to_workers(name: str, value: Path) -> Iterator[None]:
    """An environment variable of the processes that are begun meanwhile, not of this one after."""
    before = os.environ.get(name)
    os.environ[name] = str(value)
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _resolve(said: str) -> Address:
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


def _join(address: Address) -> dict[str, Any]:
    """Ship our packages, so that nodes run the driver's code."""
    joined: dict[str, Any] = {
        "address": str(address),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:  # a submitted job: its files are shipped
        return joined
    modules = [str(SOURCE / name) for name in ("tasks", "orchestrator", "analysis")]
    return {**joined, "runtime_env": {"py_modules": modules, "env_vars": _WORKER_ENVIRONMENT}}


_WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
