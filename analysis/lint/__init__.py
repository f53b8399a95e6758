"""Reporting checklist of the field, answered for a sweep, with the evidence in words.

The checklist is that of Blalock et al. 2020, "What is the State of Neural Network Pruning?"
(ShrinkBench), with a few points that hold for any comparison of trained networks. Only results in
the store count, so most points of a sweep that has not run are not answered.
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
    """One point of the checklist: its answer, and a sentence with the evidence."""

    rule: str
    answer: Answer
    evidence: str

    @property
    def outcome(self) -> Outcome:
        """Outcome of the check: `ok` for yes, `warning` for partly and no."""
        if self.answer == "not answered":
            return "not answered"
        return "ok" if self.answer == "yes" else "warning"


def lint(connection: duckdb.DuckDBPyConnection, sweep: str) -> tuple[Finding, ...]:
    """Return the finding of every rule for a sweep, in the order of RULES.

    Raises
    ------
    StoreError
        When the store has no such sweep.
    """
    figures_of(connection, sweep)
    return judge(read(connection, sweep))


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Return the findings from the rows of a sweep."""
    return tuple(Finding(rule, *check(evidence)) for rule, check in RULES.items())
