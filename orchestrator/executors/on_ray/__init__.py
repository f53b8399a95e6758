"""Packs as Ray tasks, on this machine or a cluster. The only package that imports Ray.

Ray places packs and reuses worker processes, so torch is imported once in each; retries,
order and packing are ours (schedule.py).
"""

from orchestrator.executors.on_ray.chaos import strike
from orchestrator.executors.on_ray.executor import RayExecutor
from orchestrator.executors.on_ray.jobs import submit_job

__all__ = ["RayExecutor", "strike", "submit_job"]
