"""Kill processes of a cluster, for `tombola chaos`."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

from orchestrator.executors.on_ray.connect import NODE_ID, cluster_options, import_ray, resolve


def strike(address: str, victim: str, dice: random.Random) -> bool:
    """Kill a busy worker or a node other than the head; return False if there is none.

    A task on the node does it: it kills another process that runs a pack, or its parent, the
    raylet.
    """
    ray = import_ray(local=False)
    if not ray.is_initialized():
        ray.init(**cluster_options(resolve(address)))
    head = "node:__internal_head__"
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if victim == "node":
        nodes = [node for node in nodes if head not in node["Resources"]]
    dice.shuffle(nodes)
    for node in nodes:
        on_it = {"num_cpus": 0, "max_retries": 0, "label_selector": {NODE_ID: node["NodeID"]}}
        try:
            if ray.get(ray.remote(**on_it)(_kill).remote(victim), timeout=30):
                return True
        except ray.exceptions.RayError:
            return True  # the task died with its node
    return False


def _kill(victim: str) -> bool:
    if victim == "node":
        os.kill(os.getppid(), signal.SIGKILL)
        return True
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cmdline").read_bytes().startswith(b"ray::run_pack"):
                os.kill(int(entry.name), signal.SIGKILL)
                return True
    return False
