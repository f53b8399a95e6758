"""Code that runs on a node: run a pack, watch for draining, and check the store."""

import functools
import importlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from orchestrator.executors import address
from orchestrator.executors.on_ray.process_group import GroupReservation, Members
from orchestrator.executors.on_ray.reports import telling
from orchestrator.node.pack import Pack
from orchestrator.node.preemption import Notice, heeding
from tombola.errors import StoreError
from tombola.store.location import locate
from tombola.store.shared_check import answer, sees

LOOK_SECONDS = 3.0
"""Seconds between two looks at the nodes of a cluster: new nodes, nodes to be drained."""


def run_pack(
    pack: Pack, check: str | None, group: GroupReservation | None
) -> tuple[str, list[Any]]:
    """Run a pack, its trainings divided among a process group; return the node and outcomes.

    The node is "" if the group is on several nodes: it is unknown which one caused a failure.
    """
    from ray import get_runtime_context

    from orchestrator.node import worker

    notice, here = Notice(), get_runtime_context().get_node_id()
    others = Members(group) if group else None
    reasons = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "the launch is stopping"}
    with ExitStack() as stack:
        stack.enter_context(heeding(notice, reasons))  # ray.cancel arrives as the second
        nodes = others.nodes if others else frozenset({here})
        if check is not None:
            _same_store(pack.store, check)
            stack.enter_context(_watching(nodes, notice))
        node = here if len(nodes) == 1 else ""
        return node, worker.run_pack(
            pack, limited=True, others=others, notice=notice, report=telling(pack.identity)
        )


@functools.cache
def _same_store(store: str, check: str) -> None:
    """Refuse a store that is not the driver's, as this node may have joined later."""
    if not sees(locate(store), check):
        node = f"node {socket.gethostname()}, which joined later"
        raise StoreError(f"{node}: {address.another_store(store, 'is not there')}")


@contextmanager
def _watching(nodes: frozenset[str], notice: Notice) -> Iterator[None]:
    """Give notice when one of these nodes is to be drained (spot machine, `ray drain-node`)."""
    from ray._private.state import state

    over = threading.Event()

    def watch() -> None:
        with suppress(Exception):  # advisory, and not a public interface of Ray
            while not over.wait(LOOK_SECONDS):
                if nodes.intersection(state.get_draining_nodes()):
                    notice.give("its node is drained")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def check_node(store: str, check: str) -> tuple[str | None, str, str, str]:
    """Return a problem of this node or None, its answer file, and Ray's auth mode and address."""
    import ray

    about = os.environ.get("RAY_AUTH_MODE", ""), str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    try:
        importlib.import_module("orchestrator.node.worker")
        return (None, answer(locate(store), check), *about)
    except ImportError as error:
        return (f"cannot run a task: {error}", "", *about)
    except StoreError as error:
        return (address.another_store(store, str(error)), "", *about)
