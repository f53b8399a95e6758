"""Print what `tombola lint` and `tombola verify` find."""

from collections.abc import Sequence
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tombola.store import verify
from tombola.terminal import styled


class Finding(Protocol):
    """A point of the reporting checklist, as far as it is needed here."""

    @property
    def rule(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def evidence(self) -> str: ...


_COLOURS = {"ok": "green", "warning": "yellow", "not answered": "dim"}


def print_checklist(console: Console, findings: Sequence[Finding]) -> None:
    """Each rule, whether it is kept, and why."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("rule", "outcome", "evidence"):
        table.add_column(heading, overflow="fold")
    for found in findings:
        outcome = styled((found.outcome, _COLOURS[found.outcome]))
        table.add_row(found.rule, outcome, found.evidence)
    console.print(table)
    ok = sum(found.outcome == "ok" for found in findings)
    console.print(f"{ok} of {len(findings)} ok")


def print_findings(console: Console, findings: Sequence[verify.Finding]) -> None:
    """What verify found, a line each."""
    for finding in findings:
        console.print(f"{finding.path}: {finding.problem}", soft_wrap=True)
