"""Print what `tombola lint` and `tombola verify` find."""

from collections.abc import Sequence
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tombola.store import verify
from tombola.terminal import styled


class Finding(Protocol):
    """A rule of the reporting checklist and its outcome (analysis.lint)."""

    @property
    def rule(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def evidence(self) -> str: ...


_COLOURS = {"ok": "green", "warning": "yellow", "not answered": "dim"}


def print_checklist(console: Console, findings: Sequence[Finding]) -> None:
    """Print each rule, its outcome, and the evidence."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("rule", "outcome", "evidence"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        outcome = styled((finding.outcome, _COLOURS[finding.outcome]))
        table.add_row(finding.rule, outcome, finding.evidence)
    console.print(table)
    ok = sum(finding.outcome == "ok" for finding in findings)
    console.print(f"{ok} of {len(findings)} ok")


def print_findings(console: Console, findings: Sequence[verify.Finding]) -> None:
    """Print the findings of verify, a line each."""
    for finding in findings:
        console.print(f"{finding.path}: {finding.problem}", soft_wrap=True)
