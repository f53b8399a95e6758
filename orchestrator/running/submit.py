"""Prepare a sweep as a job of a Ray cluster: its command, and the folder to ship.

The job runs `tombola run` on the cluster. It continues when the terminal is closed.
"""

import re
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

import orchestrator
from orchestrator.running.study import Study
from tasks.values import user_code
from tombola.errors import TombolaError

PACKAGES = ("tombola", "tasks", "orchestrator", "analysis")
SOURCE = Path(orchestrator.__file__).parents[1]


@dataclass(frozen=True)
class JobCommand:
    """A command to run in the shipped folder, with the name of the job and its environment."""

    identity: str
    entrypoint: str
    environment: dict[str, str]


def command(study: Study, store: str, options: list[str], grace: float) -> JobCommand:
    """Build the job of a sweep: `tombola run` with the address of the cluster.

    Raises
    ------
    TombolaError
        When the store is neither a URL nor an absolute path.
    """
    if "://" not in store and not Path(store).is_absolute():
        raise TombolaError(
            f"--store {store}: give an absolute path that each node of the cluster sees"
        )
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    words = ["run", f"{study.name}.yaml", "--store", store, "--address", "auto"]
    words += ["--grace", f"{grace:g}", *options]
    return JobCommand(
        identity=f"{study.name}-{now}-{secrets.token_hex(3)}",
        entrypoint=f"python -m tombola.cli {shlex.join(words)}",
        # `ray job stop` kills the job after this time.
        environment={"RAY_JOB_STOP_WAIT_TIME_S": f"{grace + 15:g}"},
    )


@contextmanager
def shipped(study: Study) -> Iterator[Path]:
    """Make a temporary folder with our packages, the whole sweep file, and user modules."""
    with tempfile.TemporaryDirectory(prefix="tombola-") as name:
        folder = Path(name)
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(SOURCE / package, folder / package, ignore=ignored)
        text = yaml.safe_dump(study.source.data, sort_keys=False, allow_unicode=True)
        (folder / f"{study.name}.yaml").write_text(text, encoding="utf-8")
        for users in _own_names(study.source.data):
            for place, path in user_code.shipped(users):
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / place)
        yield folder


def _own_names(value: Any) -> Iterator[str]:
    """Yield the functions that a sweep names as `module:function`."""
    if isinstance(value, dict):
        for pair in value.items():
            for part in pair:
                yield from _own_names(part)
    elif isinstance(value, list):
        for part in value:
            yield from _own_names(part)
    elif isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        try:
            user_code.file(value)
        except ValueError:
            return  # a text that only looks like a function
        yield value
