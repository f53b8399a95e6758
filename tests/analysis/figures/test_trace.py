"""From the file of a figure back to its runs, and whether it would be drawn the same today."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis import figures
from analysis.database.connection import connect
from analysis.figures import tracing
from tests.support.build_store import Row, Study, key_of, run_row, trial, write_live, write_sweep
from tombola.errors import AnalysisError, FigureError, QueryError, StoreError

ASKED = ["accuracy-vs-sparsity", {"ablations": {"title": 'A & B <"1">'}}, "density-by-layer"]


def accuracy(row: Row) -> float:
    return 0.5 + row["requested_density"] / 4 + row["replicate"] / 16


def write(store: Path, **changes: Any) -> Path:
    Study(accuracy, **{"ablations": ("none", "shuffle"), **changes}).write(store)
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("trace") / "store")


@pytest.fixture(scope="module")
def drawn(store: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return figures.draw(store, "study", ASKED, tmp_path_factory.mktemp("drawn"), figures.FORMATS)


# ---------------------------------------------------------------- what a file says


def test_each_format_says_the_same(drawn: list[Path]) -> None:
    assert [path.suffix for path in drawn] == [".pdf", ".png", ".svg"] * 3
    for n in range(0, 9, 3):
        pdf, png, svg = map(figures.trace, drawn[n : n + 3])
        assert pdf == png == svg
    assert figures.trace(drawn[5])["options"] == {"title": 'A & B <"1">'}


def test_an_svg_is_the_same_bytes_and_its_text_is_text(
    store: Path, drawn: list[Path], tmp_path: Path
) -> None:
    again = figures.draw(store, "study", ASKED, tmp_path, ("svg",))
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in drawn if p.suffix == ".svg"]
    assert ">Weights remaining (%)</text>" in again[0].read_text()
    assert "STIXGeneral" in again[0].read_text()


@pytest.mark.parametrize("formats", [("jpg",), (), ("pdf", "PNG")])
def test_a_format_that_there_is_not_writes_nothing(
    formats: tuple[str, ...], store: Path, tmp_path: Path
) -> None:
    with pytest.raises(FigureError, match="known: pdf, png, svg"):
        figures.draw(store, "study", ASKED, tmp_path / "out", formats)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"%PDF-1.4 /Keywords (no)",
        b"\x89PNG\r\n\x1a\n",
        b"<dc:description>[1]</dc:description>",
        b"<dc:description>" + b"[" * 100_000 + b"</dc:description>",
    ],
)
def test_a_file_that_is_not_ours_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(FigureError, match="no figure of ours"):
        figures.trace(path)
    with pytest.raises(FigureError, match="No such file"):
        figures.trace(tmp_path / "none.pdf")


# ---------------------------------------------------------------- the runs behind it


def test_every_trial_behind_a_figure_is_listed_once(store: Path, drawn: list[Path]) -> None:
    for path in drawn:
        with connect(store) as connection:
            about = figures.trace(path)
            rows = tracing.runs(connection, about).to_pylist()
            assert tracing.changes(connection, about) == []
        assert len({row["key"] for row in rows}) == about["runs"]
    [row] = [
        row
        for row in rows
        if (row["method"], row["ablation"], row["density"], row["replicate"])
        == ("snip", "none", 0.1, 2)
    ]
    assert row["accuracy"] == pytest.approx(0.5 + 0.1 / 4 + 2 / 16)
    assert len(row["key"]) == 12


def test_what_changed_is_said(store: Path, drawn: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    about = figures.trace(drawn[0])
    more = trial(key_of("more"), network="lenet_300_100", requested_density=0.01)
    write_live(copy, run_row(more["run_key"], 0.4, 0.01))
    first = Study(accuracy, ablations=("none", "shuffle")).trials()
    later = "2026-02-01T00:00:00.000000"
    write_sweep(copy, "study", [*first, more], revision="r2", registered_at=later)
    with connect(copy) as connection:
        assert tracing.changes(connection, about) == [
            "the sweep has other trials now",
            "9 runs behind it then, 10 now",
        ]
        other = {**about, "digest": "0" * 64, "revision": "r2", "runs": 10}
        [why] = tracing.changes(connection, other)
        assert "other results" in why


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sql": "DROP TABLE tasks"}, "a query is a SELECT"),
        ({"sql": "SELECT 1; DROP TABLE tasks"}, "a query is a SELECT"),
        ({"sql": "SELECT nothing FROM trials"}, "of another version"),
        ({"sql": "SELECT trial FROM trials WHERE sweep = $sweep"}, "of another version"),
        ({"sql": None}, "not a figure of this version"),
        ({"figure": "pie"}, "not a figure of this version: no figure 'pie'"),
        ({"options": {"colour": "red"}}, "has no option 'colour'"),
        ({"sweep": "other"}, "no pruned trial of sweep other"),
    ],
)
def test_a_provenance_that_cannot_be_followed_is_told(
    changes: dict[str, Any], problem: str, store: Path, drawn: list[Path]
) -> None:
    about = {**figures.trace(drawn[0]), **changes}
    with connect(store) as connection, pytest.raises(AnalysisError, match=problem) as told:
        tracing.runs(connection, about)
    assert isinstance(told.value, FigureError | QueryError)


# ---------------------------------------------------------------- fresh, stale, missing


def test_a_folder_is_compared_with_the_store(store: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    out = tmp_path / "out"
    assert set(map(tuple, figures.compare(copy, "study", ASKED, out).values())) == {("missing",)}
    assert not out.exists(), "comparing draws nothing"
    figures.draw(copy, "study", ASKED, out)
    found = figures.compare(copy, "study", ASKED, out, ("pdf", "png", "svg"))
    assert [path.suffix for path, why in found.items() if why] == [".svg"] * 3
    (out / "ablations.png").write_bytes(b"drawn by hand")
    asked = [{"accuracy-vs-sparsity": {"spread": "ci95"}}, *ASKED[1:]]
    found = {path.name: why for path, why in figures.compare(copy, "study", asked, out).items()}
    assert found["accuracy-vs-sparsity.pdf"] == ["other options"]
    assert found["ablations.png"] == ["it does not say where it comes from"]
    assert found["density-by-layer.png"] == []


def test_files_of_any_name_are_compared_by_what_they_say(
    store: Path, drawn: list[Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    folder = tmp_path / "docs" / "deep"
    folder.mkdir(parents=True)
    for name, file in (("one.pdf", 0), ("two.png", 1), ("three.svg", 5)):
        shutil.copy(drawn[file], folder / name)
    (folder / "logo.svg").write_text("<svg/>")
    (folder / "notes.txt").write_text("no picture")
    [published] = figures.draw_published("synflow2020", folder, ("png",))

    def words(root: Path, *places: Path) -> dict[str, str]:
        found = tracing.standings(root, places)
        assert all(bool(one.why) == (one.word != "fresh") for one in found.values())
        return {path.name: one.word for path, one in found.items()}

    ours = ("one.pdf", "three.svg", "two.png")
    rest = {"logo.svg": "foreign", published.name: "fresh"}
    assert words(copy, tmp_path / "docs") == dict.fromkeys(ours, "fresh") | rest
    assert words(copy, folder / "one.pdf", folder / "logo.svg") == {
        "one.pdf": "fresh",
        "logo.svg": "foreign",
    }
    for path in (copy / "sweeps").iterdir():
        path.unlink()
    Study(accuracy).write(copy, "other")
    assert words(copy, tmp_path / "docs") == dict.fromkeys(ours, "unknown") | rest
    write_sweep(copy, "study", Study(accuracy).trials()[:4])
    assert words(copy, tmp_path / "docs") == dict.fromkeys(ours, "stale") | rest
    with pytest.raises(FigureError, match="nowhere: no such file"):
        words(copy, tmp_path / "nowhere")


# ---------------------------------------------------------------- from Python


def test_a_notebook_connects_and_shows(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert analysis.connect(store).sql("SELECT count(*) FROM trials").fetchall() == [(15,)]
    shown = analysis.figure("ablations", store, "study", methods=["snip"], width="icml-column")
    assert shown.get_size_inches()[0] == pytest.approx(3.25)
    assert shown._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(FigureError, match="did you mean ablations"):
        analysis.figure("ablation", store, "study")
    with pytest.raises(FigureError, match="has no option 'method'"):
        analysis.figure("ablations", store, "study", method="snip")
    with pytest.raises(StoreError, match="no sweep 'other'"):
        analysis.figure("ablations", store, "other")


# ---------------------------------------------------------------- the command line


def test_the_commands(
    store: Path, drawn: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from tombola.cli import app

    monkeypatch.chdir(tmp_path)
    # What the command line asks of a store before it opens it.
    copy = Path(shutil.copytree(store, tmp_path / "s"))
    from tombola.store.publish import open_store

    open_store(copy, create=True)

    def tombola(*words: object) -> tuple[int, str]:
        ran = CliRunner().invoke(app, [str(word) for word in words])
        return ran.exit_code, ran.output

    code, said = tombola("trace", drawn[2])
    assert (code, json.loads(said.partition("options    ")[2].splitlines()[0])) == (0, {})
    code, said = tombola("trace", drawn[2], "--store", copy)
    assert code == 0
    assert "replicate" in said
    assert said.splitlines()[-1].startswith("fresh")
    assert tombola("trace", "none.pdf")[0] == 2

    code, said = tombola("reference")
    assert code == 0
    assert "synflow2020: SynFlow's figure 6" in said
    code, said = tombola("reference", "synflow2020", "--out", "r", "--format", "png")
    assert (code, said) == (0, "r/synflow2020.png\n")
    code, said = tombola("trace", "r/synflow2020.png", "--store", copy)
    assert said.splitlines()[-1] == "fresh    r/synflow2020.png"
    assert "no curves to draw" in tombola("reference", "blalock2020")[1]
    code, said = tombola("reference", "synflow2020", "--against", "study", "--store", copy)
    assert code == 2
    assert said.startswith("error: sweep study has no pair of synflow2020, which has cifar10:")

    write_sweep(copy, "study", Study(accuracy).trials(), figures=["accuracy-vs-sparsity"])
    asked = ("figures", "study", "--store", copy, "--out", "f", "--format", "svg")
    assert tombola(*asked, "--check") == (1, "missing  f/accuracy-vs-sparsity.svg\n")
    assert tombola(*asked) == (0, "f/accuracy-vs-sparsity.svg\n")
    assert tombola(*asked, "--check") == (0, "fresh    f/accuracy-vs-sparsity.svg\n")
    write_sweep(copy, "study", Study(accuracy).trials()[:4], figures=["accuracy-vs-sparsity"])
    code, said = tombola(*asked, "--check")
    assert code == 1
    assert said.startswith("stale    f/accuracy-vs-sparsity.svg: ")
    Path("f").rename("docs")
    any_file = ("figures", "--check", "--store", copy)
    assert tombola(*any_file, "docs") == (1, said.replace(" f/", " docs/"))
    fresh = (0, "fresh    r/synflow2020.png\n")
    assert tombola(*any_file, "r/synflow2020.png") == tombola(*any_file, "r") == fresh
    assert tombola(*any_file, "s") == (2, "error: no figure of tombola in s\n")
    assert tombola("figures", "study", "r", "--store", copy)[1].startswith("error: only one sweep")
