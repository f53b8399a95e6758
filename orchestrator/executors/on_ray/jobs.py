"""Start a command as a job of a Ray cluster, which continues without this process."""

import logging
import time
from pathlib import Path

from orchestrator.executors.address import dashboard, probe, require_token, unreached
from orchestrator.executors.on_ray.connect import WORKER_ENVIRONMENT, import_ray
from orchestrator.executors.on_ray.node import LOOK_SECONDS
from tombola.errors import TombolaError

AGENT_SECONDS = 60.0
"""Seconds that a new head may take until it can start jobs."""


def submit_job(
    url: str, identity: str, entrypoint: str, folder: Path, environment: dict[str, str]
) -> None:
    """Start a command on a cluster through its dashboard at `url`, in a copy of `folder`.

    Raises
    ------
    TombolaError
        When the dashboard does not answer, needs a token that is missing, or refuses the job.
    """
    address = dashboard(url)
    ray = import_ray(local=False)
    require_token(address)
    probe(address, grpc=False)
    from ray.job_submission import JobSubmissionClient

    try:
        logging.disable(logging.INFO)  # Ray logs each file that it packs
        environment = {**WORKER_ENVIRONMENT, **environment}
        client = JobSubmissionClient(url)
        runtime = {"working_dir": str(folder), "env_vars": environment}
        until = time.monotonic() + AGENT_SECONDS
        while True:
            try:
                client.submit_job(
                    entrypoint=entrypoint, submission_id=identity, runtime_env=runtime
                )
                return
            except RuntimeError as error:  # a new head has no agent yet
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(LOOK_SECONDS)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        raise TombolaError(unreached(address, error)) from None
