"""Print `tombola plan`: trials, tasks, sharing and costs, and reasons of tasks."""

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from orchestrator.planning.cost import Costs, Estimate
from orchestrator.planning.planner import Plan, Task, Value, alone, together, trained
from orchestrator.running.progress import duration
from orchestrator.running.study import Study
from orchestrator.sweep.labels import Labels
from tasks.values.measurements import MEASUREMENTS, SHORT_KEY, Measurement
from tasks.values.records import Run, State
from tombola.store import settings
from tombola.terminal import styled


def describe(value: Value) -> str:
    """Describe the value of a task in a few words."""
    if isinstance(value, Measurement):
        return f"measure {value.title}"
    if isinstance(value, Run):
        start = "from " + _start(value.start)
        masked = f"at {_percent(value.mask.density)}" if value.mask else "dense"
        steps = f"steps {value.first_step}-{value.recipe.steps}"
        return f"train {value.network.name} {masked}, {start}, {steps}"
    ablation = f", {value.ablation.kind}" if value.ablation else ""
    score = value.score.kind + (f" of {_start(value.of)}" if value.of else "")
    return f"prune {value.network.name} to {_percent(value.density)} by {score}{ablation}"


def print_plan(
    console: Console,
    study: Study,
    planned: Plan,
    expected: Estimate,
    costs: Costs,
    slots: int,
    shares: Sequence[tuple[str, str]] = (),
) -> None:
    """Print trials, tasks, prunable shares, savings by sharing, and expected costs."""
    kinds, left, path = expected.kinds, expected.trained, expected.path
    lonely = trained(alone(study.trials))
    whole = planned.done == 0 and _is_whole(planned)
    least = left if whole else together(study.trials)

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column()
    missing = len(study.trials) - planned.done
    table.add_row(
        "trials", f"{len(study.trials):,}", f"{planned.done:,} answered, {missing:,} not yet"
    )
    measuring = sum(kinds[kind] for kind in MEASUREMENTS)
    what = f"{kinds['run']:,} train, {kinds['mask']:,} prune"
    what += f", {measuring:,} measure" if measuring else ""
    table.add_row("tasks to run", f"{len(planned.tasks):,}", what)
    for number, (share, of) in enumerate(shares):
        table.add_row("" if number else "prunable", share, of)
    table.add_row(
        "trial by trial",
        f"{lonely.steps:,}",
        f"iterations ({lonely.epochs:,.0f} epochs): each trial alone, with the runs it needs",
    )
    share = f" = {least.steps / lonely.steps:.0%} of that" if lonely.steps else ""
    table.add_row(
        "shared",
        f"{least.steps:,}",
        f"iterations ({least.epochs:,.0f} epochs){share}: equal work is done once",
    )
    table.add_row("left to train", f"{left.steps:,}", f"iterations ({left.epochs:,.0f} epochs)")
    table.add_row(
        "critical path", duration(expected.path_seconds), f"{len(path):,} tasks one after another"
    )
    wall = max(expected.seconds / slots, expected.path_seconds)
    measured = "from this store's history" if costs.rates else "a rough model until something ran"
    table.add_row("expected time", duration(wall), f"on {slots} workers ({measured})")
    table.add_row("expected disk", size(expected.bytes), "")
    console.print(styled((study.name, "bold"), f"  {study.sweep.description}".rstrip()))
    console.print(table)
    if not planned.tasks:
        console.print(styled(("Nothing to do:", "green"), " the store holds every result."))


def print_reasons(console: Console, study: Study, tasks: Iterable[Task]) -> None:
    """Print each task to run, why, and the first trial that needs it."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("key", "task", "why", "first asked for by"):
        table.add_column(heading, overflow="fold")
    labels = [trial.labels for trial in study.trials]
    differing = settings.varying(labels)
    several = len({tuple(row[name] for name in settings.PANEL) for row in labels}) > 1
    for task in tasks:
        trial = f"trial {task.trial}: {_named(labels[task.trial], differing, several=several)}"
        saved = f", keeping step {', '.join(map(str, task.save))}" if task.save else ""
        table.add_row(task.key[:SHORT_KEY], describe(task.value) + saved, task.reason, trial)
    console.print(table)


def _named(labels: Labels, differing: Mapping[str, set[str]], *, several: bool) -> str:
    """Describe a trial by all that distinguishes it; with network and dataset if `several`."""
    method, ablation = labels["method"], labels["ablation"]
    return ", ".join(
        [
            " ".join([method, _percent(labels["requested_density"])]),
            *settings.details(labels, differing.get(method, ())),
            *([ablation] if ablation != "none" else ()),
            f"replicate {labels['replicate']}",
            *([f"{labels['network']} on {labels['dataset']}"] if several else ()),
        ]
    )


def _is_whole(planned: Plan) -> bool:
    return all(task.reason == "not in the store" for task in planned.tasks.values())


def _start(start: object) -> str:
    if isinstance(start, State):
        return f"step {start.step} of {start.run.key[:SHORT_KEY]}"
    return f"initialization {getattr(start, 'seed', '')}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def size(count: float) -> str:
    """Return bytes as text: 512 B, 3.4 kB, 26.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
