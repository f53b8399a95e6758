"""What runs on a node: a pack, beside a watch for the node's end, and the proof of its store."""

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
"""Between looks at the nodes of a cluster: which joined, which are to be drained."""


def run_pack(
    pack: Pack, check: str | None, group: GroupReservation | None
) -> tuple[str, list[Any]]:
    """The node, and how each job of the pack ended; its trainings are divided among a group.

    No node where the group is on several: nobody knows which of them a failure is to be laid to.
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
    """Refuse a store that is not the driver's: this node may have joined after the others."""
    if not sees(locate(store), check):
        node = f"node {socket.gethostname()}, which joined later"
        raise StoreError(f"{node}: {address.another_store(store, 'is not there')}")


@contextmanager
def _watching(nodes: frozenset[str], notice: Notice) -> Iterator[None]:
    """Give notice once one of these nodes is to be drained (spot preemption, `ray drain-node`)."""
    from ray._private.state import state

    over = threading.Event()

    def watch() -> None:
        with suppress(Exception):  # advisory, and not of Ray's public interface
            while not over.wait(LOOK_SECONDS):
                if nodes.intersection(state.get_draining_nodes()):
                    notice.give("its node is drained")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def check_node(store: str, check: str) -> tuple[str | None, str, str, str]:
    """What is wrong with this node if anything, the answer it wrote, its Ray's mode and address."""
    import ray

    about = os.environ.get("RAY_AUTH_MODE", ""), str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    try:
        importlib.import_module("orchestrator.node.worker")
        return (None, answer(locate(store), check), *about)
    except ImportError as error:
        return (f"cannot run a task: {error}", "", *about)
    except StoreError as error:
        return (address.another_store(store, str(error)), "", *about)
