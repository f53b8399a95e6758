"""A sweep as a job of a Ray cluster: what is shipped, and the command that the job is.

The job runs `tombola run` on the cluster and outlives the terminal that submitted it.
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

PACKAGES = ("tasks", "orchestrator", "analysis")
SOURCE = Path(orchestrator.__file__).parents[1]


@dataclass(frozen=True)
class JobCommand:
    """What to run in the shipped folder, under which name, with what environment."""

    identity: str
    entrypoint: str
    environment: dict[str, str]


def command(asked: Study, store: str, options: list[str], grace: float) -> JobCommand:
    """The job of a sweep: `tombola run` on the cluster's own address.

    Raises
    ------
    TombolaError
        When the store is neither a URL nor named from the root, as all of the cluster sees it.
    """
    if "://" not in store and not Path(store).is_absolute():
        raise TombolaError(
            f"--store {store}: name it from the root (/…), as each node of the cluster sees it"
        )
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    words = ["run", f"{asked.name}.yaml", "--store", store, "--address", "auto"]
    words += ["--grace", f"{grace:g}", *options]
    return JobCommand(
        identity=f"{asked.name}-{now}-{secrets.token_hex(3)}",
        entrypoint=f"python -m tombola.cli {shlex.join(words)}",
        # `ray job stop` kills what has not ended by then.
        environment={"RAY_JOB_STOP_WAIT_TIME_S": f"{grace + 15:g}"},
    )


@contextmanager
def shipped(asked: Study) -> Iterator[Path]:
    """A folder with our packages, the sweep (what it extends merged in) and its own modules."""
    with tempfile.TemporaryDirectory(prefix="tombola-") as name:
        folder = Path(name)
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(SOURCE / package, folder / package, ignore=ignored)
        text = yaml.safe_dump(asked.source.data, sort_keys=False, allow_unicode=True)
        (folder / f"{asked.name}.yaml").write_text(text, encoding="utf-8")
        for users in _own_names(asked.source.data):
            for place, path in user_code.shipped(users):
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / place)
        yield folder


def _own_names(value: Any) -> Iterator[str]:
    """Functions that a sweep names as `module:function`."""
    if isinstance(value, dict):
        for pair in value.items():
            for one in pair:
                yield from _own_names(one)
    elif isinstance(value, list):
        for one in value:
            yield from _own_names(one)
    elif isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        try:
            user_code.file(value)
        except ValueError:
            return  # a text that only looks like one
        yield value
