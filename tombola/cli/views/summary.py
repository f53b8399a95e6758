"""Print the end of a launch: mean accuracies, failures, and reads of the node cache."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from orchestrator.running.launch import Failed, Progress
from orchestrator.scheduling.failures import Failure
from tombola.cli.views.plan import describe
from tombola.cli.views.show import SHORT_KEY, Connection
from tombola.terminal import styled


class Summary(Protocol):
    """The mean accuracies of a sweep (analysis.selection.summary), as this table needs them."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def headings(self) -> tuple[str, ...]: ...
    @property
    def densities(self) -> tuple[float, ...]: ...
    @property
    def lines(self) -> Mapping[tuple[str, ...], Mapping[float, float | None]]: ...
    @property
    def digits(self) -> int: ...


def print_summary(console: Console, sweep: str, summary: Summary) -> None:
    """Print mean test accuracies: a line for each setting, a column for each density."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in summary.headings:
        table.add_column(heading, overflow="fold")
    for density in summary.densities:
        table.add_column(f"{100 * density:.3g} %", justify="right", no_wrap=True)
    for names, line in summary.lines.items():
        table.add_row(*names, *(_cell(line, d, summary.digits) for d in summary.densities))
    console.print(f"{sweep}: {summary.done:,} of {summary.total:,} trials done")
    console.print("Test accuracy (%), mean over replicates, by weights remaining")
    console.print(table)


def _cell(line: Mapping[float, float | None], density: float, digits: int) -> str:
    """Return a mean as text; a dash if no trial is done, nothing if there is no trial."""
    if density not in line:
        return ""
    mean = line[density]
    return "-" if mean is None else f"{mean:.{digits}f}"


_READS = "SELECT sum(node_reads), sum(store_reads) FROM tasks WHERE launch = ?"


def print_reads(console: Console, connection: Connection, launch: str) -> None:
    """Print the reads of a launch from the node cache and the store; nothing without a cache."""
    near, far = connection.execute(_READS, [launch]).fetchone()
    if near is not None:
        console.print(
            f"weights and masks: {near:,} read from the node cache, {far:,} from the store",
        )


def print_failures(console: Console, failures: Sequence[Failed], blocked: int) -> None:
    """Print failures, grouped by message, with one traceback each."""
    groups: dict[tuple[Failure, str], list[Failed]] = {}
    for failure in failures:
        groups.setdefault((failure.why, failure.message), []).append(failure)
    for (why, message), members in groups.items():
        console.print(
            styled(("failed", "red"), f"  {len(members)} x {why.word}: {message}"),
            soft_wrap=True,
        )
        console.print(
            f"        e.g. {members[0].task.key[:SHORT_KEY]} {describe(members[0].task.value)}"
        )
        if members[0].traceback and why is Failure.RAISED:
            console.print(members[0].traceback.rstrip(), style="dim")
    if blocked:
        console.print(styled(("blocked", "yellow"), f" {blocked} tasks need a task that failed"))


def print_given_up(console: Console, progress: Progress) -> None:
    """Print cancelled tasks, and nodes that were fenced off."""
    for node in progress.fenced:
        console.print(
            styled(
                ("fenced off", "red"),
                f"  node {node}: different tasks failed there one after another, and succeeded "
                "elsewhere",
            ),
            soft_wrap=True,
        )
    if progress.cancelled:
        console.print(f"{len(progress.cancelled):,} tasks were cancelled")
