"""What each worker did during a launch, and how many of them were busy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.figures import axes
from analysis.figures.facts import BaseFacts
from analysis.selection.options import TimelineOptions
from analysis.style import Look
from tombola.errors import FigureError
from tombola.store import schema
from tombola.text import visible

_LAUNCHES = f"""
SELECT launch FROM trials JOIN tasks ON key IN ({", ".join(schema.ANSWERS)})
WHERE sweep = $sweep AND launch IS NOT NULL
GROUP BY launch ORDER BY max(tasks.started_at) DESC, launch
"""
_DONE = """
SELECT key, worker, kind, started_at, tasks.seconds FROM tasks
WHERE launch = $launch AND worker IS NOT NULL ORDER BY started_at, key
"""
_FAILED = """
SELECT key, worker, 'failed', noted_at - to_microseconds((seconds * 1e6)::BIGINT), seconds
FROM attempts WHERE launch = $launch AND event IN ('failed', 'retried')
  AND worker IS NOT NULL AND seconds IS NOT NULL ORDER BY noted_at, key
"""
SQL = f"{_LAUNCHES}; {_DONE}; {_FAILED}"

_KINDS = {
    "run": Look("#0072B2", "s", "Training", filled=True),
    "mask": Look("#E69F00", "s", "Pruning", filled=True),
    "measure": Look("#009E73", "s", "Measuring", filled=True),
    "failed": Look("#D55E00", "s", "Failed", filled=True),
}
_BINS = 200
_FINE = 1500
"""Intervals of one kind closer together than the launch's such part are one bar."""

Row = tuple[str, str, str, datetime, float]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Lane:
    """One worker: by kind, when it was busy (start and end, s since the first task's start)."""

    worker: str
    busy: dict[str, tuple[Interval, ...]]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """What is drawn: lanes by worker, and the busy share of all in equal parts of `seconds`."""

    lanes: tuple[Lane, ...]
    seconds: float
    utilisation: tuple[float, ...]


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: TimelineOptions) -> Facts:
    """One launch: tasks that were committed, and attempts that failed as the journal tells.

    Raises
    ------
    FigureError
        When there is no such launch, or nothing of the sweep is computed.
    """
    launches = [row[0] for row in connection.execute(_LAUNCHES, {"sweep": sweep}).fetchall()]
    launch = options.launch or (launches[0] if launches else None)
    if launch not in launches:
        known = f"; it has {', '.join(launches)}" if launches else " yet"
        raise FigureError(
            f"nothing of sweep {sweep} was computed"
            + (f" in launch {launch}" if launch else "")
            + known
        )
    given = {"launch": launch}
    done = cast("list[Row]", connection.execute(_DONE, given).fetchall())
    failed = cast("list[Row]", connection.execute(_FAILED, given).fetchall())
    began = min(row[3] for row in (*done, *failed))
    ended = max(row[3] + timedelta(seconds=row[4]) for row in (*done, *failed))
    seconds = max((ended - began).total_seconds(), 1e-6)
    lanes = _lanes((*done, *failed), began)
    working = _utilisation(lanes, seconds)
    mean = sum(working) / len(working)
    drawn = [_coarse(lane, seconds / _FINE) for lane in lanes]
    return Facts(
        lanes=tuple(drawn),
        seconds=seconds,
        utilisation=tuple(working),
        runs=tuple(sorted(row[0] for row in done)),
        note=f"Launch {visible(launch)}: {len(done):,} tasks in {_said(seconds)} on {len(lanes):,} "
        f"worker{'s' * (len(lanes) != 1)}, busy {100 * mean:.0f} % of the time."
        + f" {len(failed):,} attempts failed."
        * bool(failed),
        width=style.WIDTHS[options.width],
        title=options.title,
    )


def draw(facts: Facts) -> Figure:
    """A lane for each worker, and above them the share that is busy."""
    there = [kind for kind in _KINDS if any(lane.busy.get(kind) for lane in facts.lanes)]
    handles = [axes.handle(_swatch(_KINDS[kind])) for kind in there]
    frame = axes.Frame(facts.width, facts.title, facts.note, handles)
    tall = min(0.3 + 0.22 * len(facts.lanes), 3.2)
    ratios = {"height_ratios": [0.8, tall]}
    figure, _, [[above], [below]] = axes.sheet(
        (2, 1), (0.8 + tall + 0.5) / 2, frame, sharex=True, gridspec_kw=ratios
    )
    scale, unit = _scale(facts.seconds)
    _draw_utilisation(above, facts, scale)
    _draw_lanes(below, facts.lanes, scale)
    below.set_xlim(0, facts.seconds / scale)
    below.set_xlabel(f"Since the first task began ({unit})")
    return figure


# ---------------------------------------------------------------- details


def _lanes(rows: Iterable[Row], began: datetime) -> list[Lane]:
    busy: dict[str, dict[str, list[Interval]]] = {}
    for _, name, kind, started_at, seconds in rows:
        worker = visible(name)
        start = (started_at - began).total_seconds()
        shown = kind if kind in _KINDS else "measure"
        busy.setdefault(worker, {}).setdefault(shown, []).append((start, start + seconds))
    return [
        Lane(worker, {kind: tuple(sorted(found)) for kind, found in sorted(busy[worker].items())})
        for worker in sorted(busy)
    ]


def _merged(intervals: Iterable[Interval], apart: float = 0.0) -> list[Interval]:
    """The same time as intervals that neither meet nor come closer than that."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start - found[-1][1] <= apart:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _coarse(lane: Lane, apart: float) -> Lane:
    """As fine as paper shows: a launch of a hundred thousand tasks is no larger a file."""
    return Lane(lane.worker, {k: tuple(_merged(v, apart)) for k, v in lane.busy.items()})


def _utilisation(lanes: Sequence[Lane], seconds: float) -> list[float]:
    """Busy share of all workers in each of _BINS parts; what overlaps counts once."""
    part = seconds / _BINS
    busy = [0.0] * _BINS
    for lane in lanes:
        for start, end in _merged(i for intervals in lane.busy.values() for i in intervals):
            first, last = int(start / part), min(int(end / part), _BINS - 1)
            for n in range(first, last + 1):
                busy[n] += max(0.0, min(end, (n + 1) * part) - max(start, n * part))
    return [min(1.0, one / part / len(lanes)) for one in busy]


def _draw_utilisation(ax: Axes, facts: Facts, scale: float) -> None:
    part = facts.seconds / len(facts.utilisation) / scale
    edges = [n * part for n in range(len(facts.utilisation) + 1)]
    shares = [100 * one for one in facts.utilisation]
    ax.stairs(shares, edges, fill=True, color=style.lighter(style.GREY, 0.55), linewidth=0)
    ax.set_ylim(0, 100)
    ax.set_yticks([0, 50, 100])
    ax.set_ylabel("Busy (%)")


def _draw_lanes(ax: Axes, lanes: Sequence[Lane], scale: float) -> None:
    for line, lane in enumerate(lanes):
        for kind, look in _KINDS.items():
            bars = [(a / scale, (b - a) / scale) for a, b in lane.busy.get(kind, ())]
            ax.broken_barh(bars, (line - 0.4, 0.8), facecolors=look.colour, linewidth=0)
    ax.set_ylim(len(lanes) - 0.5, -0.5)
    if len(lanes) <= _NAMED:
        ax.set_yticks(range(len(lanes)), [_short(lane.worker, lanes) for lane in lanes])
    else:
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_ylabel("Worker")
    ax.grid(visible=False, axis="y")


_NAMED = 16


def _short(worker: str, lanes: Sequence[Lane]) -> str:
    """host:process, or the process alone where there is one host."""
    hosts = {lane.worker.rpartition(":")[0] for lane in lanes}
    return worker.rpartition(":")[2] if len(hosts) == 1 else worker


def _swatch(look: Look) -> Look:
    return Look(look.colour, look.marker, look.label, "", filled=True)


def _scale(seconds: float) -> tuple[float, str]:
    """Seconds in a unit that gives numbers people read, and its name."""
    return next((u for u in ((86400, "days"), (3600, "h"), (60, "min")) if seconds > 3 * u[0]), _S)


_S = (1.0, "s")


def _said(seconds: float) -> str:
    scale, unit = _scale(seconds)
    return f"{seconds / scale:.3g} {unit}"
