"""Figure of a launch: the tasks of each worker, and the share of busy workers."""

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
"""Intervals closer than 1/_FINE of the launch are drawn as one bar."""

Row = tuple[str, str, str, datetime, float]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Lane:
    """Busy intervals of one worker by kind: (start, end), seconds since the first task began."""

    worker: str
    busy: dict[str, tuple[Interval, ...]]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: lanes by worker, and the busy share in equal parts of `seconds`."""

    lanes: tuple[Lane, ...]
    seconds: float
    utilisation: tuple[float, ...]


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: TimelineOptions) -> Facts:
    """Select the committed tasks and the failed attempts of one launch.

    Raises
    ------
    FigureError
        When there is no such launch, or nothing of the sweep was computed.
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
        note=f"Launch {visible(launch)}: {len(done):,} tasks in {_duration(seconds)} on "
        f"{len(lanes):,} worker{'s' * (len(lanes) != 1)}, busy {100 * mean:.0f} % of the time."
        + f" {len(failed):,} attempts failed."
        * bool(failed),
        width=style.WIDTHS[options.width],
        title=options.title,
    )


def draw(facts: Facts) -> Figure:
    """Draw a lane for each worker, and above them the busy share."""
    kinds = [kind for kind in _KINDS if any(lane.busy.get(kind) for lane in facts.lanes)]
    handles = [axes.handle(_swatch(_KINDS[kind])) for kind in kinds]
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
        Lane(worker, {kind: tuple(sorted(times)) for kind, times in sorted(busy[worker].items())})
        for worker in sorted(busy)
    ]


def _merged(intervals: Iterable[Interval], apart: float = 0.0) -> list[Interval]:
    """Merge intervals that overlap or are at most `apart` seconds apart."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start - merged[-1][1] <= apart:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _coarse(lane: Lane, apart: float) -> Lane:
    """Return a lane with close intervals merged, which bounds the size of the file."""
    return Lane(lane.worker, {k: tuple(_merged(v, apart)) for k, v in lane.busy.items()})


def _utilisation(lanes: Sequence[Lane], seconds: float) -> list[float]:
    """Return the busy share of all workers in each of _BINS parts; overlaps count once."""
    part = seconds / _BINS
    busy = [0.0] * _BINS
    for lane in lanes:
        for start, end in _merged(i for intervals in lane.busy.values() for i in intervals):
            first, last = int(start / part), min(int(end / part), _BINS - 1)
            for n in range(first, last + 1):
                busy[n] += max(0.0, min(end, (n + 1) * part) - max(start, n * part))
    return [min(1.0, time / part / len(lanes)) for time in busy]


def _draw_utilisation(ax: Axes, facts: Facts, scale: float) -> None:
    part = facts.seconds / len(facts.utilisation) / scale
    edges = [n * part for n in range(len(facts.utilisation) + 1)]
    shares = [100 * share for share in facts.utilisation]
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
    """Return host:process, or only the process if there is one host."""
    hosts = {lane.worker.rpartition(":")[0] for lane in lanes}
    return worker.rpartition(":")[2] if len(hosts) == 1 else worker


def _swatch(look: Look) -> Look:
    return Look(look.colour, look.marker, look.label, "", filled=True)


def _scale(seconds: float) -> tuple[float, str]:
    """Return a readable unit of time: its seconds and its name."""
    return next((u for u in ((86400, "days"), (3600, "h"), (60, "min")) if seconds > 3 * u[0]), _S)


_S = (1.0, "s")


def _duration(seconds: float) -> str:
    scale, unit = _scale(seconds)
    return f"{seconds / scale:.3g} {unit}"
