"""What a user can get wrong or meet: each error is one sentence that says the way out."""

from enum import IntEnum
from pathlib import Path
from typing import Self

from tombola.text import shortened

MOST_PROBLEMS = 50
"""Mistakes in a sweep file that are told at once."""


class ExitCode(IntEnum):
    """How a command ended, for scripts."""

    DONE = 0
    TASKS_FAILED = 1
    BAD_INPUT = 2
    CLUSTER_LOST = 3
    INTERRUPTED = 130


class TombolaError(Exception):
    """An error whose message is meant for the user, without a traceback."""

    exit_code = ExitCode.BAD_INPUT


class ClusterLost(TombolaError):
    """The machines that ran a launch are gone; launched again elsewhere, or later, it goes on."""

    exit_code = ExitCode.CLUSTER_LOST

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; what is finished is kept: give the same command to go on")


class StoreError(TombolaError):
    """The store cannot be read or written."""


class DamagedFile(StoreError):
    """A file of the store, at `path`, is not what was written."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path = path

    @classmethod
    def altered(cls, path: Path, reason: object) -> Self:
        """The error for a file that cannot be what was written, for this reason."""
        first = next(iter(str(reason).strip().splitlines()), "") or type(reason).__name__
        cure = "`tombola verify --repair` removes what is damaged"
        return cls(path, f"is truncated or altered ({first[:_LONGEST]}); {cure}")


_LONGEST = 300
"""Characters of somebody else's reason that a line repeats."""


class DeterminismAlarm(TombolaError):
    """The same work, done twice, came out differently."""


class SweepError(TombolaError):
    """A sweep file asks for something impossible; `problems` has a line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        shown = [shortened(problem) for problem in problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            shown.append(f"and {len(problems) - MOST_PROBLEMS:,} mistakes more")
        super().__init__("\n".join(shown))
        self.problems = shown
