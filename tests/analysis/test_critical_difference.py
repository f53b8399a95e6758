"""Ranks of methods: on the problems that all have, and drawn at the asked width."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from analysis import figures, results
from analysis.errors import FigureError
from tests.analysis.build_store import Row, Study

METHODS = ("imp", "snip", "random")


def accuracy(row: Row) -> float:
    """Always in the same order, whatever the replicate."""
    return 0.9 - 0.1 * ("dense", *METHODS).index(row["method"]) + row["replicate"] / 100


def select(store: Path, **given: Any) -> Any:
    with results.connect(store) as connection:
        return figures.select(connection, "study", "critical-difference", given)


def test_ranks_are_means_over_problems(tmp_path: Path) -> None:
    Study(accuracy, METHODS, networks=("a", "b"), densities=(0.5, 0.1)).write(tmp_path)
    facts = select(tmp_path)
    assert facts.names == ("IMP", "SNIP", "Random")
    assert (facts.ranking.mean_ranks, facts.ranking.problems) == ((1, 2, 3), 4)
    assert facts.ranking.statistic == pytest.approx(8.0), "4 problems, no ties: N (k - 1)"
    assert "means of 3 replicates, over 4 problems" in facts.note
    assert select(tmp_path, metric="loss").ranking.mean_ranks == (1, 2, 3), "less is better"
    assert select(tmp_path, densities=[0.5]).ranking.problems == 2


def test_problems_that_not_all_methods_answer_are_left_out(tmp_path: Path) -> None:
    more: dict[str, list[Row]] = {"snip": [{}], "imp": [{}], "random": [{}]}
    study = Study(accuracy, METHODS, networks=("a", "b"), densities=(0.5,), of_method=more)
    rows = [*study.trials()]
    study.write(tmp_path)
    from tests.analysis import build_store

    dropped = [r for r in rows if not (r["network"] == "b" and r["method"] == "random")]
    build_store.write_sweep(tmp_path, "study", dropped, revision="r2", registered_at="2027-01-01")
    with pytest.raises(FigureError, match="has 3 methods that share 1 of 2 problems"):
        select(tmp_path)


def test_two_methods_are_no_ranking(tmp_path: Path) -> None:
    Study(accuracy, METHODS[:2]).write(tmp_path)
    with pytest.raises(FigureError, match="at least two problems and three methods"):
        select(tmp_path)


@pytest.mark.parametrize("width", ["iclr", "icml-column"])
def test_it_is_drawn_at_its_width_with_no_warning(
    tmp_path: Path, width: str, recwarn: pytest.WarningsRecorder
) -> None:
    Study(accuracy, METHODS, densities=(0.5, 0.2, 0.1)).write(tmp_path / "store")
    asked = [{"critical-difference": {"width": width}}]
    pdf, png = figures.draw(tmp_path / "store", "study", asked, tmp_path / "out")
    with Image.open(png) as image:
        assert image.width == round(300 * {"iclr": 5.5, "icml-column": 3.25}[width])
    assert figures.trace(pdf)["figure"] == "critical-difference"
    assert not [w for w in recwarn if "layout" in str(w.message)]
