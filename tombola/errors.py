"""Errors for users, and the exit codes of the command line.

Each message is one sentence: what is wrong, where, and what would be right.

    TombolaError
    ├── SweepError           a sweep file asks for something impossible
    ├── StoreError           a store cannot be read or written
    │   └── DamagedFile      a file in it is not what was written
    ├── AnalysisError        a question to a store has no answer
    │   ├── QueryError       SQL
    │   ├── FigureError      a figure
    │   │   └── NotAllDrawn  one of several figures
    │   ├── TableError       a table or comparison
    │   ├── StatisticsError  a statistic
    │   ├── PublishedError   published numbers
    │   └── ExploreError     the page of `tombola explore`
    ├── ClusterLost          the machines of a launch are lost
    └── DeterminismAlarm     the same work gave different results
    TaskTimeout              only inside a worker: a task took too long
    └── TaskStalled          a task made no progress
"""

from enum import IntEnum
from pathlib import Path
from typing import Self

from tombola.text import shortened

MOST_PROBLEMS = 50
"""The most mistakes of a sweep file that are printed."""


class ExitCode(IntEnum):
    """Exit codes of the commands, for scripts."""

    DONE = 0
    TASKS_FAILED = 1
    BAD_INPUT = 2
    CLUSTER_LOST = 3
    INTERRUPTED = 130


class TombolaError(Exception):
    """An error whose message is meant for the user, without a traceback."""

    exit_code = ExitCode.BAD_INPUT


class ClusterLost(TombolaError):
    """The machines of a launch are lost. The same command continues, here or elsewhere."""

    exit_code = ExitCode.CLUSTER_LOST

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; finished results are stored: run the same command again")


class StoreError(TombolaError):
    """The store cannot be read or written."""


class DamagedFile(StoreError):
    """A file of the store, at `path`, is damaged."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path = path

    @classmethod
    def altered(cls, path: Path, reason: object) -> Self:
        """Return the error for a file whose content is damaged, with the reason."""
        first = next(iter(str(reason).strip().splitlines()), "") or type(reason).__name__
        return cls(path, f"is damaged ({first[:_LONGEST]}); `tombola verify --repair` removes it")


_LONGEST = 300
"""The most characters of a library's reason that a message repeats."""


class DeterminismAlarm(TombolaError):
    """The same work, done twice, gave different results."""


class SweepError(TombolaError):
    """A sweep file asks for something impossible; `problems` has a line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        shown = [shortened(problem) for problem in problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            shown.append(f"and {len(problems) - MOST_PROBLEMS:,} more mistakes")
        super().__init__("\n".join(shown))
        self.problems = shown


class AnalysisError(TombolaError):
    """A query, figure, table or statistic that has no answer."""


class QueryError(AnalysisError):
    """A query that is not allowed, or that the database cannot answer."""


class FigureError(AnalysisError):
    """A figure that does not exist, or has nothing to show."""


class NotAllDrawn(FigureError):
    """Some figures cannot be drawn. `drawn` are the files of the others."""

    def __init__(self, problems: list[str], drawn: list[Path]) -> None:
        super().__init__("; ".join(problems))
        self.problems, self.drawn = problems, drawn


class StatisticsError(AnalysisError):
    """Numbers for which a statistic is not defined."""


class TableError(AnalysisError):
    """A table or comparison that has nothing to show."""


class PublishedError(AnalysisError):
    """Published numbers that do not exist, or cannot be used in this way."""


class ExploreError(AnalysisError):
    """A page that cannot be served."""


class TaskTimeout(Exception):
    """A task took longer than its limit; the traceback shows where it was."""


class TaskStalled(TaskTimeout):
    """A loop of a task made no progress; the traceback shows where it was."""
