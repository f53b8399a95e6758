"""Run packs as Ray tasks, on this machine or a cluster. The only package that imports Ray.

Ray places packs on nodes and reuses worker processes, so that each imports torch once. Retries,
order and packing are decided by the scheduler (orchestrator/scheduling).
"""

from orchestrator.executors.on_ray.chaos import strike
from orchestrator.executors.on_ray.executor import RayExecutor
from orchestrator.executors.on_ray.jobs import submit_job

__all__ = ["RayExecutor", "strike", "submit_job"]
