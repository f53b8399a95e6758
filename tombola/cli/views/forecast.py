"""Print simulated launches: the schedule, other numbers of workers, and a replay."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from orchestrator.planning.cost import Costs
from orchestrator.planning.planner import Task
from orchestrator.running.progress import duration
from orchestrator.running.replay import Replay
from orchestrator.scheduling.graph import Graph
from orchestrator.scheduling.simulate import Simulated, simulate
from tasks.values.measurements import MEASUREMENTS
from tombola.cli.views.plan import describe

SIZES = tuple(4**n for n in range(7))
"""Workers that `--what-if` tries: 1 to 4096."""

_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 60


def print_schedule(
    console: Console, found: Simulated, costs: Costs, longest: Sequence[Task]
) -> None:
    """Print the makespan and its lower bound, the utilisation, and the critical path."""
    workers = found.workers
    kind = what(costs, workers)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="bold")
    table.add_row("simulated", f"{duration(found.makespan)} on {workers:,} {kind}")
    limit = "the work" if found.work / workers >= found.critical_path else "the critical path"
    table.add_row(
        "lower bound", f"{duration(found.lower_bound)}, by {limit}; {found.beyond_bound:.1%} above"
    )
    table.add_row("utilisation", f"{found.utilisation:.1%}  {sparkline(found.busy(_BINS))}")
    table.add_row("critical path", _path(longest))
    if costs.gang > 1:
        table.add_row("assumed", "each batch is divided evenly, and all-reduce takes no time")
    console.print(table)


def what_if(graph: Graph) -> list[Simulated]:
    """Simulate the launch on 1 to 4096 workers, until more workers only raise the cost.

    The results are without intervals, which would take much memory.
    """
    results: list[Simulated] = []
    for workers in SIZES if graph.nodes else ():
        results.append(replace(simulate(graph, workers), intervals=()))
        if results[-1].makespan <= 1.001 * results[-1].critical_path:
            break
    return results


def print_what_if(
    console: Console, tried: Sequence[Simulated], costs: Costs, price: float | None
) -> None:
    """Print time and utilisation by number of workers, and the cost if a price is given."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    headings = [what(costs, 2), "time", "above bound", "utilisation", "speed-up"]
    for heading in [*headings, *(["cost"] if price is not None else [])]:
        table.add_column(heading, justify="right")
    for found in tried:
        cells = [
            f"{found.workers:,}",
            duration(found.makespan),
            f"{found.beyond_bound:.1%}",
            f"{found.utilisation:.1%}",
            f"{found.work / found.makespan:,.1f}",
        ]
        if price is not None:
            hours = costs.gang * found.workers * found.makespan / 3600
            cells.append(f"{price * hours:,.2f}")
        table.add_row(*cells)
    console.print(table)


def print_replay(console: Console, launch: str, found: Replay) -> None:
    """Print a recorded launch beside the simulated one."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=None)
    for heading in ("", "time", "utilisation"):
        table.add_column(heading, justify="right" if heading else "left")
    simulated = found.simulated
    table.add_row("recorded", duration(found.makespan), f"{found.utilisation:.1%}")
    table.add_row("simulated", duration(simulated.makespan), f"{simulated.utilisation:.1%}")
    table.add_row("lower bound", duration(simulated.lower_bound), "")
    workers = "worker" if simulated.workers == 1 else "workers"
    console.print(f"launch {launch}: {found.tasks:,} tasks on {simulated.workers} {workers}")
    console.print(table)


def sparkline(shares: Sequence[float]) -> str:
    """Draw shares from 0 to 1 as bars."""
    return "".join(_BARS[round(share * (len(_BARS) - 1))] for share in shares)


def what(costs: Costs, count: int) -> str:
    """Return the noun for `count` workers: CPU cores, GPUs or process groups."""
    noun = f"group{{}} of {costs.gang} GPUs" if costs.gang > 1 else _WORKERS[costs.device]
    return noun.format("s" if count > 1 else "")


def _path(path: Sequence[Task]) -> str:
    kinds = Counter(task.kind for task in path)
    counted = ", ".join(f"{count} {_NOUNS[kind]}" for kind, count in kinds.items())
    return f"{counted}; it ends with: {describe(path[-1].value)}"


_WORKERS = {"cpu": "CPU core{}", "gpu": "GPU{}"}

_NOUNS = {
    "run": "trainings",
    "mask": "prunings",
    **{kind: cls.plural for kind, cls in MEASUREMENTS.items()},
}
