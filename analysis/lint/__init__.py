"""What a sweep can answer of the field's reporting checklist, with the evidence in words.

The checklist is that of Blalock et al. 2020, "What is the State of Neural Network Pruning?"
(ShrinkBench), with what any comparison of trained networks should show beside it. Only what
is in the store counts, so a sweep that has not run yet leaves most of it unanswered.
"""

from dataclasses import dataclass
from typing import Literal

import duckdb

from analysis.database.connection import figures_of
from analysis.lint.evidence import Evidence, read
from analysis.lint.rules import RULES, Answer

__all__ = ["RULES", "Evidence", "Finding", "judge", "lint"]

Outcome = Literal["ok", "warning", "not answered"]


@dataclass(frozen=True)
class Finding:
    """One point of the checklist: its answer, and a sentence that says why."""

    rule: str
    answer: Answer
    evidence: str

    @property
    def outcome(self) -> Outcome:
        """The answer as a check has it: everything but yes is a warning, where it can be told."""
        if self.answer == "not answered":
            return "not answered"
        return "ok" if self.answer == "yes" else "warning"


def lint(connection: duckdb.DuckDBPyConnection, sweep: str) -> tuple[Finding, ...]:
    """Every rule's finding for a sweep, in the order of RULES.

    Raises
    ------
    StoreError
        When the store does not know the sweep.
    """
    figures_of(connection, sweep)
    return judge(read(connection, sweep))


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """The same from rows alone."""
    return tuple(Finding(rule, *check(evidence)) for rule, check in RULES.items())
