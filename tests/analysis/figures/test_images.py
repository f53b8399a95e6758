"""Every figure's look: its shapes as a picture, its words as text, compared with reviewed files.

Letters, and the layout with them, differ between versions of freetype by more than a missing curve
does. So the pictures hold no letters, and the layout in them does not depend on letters. `make
baseline` draws the pictures again.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text

from analysis import figures, reference, style
from analysis.database.connection import connect
from analysis.figures import tracing
from analysis.figures.kinds import published_grid
from tests.support import gallery

BASELINE = Path(__file__).with_name("baseline")
WORDS = BASELINE / "words.json"
TOLERANCE = 0.5
"""RMS of 256 shades: half of what the least of curves makes, if it is missing."""

SHOWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "critical-difference": ("critical-difference", "ranked", {}),
    "accuracy-vs-pruning-step": ("accuracy-vs-pruning-step", "early", {}),
    "mask-overlap-densities": ("mask-overlap", "study", {"across": "densities"}),
    "mask-overlap-replicates": ("mask-overlap", "study", {"across": "replicates"}),
    "pareto-latency": ("pareto", "timed", {"against": "latency"}),
    "cost-column": ("cost", "study", {"unit": "seconds", "width": "icml-column"}),
}
"""By the name of the image; every other figure is of `study`, with no options."""

CASES: dict[str, tuple[str, str, dict[str, Any]]]
CASES = {name: (name, "study", {}) for name in figures.FIGURES} | SHOWN

DRAWN = {"dpi": 70}
image = pytest.mark.mpl_image_compare(
    baseline_dir="baseline", tolerance=TOLERANCE, style=style._RC, savefig_kwargs=DRAWN
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gallery.build(tmp_path_factory.mktemp("gallery"))


@pytest.fixture
def wordless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text, "draw", lambda *_: None)
    monkeypatch.setattr(Legend, "draw", lambda *_: None)


def prepared(store: Path, name: str) -> figures.Prepared:
    figure, sweep, given = CASES[name]
    with connect(store) as connection:
        return figures.prepare(connection, sweep, {figure: given})


def unarranged(figure: Figure) -> Figure:
    figure.set_layout_engine("none")
    return figure


@pytest.mark.usefixtures("wordless")
@pytest.mark.parametrize("name", CASES)
@image
def test_figure(name: str, store: Path) -> Figure:
    """Compares the words with a file (written where there is none), and the ink with a picture."""
    one = prepared(store, name)
    with style.style():
        drawn = one.draw(one.facts)
    words = sorted({text.get_text() for text in drawn.findobj(Text)} - {""})
    known = json.loads(WORDS.read_text()) if WORDS.exists() else {}
    if not (BASELINE / f"test_figure_{name}.png").exists():  # `make baseline` draws all anew
        known[name] = words
        WORDS.parent.mkdir(exist_ok=True)
        WORDS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    assert known[name] == words
    return unarranged(drawn)


@pytest.mark.usefixtures("wordless")
@pytest.mark.parametrize("name", reference.drawable())
@image
def test_published(name: str) -> Figure:
    return unarranged(published_grid.draw(published_grid.select(name)))


@pytest.mark.usefixtures("wordless")
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("accuracy-vs-sparsity", "panels.series"),
        ("ablations", "cells.curves"),
        ("density-by-layer", "cells.profiles"),
        ("learning-curves", "cells.curves"),
        ("pareto", "panels.curves"),
        ("cost", "cells.points"),
        ("layer-collapse", "panels.methods"),
        ("timeline", "lanes"),
        ("mask-overlap", "panels"),
    ],
)
def test_a_picture_that_lacks_the_least_of_its_parts_fails(
    name: str, part: str, store: Path, tmp_path: Path
) -> None:
    one = prepared(store, name)
    outer, _, inner = part.partition(".")
    *rest, last = getattr(one.facts, outer)
    shorter = [replace(last, **{inner: getattr(last, inner)[:-1]})] if inner else []
    facts = replace(one.facts, **{outer: (*rest, *shorter)})
    with style.style():
        for file, shown in (("expected.png", one.facts), ("found.png", facts)):
            drawn = unarranged(one.draw(shown))
            drawn.set_size_inches(unarranged(one.draw(one.facts)).get_size_inches())
            drawn.savefig(tmp_path / file, **DRAWN)
    paths = str(tmp_path / "expected.png"), str(tmp_path / "found.png")
    assert compare_images(*paths, TOLERANCE) is not None


@pytest.mark.slow
def test_every_figure_can_be_traced(store: Path, tmp_path: Path) -> None:
    together: dict[tuple[str, int], dict[str, Any]] = {}  # files are named by their figures
    for figure, sweep, given in CASES.values():
        again = sum(figure in drawn for (of, _), drawn in together.items() if of == sweep)
        together.setdefault((sweep, again), {})[figure] = given
    with connect(store) as connection:
        for (sweep, again), asked in together.items():
            wanted = [{figure: given} for figure, given in asked.items()]
            for path in figures.draw(store, sweep, wanted, tmp_path / f"{sweep}{again}", ("svg",)):
                about = figures.trace(path)
                assert tracing.runs(connection, about).num_rows > 0, path
                assert tracing.changes(connection, about) == [], path
