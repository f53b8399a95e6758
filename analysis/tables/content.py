"""Content of a table, before it is LaTeX, Markdown or CSV."""

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
"""Best mean of its column; not significantly worse; without test; anything else."""


@dataclass(frozen=True)
class Cell:
    """A sample and its comparison with the best of its column; None if it is the best."""

    sample: Sample
    standing: Standing
    comparison: Comparison | None


@dataclass(frozen=True)
class Block:
    """Methods by densities on one network and dataset, densest first, and its dense networks."""

    title: str
    densities: tuple[float, ...]
    names: tuple[str, ...]
    cells: dict[tuple[str, float], Cell]
    dense: tuple[Sample, ...]


@dataclass(frozen=True)
class Table:
    """Blocks of a table; `n` is the usual number of replicates of a cell."""

    sweep: str
    label: str
    digits: int
    blocks: tuple[Block, ...]
    n: int
    notes: tuple[str, ...]

    def standings(self) -> set[Standing]:
        """Return the standings that occur."""
        return {cell.standing for block in self.blocks for cell in block.cells.values()}


def table(study: Study) -> Table:
    """Return the table of a study: each sample compared with the best of its column."""
    compared = {id(c.sample): c for c in comparisons.compare(study)}
    cells = {
        id(sample): _cell(study, sample, samples, compared.get(id(sample)))
        for samples in study.columns().values()
        for sample in samples
    }
    problems = selection.grouped(study.samples, lambda s: (s.network, s.dataset))
    counts = Counter(sample.n for sample in study.samples)
    blocks = tuple(
        Block(
            title=style.problem(*problem),
            densities=tuple(dict.fromkeys(sample.density for sample in samples)),
            names=tuple(dict.fromkeys(sample.name for sample in samples)),
            cells={(s.name, s.density): cells[id(s)] for s in samples},
            dense=tuple(s for s in study.dense if (s.network, s.dataset) == problem),
        )
        for problem, samples in problems.items()
    )
    n = max(counts, key=lambda count: (counts[count], count))
    metric = study.metric
    return Table(study.sweep, metric.label, metric.digits, blocks, n, tuple(_notes(study, n)))


def words(table: Table, bold: str, close: str, untested: str) -> str:
    """Return the caption: metric, replicates, and the meaning of the given marks."""
    occur = table.standings()
    sentences = list(table.notes)
    if "best" in occur:
        sentences.append(f"{bold}: best mean of its column.")
    if "close" in occur:
        sentences.append(f"{close}: not significantly worse than it, which is not to say as good.")
    if {"close", "plain"} & occur and "best" in occur:
        sentences.append(
            "Test: paired t-test over replicates against the best of the column, corrected for "
            "the choice of the best and the number of methods (step-down min-P, Westfall and "
            f"Young 1993), α = {ALPHA:g}."
        )
    if "untested" in occur:
        sentences.append(
            f"{untested}: not tested (fewer than two replicates shared with the best, or "
            "differences that do not vary)."
        )
    return " ".join(sentences)


# ---------------------------------------------------------------- details


def _cell(
    study: Study, sample: Sample, column: Sequence[Sample], comparison: Comparison | None
) -> Cell:
    if len(column) == 1:
        standing: Standing = "plain"
    elif isclose(sample.mean, study.best(column).mean, rel_tol=1e-12):
        standing = "best"
    elif comparison is None or comparison.p is None:
        standing = "untested"
    else:
        standing = "plain" if comparison.p < ALPHA else "close"
    return Cell(sample, standing, comparison)


def _notes(study: Study, n: int) -> list[str]:
    counts = {sample.n for sample in (*study.samples, *study.dense)}
    what = f"{study.metric.label} by weights remaining (%):"
    if counts == {1}:
        return [f"{what} one replicate, so no spread and no test.", *_unfinished(study)]
    elsewhere = ", where n says no other" if len(counts) > 1 else ""
    replicates = "1 replicate" if n == 1 else f"{n} replicates"
    shown = f"{what} mean ± standard deviation of {replicates}{elsewhere}."
    return [shown, *_unfinished(study)]


def _unfinished(study: Study) -> list[str]:
    left = study.chosen.done < study.chosen.total
    return [f"{study.chosen.done:,} of {study.chosen.total:,} trials done."] if left else []
