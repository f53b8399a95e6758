"""The executor on the driver's side: send packs to Ray, and collect them."""

import atexit
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.executors.address import another_store, answers, unguarded, unreached
from orchestrator.executors.gpu_share import Share, gpu_share
from orchestrator.executors.on_ray import local
from orchestrator.executors.on_ray.connect import (
    NODE_ID,
    SOURCE,
    cluster_options,
    environment_of_workers,
    import_ray,
    resolve,
)
from orchestrator.executors.on_ray.node import LOOK_SECONDS, check_node, run_pack
from orchestrator.executors.on_ray.process_group import GroupReservation, why_gone
from orchestrator.executors.on_ray.reports import Reports
from orchestrator.node.pack import Arrival, Pack, Returned, WorkerLost
from orchestrator.scheduling.failures import Failure
from tasks.values import user_code
from tombola.errors import ClusterLost, ExitCode, StoreError, TombolaError
from tombola.store.location import locate
from tombola.store.shared_check import SharedCheck

CHECK_SECONDS = 180.0
"""Seconds for a node to unpack the code, import torch and read a file."""


GONE_SECONDS = 30.0
"""Seconds that the head of a cluster may be silent. After 60 s, Ray would end this process
without a message."""


def _end() -> None:
    """End this process, as Ray would block at exit without a head."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.CLUSTER_LOST)


class RayExecutor:
    """Run packs on a Ray cluster: a local one by default, else the cluster at `address`.

    Parameters
    ----------
    address
        HOST:PORT, `ray://…` or `auto` for a running cluster; None starts one on this machine, on
        loopback, without a dashboard.
    num_cpus, num_gpus
        Size of the local cluster; None uses the whole machine.
    cpus_per_task, gpus_per_task
        Share of a node that a pack holds. By default one GPU if there are any, or a part of one
        once a canary has measured the memory of a task. A pack without GPUs sees none. With
        several GPUs, each training is divided among them.
    across_nodes
        Whether the GPUs of a training may be on different nodes. Its processes then listen on
        the network of the nodes, where anyone can connect.

    Raises
    ------
    TombolaError
        When the cluster does not answer, has another version of Ray, needs a token that is
        missing, or has no room for a task. At the first pack: when a node cannot run it, or has
        another store at this path.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        num_cpus: int | None = None,
        num_gpus: int | None = None,
        cpus_per_task: float = 1.0,
        gpus_per_task: float | None = None,
        across_nodes: bool = False,
    ) -> None:
        share = Share(cpus_per_task, gpus_per_task or 0.0, across_nodes)
        self._ray = ray = import_ray(local=address is None)
        self._where = resolve(address) if address else None
        self._may_share = False
        self._avoided: frozenset[str] = frozenset()
        self._running: dict[Any, Pack] = {}
        self._groups: dict[Any, GroupReservation] = {}
        self._reports = Reports(self._await_head)
        self._lost = False
        self._checks: dict[str, SharedCheck] = {}
        self._cancelled: set[Any] = set()
        self.draining = False
        self._token = None if self._where else local.Token()
        try:
            # Workers import from the folder in which Ray starts: the folder of this project, so
            # that no other package `tasks` is found. User code is in the current folder.
            with (
                environment_of_workers(user_code.FOLDER, Path.cwd()),
                chdir(SOURCE),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                ray.init(
                    **(
                        cluster_options(self._where)
                        if self._where
                        else local.options(num_cpus, num_gpus)
                    )
                )
        except (ray.exceptions.RayError, ImportError, OSError, RuntimeError, ValueError) as error:
            if self._token:
                self._token.withdraw()
            raise TombolaError(unreached(self._where, error)) from None
        if gpus_per_task is None:
            self._may_share = bool(ray.cluster_resources().get("GPU"))
            share = replace(share, gpus=float(self._may_share))
        self._local = None if self._where else local.LocalRay()
        self._share, self._looked = share, time.monotonic()
        self.slots = share.slots(nodes := ray.nodes())
        if not self.slots:
            self.close()
            raise TombolaError(share.no_room(nodes))
        self._largest = max(node["Resources"].get("CPU", 0.0) for node in nodes)
        self.widest = share.widest(self._largest)
        self._run = ray.remote(max_retries=0)(run_pack)

    def submit(self, pack: Pack) -> None:
        """Send a pack to Ray; before the first pack, check the store on each node of a cluster."""
        if self._where and pack.store not in self._checks:
            self._checks[pack.store] = check = SharedCheck(locate(pack.store))
            self._check_nodes(check, pack.store)
        name = self._checks[pack.store].name if self._where else None
        group, trains = None, any(job.kind == "run" for job in pack.jobs)
        if self._share.members > 1 and trains:  # other tasks use one GPU
            group = GroupReservation.reserve(self._share, self._avoided)
            options = group.options(0)
        else:
            wide = self._share.wide(pack.width, self._largest)
            options = {**wide, **self._nodes(pack.near)}
        reference = self._run.options(**options).remote(pack, name, group)
        self._running[reference] = pack
        if group:
            self._groups[reference] = group

    def _nodes(self, near: str) -> dict[str, Any]:
        """Return options that avoid nodes, and prefer the node `near` unless it is busy.

        A fallback is used at once; a soft NodeAffinitySchedulingStrategy would wait.
        """
        others = {NODE_ID: f"!in({','.join(sorted(self._avoided))})"} if self._avoided else {}
        if not near or near in self._avoided:
            return {"label_selector": others} if others else {}
        fallback = [{"label_selector": others}]
        return {"label_selector": {NODE_ID: near}, "fallback_strategy": fallback}

    def fit(self, memory: float) -> None:
        """Let packs share a GPU, if each takes this fraction of its memory; 0: unknown.

        A share that the user has set is not changed.
        """
        if memory and self._may_share:
            self._share = replace(self._share, gpus=gpu_share(memory))
            self.slots = max(1, self._share.slots(self._ray.nodes()))
            self.widest = self._share.widest(self._largest)

    def avoid(self, nodes: frozenset[str]) -> bool:
        """Send no more packs to these nodes; return False if no other node has room."""
        others = [node for node in self._ray.nodes() if node["NodeID"] not in nodes]
        if nodes and not self._share.slots(others):
            return False
        self._avoided = nodes
        return True

    def wait(self, seconds: float) -> list[Arrival]:
        """Return packs that came back, or whose worker died.

        Raises
        ------
        ClusterLost
            When a process that Ray needs is dead.
        """
        if self._local:
            self._local.check()
        if self._where and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._await_head()
            self.slots = max(1, self._share.slots(self._ray.nodes()))
        if not self._running:
            return []
        waiting = list(self._running)
        if self.draining:
            for reference in set(waiting) - self._cancelled:
                self._cancelled.add(reference)
                self._ray.cancel(reference, recursive=False)
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [self._arrival(reference) for reference in ready]

    def trainings(self) -> Mapping[str, int]:
        """Return the last reported iteration of running trainings, by key."""
        packs = self._running.values()
        trained = (pack.identity for pack in packs if any(job.kind == "run" for job in pack.jobs))
        return self._reports.listen(trained)

    def on_report(self, look: Callable[[], None]) -> None:
        """Do nothing: workers are other processes, and `wait` returns often enough."""

    def drain(self) -> None:
        """Ask running packs to stop at a checkpoint; safe in a signal handler."""
        self.draining = True

    def close(self) -> None:
        """Stop the workers and leave the cluster; a local cluster ends."""
        self._running.clear()
        for check in self._checks.values():
            check.close()
        if self._lost:
            atexit.register(_end)
        else:
            self._ray.shutdown()
        if self._local and self._token:
            self._local.close()
            self._token.withdraw()

    def _arrival(self, reference: Any) -> Arrival:
        pack, group = self._running.pop(reference), self._groups.pop(reference, None)
        self._reports.forget(pack.identity)
        try:
            node, outcomes = self._ray.get(reference)
            return Returned(pack, tuple(outcomes), node)
        except self._ray.exceptions.TaskCancelledError:
            return Returned(pack)  # the pack had not begun
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, StoreError):
                raise TombolaError(str(error.cause)) from None
            return WorkerLost(pack, f"the worker could not run its pack: {error.cause}")
        except self._ray.exceptions.RayError as error:
            return WorkerLost(pack, str(error).strip().splitlines()[0], self._why(error, group))
        finally:
            if group:
                group.release()

    def _why(self, error: Exception, group: GroupReservation | None) -> Failure:
        """Return why a worker, or a process of its group, was lost.

        Raises
        ------
        ClusterLost
            When no node is left.
        """
        why = why_gone(error)
        if why is Failure.OUT_OF_MEMORY:
            return why
        if self._local:
            self._local.check()
        self._await_head()
        if not any(node["Alive"] for node in self._ray.nodes()):
            raise ClusterLost("the Ray cluster has no node left")
        return Failure.NODE_LOST if group and group.has_lost(group.nodes()) else why

    def _await_head(self) -> None:
        """Wait until the head of a cluster answers; without it each call of Ray blocks for ever.

        Raises
        ------
        ClusterLost
            When it is silent for GONE_SECONDS.
        """
        began = time.monotonic()
        while self._where and not answers(self._where):
            if time.monotonic() - began >= GONE_SECONDS:
                self._lost = True
                silent = f"has not answered for {GONE_SECONDS:.0f} s"
                raise ClusterLost(f"the Ray cluster at {self._where} {silent}")
            time.sleep(1)

    def _check_nodes(self, check: SharedCheck, store: str) -> None:
        """Check, by a task on each node that has room for a pack, that it can run packs."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task, checks = self._ray.remote(check_node), {}
        for node in self._ray.nodes():
            if self._share.parts(node):
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                on_it = task.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
                name = f"node {node['NodeManagerHostname']}"
                checks[on_it.remote(store, check.name)] = name
        self._ray.wait(list(checks), num_returns=len(checks), timeout=CHECK_SECONDS)
        for reference, node in checks.items():
            try:
                problem, written, mode, host = self._ray.get(reference, timeout=0)
            except self._ray.exceptions.RayError as error:
                lines = str(getattr(error, "cause", None) or error).strip().splitlines()
                reason = lines[-1] if lines else type(error).__name__
                raise TombolaError(f"{node} cannot run a task: {reason}") from None
            if problem is None and not check.confirm(written):
                problem = another_store(store, "is another one there")
            if problem is None:
                problem = unguarded(mode, host)
            if problem is not None:
                raise TombolaError(f"{node}: {problem}")
