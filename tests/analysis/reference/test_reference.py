"""Published numbers: the shipped tables, their redrawn figures, and comparison with results."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfReader

from analysis import figures, reference, style
from analysis.database.connection import connect
from analysis.figures import published
from analysis.figures.against import against
from analysis.figures.kinds import accuracy_vs_sparsity, published_grid
from tests.support.build_store import Row, Study
from tombola.errors import FigureError, PublishedError

ROWS = {
    "synflow2020": 2340,
    "lottery_tix2019": 60,
    "gale2019": 1011,
    "blalock2020": 1034,
    "paper_tables": 146,
}
COMPRESSIONS = [10 ** (n / 4) for n in range(13)]
OVERLAY = {"reference": ["synflow2020"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build VGG-16 and ResNet-20 on CIFAR-10 at published compressions, with an exact accuracy."""
    folder = tmp_path_factory.mktemp("beside") / "store"
    study = Study(
        lambda row: 0.9 - row["replicate"] / 100 - (1 - row["requested_density"]) / 10,
        methods=("snip", "grasp", "imp"),
        densities=[round(1 / c, 6) for c in COMPRESSIONS[:9]],
        networks=("vgg16_bn", "resnet20"),
        settings=({"dataset": "cifar10"},),
        ablations=("none", "shuffle"),
    )
    study.write(folder)
    return folder


@pytest.fixture
def facts(store: Path) -> Any:
    with connect(store) as connection:
        return figures.select(connection, "study", "accuracy-vs-sparsity", OVERLAY)


# ---------------------------------------------------------------- the numbers


def test_every_reference_says_its_source_licence_and_caveats() -> None:
    assert reference.names() == list(ROWS)
    for name in reference.names():
        known = reference.about(name)
        assert known.title
        assert known.source
        assert known.licence
        assert known.caveats


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_are_those_that_were_published(name: str) -> None:
    table = reference.load(name)
    known = reference.about(name)
    assert table.num_rows == ROWS[name]
    assert table.schema.names == list(known.columns)
    for field in table.schema:
        wanted = {"text": "string", "number": "double", "count": "int64"}
        assert str(field.type) == wanted[known.columns[field.name]]
    assert b"\r" not in reference.path(name).read_bytes(), "git would change the file's digest"


def test_a_published_file_cannot_change_unseen() -> None:
    """A difference here means that published numbers were changed."""
    assert reference.sha256_of("synflow2020") == (
        "04343497175a87e2a9ecf170841d25a7ab40043708306c71ae446d1af252c04e"
    )


def test_synflow_means_are_those_of_the_released_values() -> None:
    curves = {(c.dataset, c.network, c.method): c for c in published.curves("synflow2020")}
    assert len(curves) == 60
    one = curves["cifar10", "vgg16_bn", "synflow"]
    assert [1 / p.density for p in one.points] == pytest.approx(COMPRESSIONS)
    shown = [round(one.points[n].shown.centre, 1) for n in (0, 4, 8, 12)]
    assert shown == [93.5, 93.3, 90.1, 80.4]
    collapsed = curves["tinyimagenet", "vgg16_bn", "magnitude"].points[4].shown
    assert collapsed.centre == pytest.approx(0.5, abs=0.01), "chance: a layer is gone"
    assert all(p.shown.n == 3 for c in curves.values() for p in c.points)


def test_names_are_ours_once_translated() -> None:
    curves = published.translated("synflow2020")
    for dataset, form in (("cifar10", ""), ("cifar100", ""), ("tiny_imagenet", "_three_linear")):
        shown = {one.network for one in curves if one.dataset == dataset}
        assert shown == {f"vgg11_bn{form}", f"vgg16_bn{form}", "resnet18_small_stem"}
    assert {one.dataset for one in curves} == {"cifar10", "cifar100", "tiny_imagenet"}
    for one in curves:
        assert one.network in style.NETWORKS
        assert one.dataset in style.DATASETS
        assert one.method in style.METHODS


def test_what_there_is_not_is_told_in_a_sentence() -> None:
    with pytest.raises(PublishedError, match="did you mean synflow2020"):
        reference.load("synflow2021")
    with pytest.raises(PublishedError, match=r"gale2019 has no curves; .*: synflow2020"):
        published_grid.select("gale2019")


# ---------------------------------------------------------------- drawn again


def test_figure_6_is_the_same_bytes_and_says_its_source(tmp_path: Path) -> None:
    one = figures.draw_published("synflow2020", tmp_path / "one", figures.FORMATS)
    two = figures.draw_published("synflow2020", tmp_path / "two", figures.FORMATS)
    assert [p.name for p in one] == ["synflow2020.pdf", "synflow2020.png", "synflow2020.svg"]
    for path, again in zip(one, two, strict=True):
        assert path.read_bytes() == again.read_bytes()
        about = figures.trace(path)
        assert about["figure"] == "reference synflow2020"
        assert about["sha256"] == reference.sha256_of("synflow2020")
        assert "Synaptic-Flow" in about["source"]
        assert about["code"]
    assert float(PdfReader(one[0]).pages[0].mediabox.width) / 72 == pytest.approx(5.5, abs=0.01)
    with Image.open(one[1]) as image:
        assert json.loads(image.info["Provenance"])["file"] == "synflow2020_fig6_accuracy.csv"


def test_figure_6_owns_up_to_what_the_numbers_are() -> None:
    facts = published_grid.select("synflow2020")
    for said in ("Tanaka", "best over epochs on the test set", "2 to 5 times", "sign inverted"):
        assert said in facts.note
    with style.style():
        drawn = published_grid.draw(facts)
    axes = drawn.subfigs[2].axes
    assert len(axes) == 12
    titles = [ax.get_title().replace("\n", " ") for ax in axes[:4]]
    assert titles == [
        "VGG-11",
        "VGG-16",
        "ResNet-18",
        "ResNet-18 (published as Wide ResNet-18)",
    ]
    dashed = {line.get_color() for line in axes[0].lines if line.get_linestyle() == "--"}
    assert dashed == {style.METHODS["grasp"].colour}


# ---------------------------------------------------------------- beside one's own


def test_published_curves_stand_beside_the_same_problem_and_method(facts: Any) -> None:
    shown = [(one.dataset, one.network, one.method) for one in facts.beside]
    assert sorted(shown) == [("cifar10", "vgg16_bn", "grasp"), ("cifar10", "vgg16_bn", "snip")]
    assert all(len(one.points) == 9 for one in facts.beside), "no further than one's own"
    assert "best over epochs on the test set" in facts.note
    assert "sign inverted" in facts.note
    with style.style():
        drawn = accuracy_vs_sparsity.draw(facts)
    labels = [text.get_text() for sub in drawn.subfigs for text in _legend(sub)]
    assert labels.count("Published (Tanaka et al. 2020)") == 1
    [vgg, resnet] = drawn.subfigs[2].axes
    assert len(vgg.lines) == len(resnet.lines) + 2


def _legend(part: Any) -> list[Any]:
    return [text for legend in part.legends for text in legend.get_texts()]


def test_a_remark_is_made_only_of_what_is_shown(store: Path) -> None:
    with connect(store) as connection:
        one = {**OVERLAY, "methods": ["snip"]}
        assert "GraSP" not in figures.select(connection, "study", "accuracy-vs-sparsity", one).note
        one = {**OVERLAY, "networks": ["resnet20"]}
        facts = figures.select(connection, "study", "accuracy-vs-sparsity", one)
        assert not facts.beside
        assert "Tanaka et al. 2020 published none of these curves." in facts.note
        plain = figures.select(connection, "study", "accuracy-vs-sparsity", {})
        assert "Tanaka" not in plain.note


def test_published_numbers_never_enter_ones_own(store: Path, facts: Any) -> None:
    with connect(store) as connection:
        plain = figures.select(connection, "study", "accuracy-vs-sparsity", {})
        entry = {"accuracy-vs-sparsity": OVERLAY}
        about = figures.prepare(connection, "study", entry).about
    assert plain.panels == facts.panels
    assert plain.runs == facts.runs
    assert json.loads(about)["references"] == {"synflow2020": reference.sha256_of("synflow2020")}


def test_an_overlay_that_makes_no_sense_is_refused(store: Path) -> None:
    [said] = figures.check([{"accuracy-vs-sparsity": {"reference": ["gale2019"]}}])
    assert said == "accuracy-vs-sparsity: reference takes a list of synflow2020, not ['gale2019']"
    with connect(store) as connection, pytest.raises(FigureError, match="goes with metric"):
        figures.select(connection, "study", "accuracy-vs-sparsity", {**OVERLAY, "metric": "loss"})


def test_differences_are_own_less_published_at_equal_compression(store: Path) -> None:
    with connect(store) as connection:
        rows = against(connection, "study", "synflow2020").to_pylist()
    assert len(rows) == 18, "two methods at nine compressions; neither shuffled nor ResNet-20"
    assert {row["problem"] for row in rows} == {"VGG-16 on CIFAR-10"}
    [row] = [r for r in rows if r["method"] == "SNIP" and round(r["compression"]) == 10]
    assert row["own"] == pytest.approx(100 * (0.9 - 0.01 - 0.09))
    [theirs] = [
        p.shown.centre
        for c in published.translated("synflow2020")
        if (c.dataset, c.network, c.method) == ("cifar10", "vgg16_bn", "snip")
        for p in c.points
        if round(1 / p.density) == 10
    ]
    assert row["difference"] == pytest.approx(80 - theirs)
    assert row["replicates"] == 3
    assert row["remark"] is None
    assert all("inverted" in r["remark"] for r in rows if r["method"] == "GraSP")


def _dense(row: Row) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"networks": ("resnet20",)}, r"no pair of synflow2020, which has cifar10: resnet18_s"),
        ({"densities": (0.7,)}, "no compression of synflow2020, which has 1, 1.78, 3.16"),
    ],
)
def test_nothing_to_compare_says_what_there_would_be(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    axes = {"networks": ("vgg16_bn",), "settings": ({"dataset": "cifar10"},), **changes}
    Study(_dense, **axes).write(tmp_path)
    with connect(tmp_path) as connection, pytest.raises(PublishedError, match=problem):
        against(connection, "study", "synflow2020")
