"""Text of a table as LaTeX, Markdown or CSV."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from math import ceil, isfinite
from typing import Any

from analysis import style
from analysis.selection.samples import Sample
from analysis.tables.content import Block, Cell, Table, words
from tombola import rounding
from tombola.text import cell, visible

_NONE = "–"
_ACROSS = 4

_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after a line's end it would open an option
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "α": r"$\alpha$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
}
"""Characters that LaTeX needs escaped, in text and with any input encoding."""

_COLUMNS = (
    *("network", "dataset", "method", "density", "n", "mean", "std", "values"),
    *("standing", "baseline", "pairs", "difference", "low", "high", "effect"),
    *("t_p", "wilcoxon_p", "adjusted_p"),
)


# ---------------------------------------------------------------- Markdown


def markdown(table: Table, about: str) -> str:
    """Return a Markdown table for each network and dataset, then caption and provenance."""
    parts = [line for block in table.blocks for line in _markdown_block(table, block)]
    caption = words(table, "**Bold**", "†", "‡")
    # A comment ends at the first "--": JSON has hyphens in strings alone, where they may be \u002d.
    safe = about.replace("--", r"\u002d\u002d")
    return "\n".join([*parts, caption, "", f"<!-- {safe} -->", ""])


def _markdown_block(table: Table, block: Block) -> Iterable[str]:
    dense = "; ".join(f"{_escaped(d.name)} {_plain(table, d)}" for d in block.dense)
    yield f"**{_escaped(block.title)}**" + (f" ({dense})" if dense else "")
    yield ""
    yield _line(["weights remaining", *(f"{style.percent(d)} %" for d in block.densities)])
    yield _line(["---", *("---:" for _ in block.densities)])
    for name in block.names:
        cells = (block.cells.get((name, density)) for density in block.densities)
        yield _line([_escaped(name), *(_markdown_cell(table, cell) for cell in cells)])
    yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(table: Table, cell: Cell | None) -> str:
    if cell is None:
        return _NONE
    text = _plain(table, cell.sample)
    marks = {"best": f"**{text}**", "close": f"{text} †", "untested": f"{text} ‡", "plain": text}
    return marks[cell.standing]


def _plain(table: Table, sample: Sample) -> str:
    std = "" if sample.std is None else f" ± {rounding.text(sample.std, table.digits)}"
    return f"{rounding.text(sample.mean, table.digits)}{std}{_other_n(table, sample)}".replace(
        "-", "−"
    )


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<>|\[\]$~&])", r"\\\1", visible(text))


# ---------------------------------------------------------------- LaTeX


def latex(table: Table, about: str) -> str:
    """Return a LaTeX `table` with caption and label; it needs booktabs and siunitx."""
    most = max(len(part) for block in table.blocks for part in _parts(block.densities))
    caption = _tex(words(table, "Bold", "†", "‡"))
    body = [line for block in table.blocks for line in _latex_block(table, block, most)]
    lines = [
        r"% Takes \usepackage{booktabs} and \usepackage{siunitx}.",
        r"\begin{table}",
        r"  \centering",
        r"  \small",
        r"  \setlength{\belowcaptionskip}{6pt}",
        rf"  \caption{{{caption}}}",
        rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', table.sweep)}}}",
        rf"  \begin{{tabular}}{{l{'r' * most}}}",
        r"    \toprule",
        *(f"    {line}" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        f"% {about}",
    ]
    return "\n".join([*lines, ""])


def _latex_block(table: Table, block: Block, most: int) -> Iterable[str]:
    if block is not table.blocks[0]:
        yield r"\midrule"
    dense = "; ".join(f"{_tex(d.name)} {_latex_number(table, d)}" for d in block.dense)
    title = _tex(block.title) + (f" ({dense})" if dense else "")
    yield rf"\multicolumn{{{most + 1}}}{{l}}{{{title}}} \\"
    for number, densities in enumerate(_parts(block.densities)):
        if number:
            yield r"\midrule"
        heads = [rf"\num{{{style.percent(d)}}}\,\%" for d in densities]
        yield _latex_line(["Weights remaining", *heads], most)
        yield r"\midrule"
        for name in block.names:
            cells = (block.cells.get((name, density)) for density in densities)
            yield _latex_line([_tex(name), *(_latex_cell(table, cell) for cell in cells)], most)


def _parts(densities: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Split densities into lines that fit a text width of 5.5 inches."""
    lines = ceil(len(densities) / _ACROSS)
    each = ceil(len(densities) / max(lines, 1))
    return [densities[at : at + each] for at in range(0, len(densities), max(each, 1))]


def _latex_line(cells: list[str], most: int) -> str:
    return " & ".join(cells + [""] * (most + 1 - len(cells))).rstrip() + r" \\"


def _latex_cell(table: Table, cell: Cell | None) -> str:
    if cell is None:
        return "--"
    marks = {"close": r"\rlap{$^{\dagger}$}", "untested": r"\rlap{$^{\ddagger}$}"}
    number = _latex_number(table, cell.sample, bold=cell.standing == "best")
    return number + marks.get(cell.standing, "")


def _latex_number(table: Table, sample: Sample, *, bold: bool = False) -> str:
    r"""Return mean ± std; bold uses \mathbf, because the options of \num differ by version."""
    mean = rounding.text(sample.mean, table.digits)
    shown = rf"\mathbf{{{mean}}}" if bold else _num(sample.mean, mean)
    if sample.std is not None:
        shown += rf" \pm {_num(sample.std, rounding.text(sample.std, table.digits))}"
    return f"${shown}${_other_n(table, sample)}"


def _num(value: float, text: str) -> str:
    return rf"\num{{{text}}}" if isfinite(value) else rf"\mathrm{{{text}}}"


def _tex(text: str) -> str:
    return "".join(_LATEX.get(char) or _letter(char) for char in visible(text))


def _letter(char: str) -> str:
    """Return a character that every LaTeX has, or the code point of another one."""
    known = char.isascii() or unicodedata.name(char, "").startswith("LATIN")
    return char if known else f"U+{ord(char):04X}"


# ---------------------------------------------------------------- CSV


def tidy(table: Table, _about: str) -> str:
    """Return CSV with a row for each method, density, network and dataset, dense first.

    `values` are replicate=value. Difference, interval (95 %), effect (d_z) and p-values are of the
    pairs with `baseline`, the best of the column. `adjusted_p` is that of the t-test, corrected for
    the choice of the best and the number of methods.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for block in table.blocks:
        writer.writerows(_row(_facts(sample)) for sample in block.dense)
        for density in block.densities:
            cells = (block.cells.get((name, density)) for name in block.names)
            writer.writerows(_row(_facts(c.sample) | _tests(c)) for c in cells if c is not None)
    return stream.getvalue()


def _row(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: cell(value) for name, value in facts.items()}


def _facts(sample: Sample) -> dict[str, Any]:
    return {
        "network": sample.network,
        "dataset": sample.dataset,
        "method": sample.name,
        "density": sample.density,
        "n": sample.n,
        "mean": sample.mean,
        "std": sample.std,
        "values": " ".join(f"{n}={value!r}" for n, value in sorted(sample.values.items())),
    }


def _tests(cell: Cell) -> dict[str, Any]:
    values: dict[str, Any] = {"standing": cell.standing}
    if cell.comparison:
        values |= {"baseline": cell.comparison.baseline.name, "adjusted_p": cell.comparison.p}
    if cell.comparison and (paired := cell.comparison.paired):
        values |= {
            "pairs": paired.n,
            "difference": paired.mean,
            "low": paired.interval and paired.interval.low,
            "high": paired.interval and paired.interval.high,
            "effect": paired.effect,
            "t_p": paired.t_p,
            "wilcoxon_p": paired.wilcoxon_p,
        }
    return values


# ---------------------------------------------------------------- shared


def _other_n(table: Table, sample: Sample) -> str:
    return "" if sample.n == table.n else f" (n = {sample.n})"
