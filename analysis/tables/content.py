"""What a table says, before it is LaTeX, Markdown or CSV."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from typing import Literal, TypeAlias

from analysis import style
from analysis.selection import comparisons, selection
from analysis.selection.comparisons import Comparison
from analysis.selection.samples import Sample, Study
from analysis.stats import ALPHA

Standing: TypeAlias = Literal["best", "close", "untested", "plain"]
"""The best mean of its column; not significantly worse; no test; anything else."""


@dataclass(frozen=True)
class Cell:
    """A sample beside the best of its column; no comparison where it is the best."""

    sample: Sample
    standing: Standing
    comparison: Comparison | None


@dataclass(frozen=True)
class Block:
    """One network and dataset: methods by densities, densest first, and its dense networks."""

    title: str
    densities: tuple[float, ...]
    names: tuple[str, ...]
    cells: dict[tuple[str, float], Cell]
    dense: tuple[Sample, ...]


@dataclass(frozen=True)
class Table:
    """Blocks, with how many replicates most cells have, and what the marks mean."""

    sweep: str
    label: str
    digits: int
    blocks: tuple[Block, ...]
    n: int
    notes: tuple[str, ...]

    def standings(self) -> set[Standing]:
        """Those that occur."""
        return {cell.standing for block in self.blocks for cell in block.cells.values()}


def table(study: Study) -> Table:
    """Every sample against the best of its column, as `comparisons.compare` does."""
    compared = {id(one.sample): one for one in comparisons.compare(study)}
    cells = {
        id(one): _cell(study, one, samples, compared.get(id(one)))
        for samples in study.columns().values()
        for one in samples
    }
    problems = selection.grouped(study.samples, lambda one: (one.network, one.dataset))
    counts = Counter(one.n for one in study.samples)
    blocks = tuple(
        Block(
            title=style.problem(*problem),
            densities=tuple(dict.fromkeys(one.density for one in samples)),
            names=tuple(dict.fromkeys(one.name for one in samples)),
            cells={(one.name, one.density): cells[id(one)] for one in samples},
            dense=tuple(one for one in study.dense if (one.network, one.dataset) == problem),
        )
        for problem, samples in problems.items()
    )
    n = max(counts, key=lambda count: (counts[count], count))
    metric = study.metric
    return Table(study.sweep, metric.label, metric.digits, blocks, n, tuple(_notes(study, n)))


def words(table: Table, bold: str, close: str, untested: str) -> str:
    """The caption: what is shown, of how many replicates, and what the given marks mean."""
    occur = table.standings()
    said = list(table.notes)
    if "best" in occur:
        said.append(f"{bold}: best mean of its column.")
    if "close" in occur:
        said.append(f"{close}: not significantly worse than it, which is not to say as good.")
    if {"close", "plain"} & occur and "best" in occur:
        said.append(
            "Test: paired t-test over replicates against the best of the column, corrected for "
            "the choice of the best and the number of methods (step-down min-P, Westfall and "
            f"Young 1993), α = {ALPHA:g}."
        )
    if "untested" in occur:
        said.append(
            f"{untested}: not tested (fewer than two replicates shared with the best, or "
            "differences that do not vary)."
        )
    return " ".join(said)


# ---------------------------------------------------------------- details


def _cell(
    study: Study, one: Sample, column: Sequence[Sample], comparison: Comparison | None
) -> Cell:
    if len(column) == 1:
        standing: Standing = "plain"
    elif isclose(one.mean, study.best(column).mean, rel_tol=1e-12):
        standing = "best"
    elif comparison is None or comparison.p is None:
        standing = "untested"
    else:
        standing = "plain" if comparison.p < ALPHA else "close"
    return Cell(one, standing, comparison)


def _notes(study: Study, n: int) -> list[str]:
    counts = {one.n for one in (*study.samples, *study.dense)}
    what = f"{study.metric.label} by weights remaining (%):"
    if counts == {1}:
        return [f"{what} one replicate, so no spread and no test.", *_unfinished(study)]
    elsewhere = ", where n says no other" if len(counts) > 1 else ""
    of = "1 replicate" if n == 1 else f"{n} replicates"
    shown = f"{what} mean ± standard deviation of {of}{elsewhere}."
    return [shown, *_unfinished(study)]


def _unfinished(study: Study) -> list[str]:
    left = study.chosen.done < study.chosen.asked
    return [f"{study.chosen.done:,} of {study.chosen.asked:,} trials done."] if left else []
