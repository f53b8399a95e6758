"""Tables for papers: contents of cells, meaning of marks, and the same bytes each time."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from analysis import tables
from analysis.database.connection import connect
from analysis.selection import samples
from analysis.tables import content
from tests.support import build_store
from tests.support.build_store import Row, key_of, mask_row, run_row, trial, write_live
from tombola.cli import app
from tombola.errors import StoreError

OF = {
    "imp": (0.951, 0.949, 0.952, 0.948, 0.95),
    "snip": (0.949, 0.95, 0.951, 0.947, 0.95),
    "random": (0.80, 0.81, 0.79, 0.80, 0.82),
    "dense": (0.96, 0.961, 0.962, 0.963, 0.964),
}
METHODS = ("imp", "snip", "random")


def accuracy(row: Row) -> float:
    return OF[row["method"]][row["replicate"]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    axes: dict[str, Any] = {"networks": ("vgg16_bn", "my_net")}
    build_store.Study(accuracy, METHODS, replicates=range(5), **axes).write(tmp_path / "store")
    return tmp_path / "store"


def content_of(store: Path) -> content.Table:
    with connect(store) as connection:
        return content.table(samples.read(connection, "study"))


def provenance(text: str) -> dict[str, Any]:
    line = text.strip().splitlines()[-1]
    about: dict[str, Any] = json.loads(re.sub(r"^(<!--|%) | -->$", "", line))
    return about


# ---------------------------------------------------------------- content


def test_cells_stand_as_their_tests_say(store: Path) -> None:
    table = content_of(store)
    assert [block.title for block in table.blocks] == ["VGG-16 on digits", "my net on digits"]
    for block in table.blocks:
        assert (block.densities, block.names) == ((0.5, 0.1), ("IMP", "SNIP", "Random"))
        assert {name: cell.standing for (name, _), cell in block.cells.items()} == {
            "IMP": "best",
            "SNIP": "close",
            "Random": "plain",
        }
    assert table.n == 5


def test_equal_means_are_all_best(tmp_path: Path) -> None:
    build_store.Study(lambda row: 0.5, ("imp", "snip"), (0.5,)).write(tmp_path)
    [block] = content_of(tmp_path).blocks
    assert {cell.standing for cell in block.cells.values()} == {"best"}


def test_a_method_alone_is_not_the_best_of_anything(tmp_path: Path) -> None:
    build_store.Study(accuracy, ("snip",), (0.5,)).write(tmp_path)
    text = tables.render(tmp_path, "study")
    assert "**94" not in text
    assert "best mean" not in text
    assert "†" not in text


def test_one_replicate_has_no_spread_and_no_test(tmp_path: Path) -> None:
    build_store.Study(accuracy, METHODS, (0.5,), replicates=(0,)).write(tmp_path)
    text = tables.render(tmp_path, "study")
    assert "one replicate, so no spread and no test" in text
    assert "±" not in text
    assert "t-test" not in text
    assert "| SNIP | 94.90 ‡ |" in text
    assert "‡: not tested" in text


def test_a_cell_of_fewer_replicates_says_so(tmp_path: Path) -> None:
    rows = build_store.Study(accuracy, METHODS, replicates=range(5)).trials()
    build_store.write_sweep(tmp_path, "study", rows)
    for one in rows:
        if one["method"] == "snip" and one["requested_density"] == 0.1 and one["replicate"] > 1:
            continue
        if one["method"] == "random" and one["requested_density"] == 0.5:
            continue
        write_live(tmp_path, run_row(one["run_key"], accuracy(one)))
        if one.get("mask_key"):
            write_live(tmp_path, mask_row(one["mask_key"], one["requested_density"], [1]))
    text = tables.render(tmp_path, "study")
    assert "| SNIP | 94.94 ± 0.15 † | 94.95 ± 0.07 (n = 2) † |" in text
    assert "| Random | – | 80.40 ± 1.14 |" in text
    assert "of 5 replicates, where n says no other. 27 of 35 trials done." in text


# ---------------------------------------------------------------- formats


def test_markdown(store: Path) -> None:
    text = tables.render(store, "study")
    lines = text.splitlines()
    assert lines[:6] == [
        "**VGG-16 on digits** (Dense 96.20 ± 0.16)",
        "",
        "| weights remaining | 50 % | 10 % |",
        "| --- | ---: | ---: |",
        "| IMP | **95.00 ± 0.16** | **95.00 ± 0.16** |",
        "| SNIP | 94.94 ± 0.15 † | 94.94 ± 0.15 † |",
    ]
    assert "mean ± standard deviation of 5 replicates" in text
    assert "(step-down min-P, Westfall and Young 1993), α = 0.05" in text


def test_a_table_says_where_it_comes_from_and_is_the_same_each_time(store: Path) -> None:
    for format in ("markdown", "latex"):
        text = tables.render(store, "study", format)  # type: ignore[arg-type]
        assert text == tables.render(store, "study", format)  # type: ignore[arg-type]
        about = provenance(text)
        assert (about["sweep"], about["revision"], about["runs"]) == ("study", "r1", 2 * 35)
        assert len(about["digest"]) == 64
        assert "FROM trials" in about["sql"]
    fewer = provenance(tables.render(store, "study", densities=[0.5], methods=["imp"]))
    assert fewer["runs"] == 2 * 10, "of what is shown, and the dense beside it"
    assert fewer["options"]["densities"] == [0.5]
    assert fewer["digest"] != about["digest"]


def test_latex_is_whole_and_escaped(store: Path) -> None:
    text = tables.render(store, "study", "latex")
    body = [line for line in text.splitlines() if not line.startswith("%")]
    joined = "\n".join(body)
    for name in ("table", "tabular"):
        assert joined.count(rf"\begin{{{name}}}") == joined.count(rf"\end{{{name}}}") == 1
    assert joined.count("{") == joined.count("}")
    for line in body:
        assert re.sub(r"\\.", "", line).count("$") % 2 == 0
        assert not re.search(r"(?<!\\)[%#]", line)
    rows = [line for line in body if " & " in line]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in rows)
    assert all(line.endswith(r" \\") for line in rows)
    assert text.isascii(), "any input encoding will do"
    assert r"IMP & $\mathbf{95.00} \pm \num{0.16}$" in text
    assert r"$\num{94.94} \pm \num{0.15}$\rlap{$^{\dagger}$}" in text
    assert r"\label{tab:study}" in text


def test_names_of_ones_own_are_escaped(tmp_path: Path) -> None:
    odd = '{"a_b": "50%|c"}'
    settings: list[Row] = [{"options": odd}, {"options": "{}"}]
    build_store.Study(accuracy, ("snip",), (0.5,), of_method={"snip": settings}).write(tmp_path)
    assert r"SNIP, a b 50\%\textbar{}c" in tables.render(tmp_path, "study", "latex")
    assert r"| SNIP, a b 50%\|c |" in tables.render(tmp_path, "study")
    comment = tables.render(tmp_path, "study", methods=["snip"]).splitlines()[-1]
    assert comment.count("--") == 2, "an HTML comment ends at its end alone"


def test_csv_is_tidy_and_exact(store: Path) -> None:
    text = tables.render(store, "study", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * (1 + 6)
    for row in rows:
        name = {"IMP": "imp", "SNIP": "snip", "Random": "random", "Dense": "dense"}[row["method"]]
        values = [100 * value for value in OF[name]]
        assert row["n"] == "5"
        assert float(row["mean"]) == mean(values)
        assert float(row["std"]) == pytest.approx(stdev(values))
        assert [float(v.partition("=")[2]) for v in row["values"].split()] == values
        if name in ("snip", "random"):
            assert row["baseline"] == "IMP"
            assert float(row["difference"]) == pytest.approx(
                float(row["mean"]) - mean(100 * value for value in OF["imp"])
            )
            assert float(row["t_p"]) <= float(row["adjusted_p"]) <= 1
        else:
            assert row["t_p"] == row["adjusted_p"] == row["baseline"] == ""


def test_a_run_that_diverged_breaks_no_table(tmp_path: Path) -> None:
    rows = [
        trial(key_of(m, n), method=m, replicate=n, mask_key=key_of("m", m, n))
        for m in ("snip", "imp")
        for n in range(3)
    ]
    build_store.write_sweep(tmp_path, "study", rows)
    for n, one in enumerate(rows):
        loss = float("nan") if n == 0 else 0.5 + n / 10
        last = [{"step": 100, "split": "test", "loss": loss, "accuracy": 0.5}]
        write_live(tmp_path, run_row(one["run_key"], evals=last))
        write_live(tmp_path, mask_row(one["mask_key"], 0.5, [1]))
    assert "nan ± nan" in tables.render(tmp_path, "study", metric="loss")
    assert r"$\mathrm{nan} \pm \mathrm{nan}$" in tables.render(
        tmp_path, "study", "latex", metric="loss"
    )


def has_latex() -> bool:
    if not shutil.which("pdflatex") or not (find := shutil.which("kpsewhich")):
        return False
    packages = [find, "booktabs.sty", "siunitx.sty"]
    found = subprocess.run(packages, capture_output=True, text=True, check=False)
    return found.stdout.count("\n") == 2


@pytest.mark.skipif(not has_latex(), reason="takes pdflatex with booktabs and siunitx")
def test_pdflatex_sets_the_tables_within_the_text_of_a_paper(tmp_path: Path) -> None:
    """With unusual names, marks, several networks, and more densities than fit in a line."""
    odd = json.dumps({"a_b|c": "50% R&D #1 {x} ^~\\ <é> $5 μ"})
    settings: list[Row] = [{"options": odd}, {"options": "{}"}]
    study = build_store.Study(accuracy, ("snip",), (0.5,), of_method={"snip": settings})
    study.write(tmp_path / "odd")
    axes: dict[str, Any] = {"networks": ("vgg16_bn", "my_net&"), "replicates": range(5)}
    levels = tuple(0.8**n for n in range(1, 7))
    build_store.Study(accuracy, METHODS, levels, **axes).write(tmp_path / "levels")
    found = [tables.render(tmp_path / name, "study", "latex") for name in ("odd", "levels")]
    document = [
        r"\documentclass{article}\usepackage[textwidth=5.5in]{geometry}",
        r"\usepackage{booktabs}\usepackage{siunitx}\begin{document}",
        *found,
        r"\end{document}",
    ]
    (tmp_path / "paper.tex").write_text("\n".join(document))
    ran = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
        check=False,
    )
    said = ran.stdout.decode(errors="replace")
    assert ran.returncode == 0, said[-2000:]
    assert "Overfull" not in said
    assert "Output written on paper.pdf" in said


# ---------------------------------------------------------------- the command


def invoke(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["table", *arguments, "--store", str(store)])


def test_the_command_prints_or_writes(store: Path, tmp_path: Path) -> None:
    assert invoke(store, "study").output == tables.render(store, "study")
    out = tmp_path / "new" / "table.tex"
    written = invoke(
        store,
        *("study", "--format", "latex", "--out", str(out)),
        *("--methods", "imp, snip", "--densities", "0.5"),
    )
    assert written.output == f"{out}\n"
    assert out.read_text() == tables.render(
        store, "study", "latex", methods=["imp", "snip"], densities=[0.5]
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("other",), "no sweep 'other'; it has study"),
        (("study", "--metric", "acc"), "no metric 'acc'; known: accuracy"),
        (("study", "--densities", "half"), "--densities takes comma-separated numbers"),
        (("study", "--densities", "0.3"), "no trial at density 0.3; there are 0.5, 0.1"),
        (("study", "--methods", "imp,snap"), "no finished trial of snap; it has imp, random, snip"),
    ],
)
def test_a_bad_table_is_one_clear_line(
    store: Path, arguments: tuple[str, ...], problem: str
) -> None:
    ran = invoke(store, *arguments)
    assert ran.exit_code == 2
    assert problem in ran.output
    assert ran.output.count("\n") == 1


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        tables.render(tmp_path / "no", "study")
