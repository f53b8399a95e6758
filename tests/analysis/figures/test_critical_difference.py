"""Ranks of methods on the problems that all methods have, and their diagram."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis import figures
from analysis.database.connection import connect
from analysis.figures.kinds import critical_difference
from analysis.selection import samples, selection
from analysis.stats import ALPHA, ranking
from tests.support import build_store
from tests.support.build_store import Row, Study
from tombola.errors import FigureError

METHODS = ("imp", "snip", "random")
NETWORKS = ("a", "b", "c", "d", "e")


def accuracy(row: Row) -> float:
    """Return accuracies in the same order of methods for every replicate."""
    return 0.9 - 0.1 * ("dense", *METHODS).index(row["method"]) + row["replicate"] / 100


def select(store: Path, **given: Any) -> Any:
    with connect(store) as connection:
        return figures.select(connection, "study", "critical-difference", given)


def test_ranks_are_means_over_problems(tmp_path: Path) -> None:
    Study(accuracy, METHODS, networks=NETWORKS, densities=(0.5, 0.1)).write(tmp_path)
    facts = select(tmp_path)
    assert facts.names == ("IMP", "SNIP", "Random")
    assert (facts.ranking.mean_ranks, facts.ranking.problems) == ((1, 2, 3), 5)
    assert facts.ranking.statistic == pytest.approx(10.0), "5 problems, no ties: N (k - 1)"
    assert "means of 3 replicates, over 5 problems" in facts.note
    assert select(tmp_path, metric="loss").ranking.mean_ranks == (1, 2, 3), "less is better"
    assert select(tmp_path, densities=[0.5]).ranking.problems == 5


def test_the_densities_of_a_network_are_one_problem(tmp_path: Path) -> None:
    """Ranks are averaged in it: IMP has 1, 1, 3; SNIP 2, 2, 1; random 3, 3, 2."""

    def of(row: Row) -> float:
        shown = accuracy(row)
        return shown - 0.5 * (row["method"] == "imp" and row["requested_density"] == 0.1)

    Study(of, METHODS, networks=NETWORKS, densities=(0.5, 0.2, 0.1)).write(tmp_path)
    facts = select(tmp_path)
    assert (facts.ranking.problems, facts.ranking.mean_ranks) == (5, (1.5, 1.5, 3.0))


def test_problems_that_not_all_methods_answer_are_left_out(tmp_path: Path) -> None:
    study = Study(accuracy, METHODS, networks=NETWORKS, densities=(0.5,))
    rows = study.trials()
    study.write(tmp_path)

    def lacking(*networks: str) -> list[Row]:
        return [r for r in rows if r["network"] not in networks or r["method"] != "random"]

    build_store.write_sweep(tmp_path, "study", lacking("e"), registered_at="2027-01-01")
    with pytest.raises(FigureError, match="has 3 methods that share 4 of 5 problems"):
        select(tmp_path)
    more = Study(accuracy, METHODS, networks=(*NETWORKS, "f"), densities=(0.5,))
    rows = more.trials()
    more.write(tmp_path / "more")
    build_store.write_sweep(tmp_path / "more", "study", lacking("f"), registered_at="2027-01-01")
    facts = select(tmp_path / "more")
    assert facts.ranking.problems == 5
    assert "1 problems that not all methods answer are left out" in facts.note


@pytest.mark.parametrize(
    ("methods", "networks", "found"),
    [
        (METHODS[:2], NETWORKS, "2 methods that share 5 of 5 problems"),
        (METHODS, NETWORKS[:4], "3 methods that share 4 of 4 problems"),
        (METHODS, NETWORKS[:1], "3 methods that share 1 of 1 problem:"),
    ],
)
def test_a_handful_of_problems_is_needed_and_the_reason_is_told(
    tmp_path: Path, methods: tuple[str, ...], networks: tuple[str, ...], found: str
) -> None:
    """More densities of one network do not help."""
    densities = tuple(0.9**n for n in range(1, 13))
    Study(accuracy, methods, networks=networks, densities=densities).write(tmp_path)
    with pytest.raises(FigureError, match=r"at least three methods, and 5 problems .*luck") as told:
        select(tmp_path)
    assert found in str(told.value)


@pytest.mark.parametrize("problems", [5, 12])
@pytest.mark.parametrize("methods", [3, 8])
def test_equal_methods_seldom_differ_however_alike_a_networks_densities_are(
    methods: int, problems: int
) -> None:
    """Friedman's test and the critical difference may each be wrong in at most 5 of 100 draws."""
    rng, draws, by_test, by_distance = np.random.default_rng(3), 300, 0, 0
    names = [f"m{n}" for n in range(methods)]
    for _ in range(draws):
        study = correlated(rng, names, problems)
        found = ranking(critical_difference.by_problem(study, names))
        assert found.problems == problems
        by_test += found.p < ALPHA
        apart = max(found.mean_ranks) - min(found.mean_ranks)
        by_distance += apart > found.critical_difference
    most = ALPHA + 3 * (ALPHA * (1 - ALPHA) / draws) ** 0.5
    assert by_test / draws <= most
    assert by_distance / draws <= most


def correlated(rng: np.random.Generator, names: Sequence[str], problems: int) -> samples.Study:
    """Draw methods that differ by chance only: once for each network, a little for each density."""
    found = [
        samples.Sample(f"n{network}", "digits", density, name, {0: luck + rng.normal(0, 0.3)}, {})
        for network in range(problems)
        for name, luck in zip(names, rng.normal(0, 1, len(names)), strict=True)
        for density in (0.5, 0.2, 0.1, 0.05)
    ]
    chosen = selection.Selection((), 0, 0, ())
    return samples.Study("study", tuple(found), (), (), chosen)


@pytest.mark.parametrize("width", ["iclr", "icml-column"])
def test_it_is_drawn_at_its_width_with_no_warning(
    tmp_path: Path, width: str, recwarn: pytest.WarningsRecorder
) -> None:
    shape: dict[str, Any] = {"networks": NETWORKS, "densities": (0.5, 0.2, 0.1)}
    Study(accuracy, METHODS, **shape).write(tmp_path / "store")
    asked = [{"critical-difference": {"width": width}}]
    pdf, png = figures.draw(tmp_path / "store", "study", asked, tmp_path / "out")
    with Image.open(png) as image:
        assert image.width == round(300 * {"iclr": 5.5, "icml-column": 3.25}[width])
    assert figures.trace(pdf)["figure"] == "critical-difference"
    assert not [w for w in recwarn if "layout" in str(w.message)]
