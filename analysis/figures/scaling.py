"""Figure of simulated launches: time and utilisation against the number of workers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from analysis import style
from analysis.figures import FORMATS, save
from analysis.figures.canvas import Sheet
from tombola.errors import FigureError


class Point(Protocol):
    """Drawn fields of a simulated launch (orchestrator.scheduling.simulate.Simulated)."""

    @property
    def workers(self) -> int: ...
    @property
    def makespan(self) -> float: ...
    @property
    def lower_bound(self) -> float: ...
    @property
    def utilisation(self) -> float: ...
    @property
    def critical_path(self) -> float: ...


def draw(points: Sequence[Point], what: str) -> Sheet:
    """Draw makespan and its lower bound (hours), and utilisation, against the number of workers."""
    sheet = Sheet(style.WIDTHS["iclr"], 2.1)
    time, use = sheet.subplots(1, 2)
    workers = [point.workers for point in points]
    time.loglog(
        workers, [p.makespan / 3600 for p in points], "o-", color="#0072B2", label="Simulated"
    )
    time.loglog(
        workers,
        [p.lower_bound / 3600 for p in points],
        "--",
        color=style.GREY,
        label="Lower bound",
        zorder=3,
    )
    time.set_ylabel("Time (hours)")
    time.legend(frameon=False)
    use.semilogx(workers, [100 * p.utilisation for p in points], "o-", color="#0072B2")
    use.set_ylabel("Utilisation (%)")
    use.set_ylim(0, 105)
    for axes in (time, use):
        axes.set_xlabel(what)
        axes.set_xticks(workers, [f"{n:,}" for n in workers])
        axes.minorticks_off()
    return sheet


def write(points: Sequence[Point], what: str, path: Path, about: dict[str, object]) -> None:
    """Draw into a file whose metadata describe the simulation.

    Raises
    ------
    FigureError
        When the suffix of the file is no format of figures.
    """
    suffix = path.suffix.removeprefix(".")
    if suffix not in FORMATS:
        raise FigureError(f"{path}: figures are written as {', '.join(FORMATS)}")
    provenance = json.dumps({"figure": "what-if", **about}, sort_keys=True)
    save.save(lambda facts: draw(facts, what), points, provenance, path.with_suffix(""), (suffix,))
