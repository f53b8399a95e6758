"""The report: a whole sweep in one file, the same bytes from the same store, safe to open."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analysis import report
from analysis.database.connection import connect
from analysis.report import queries, tables
from tests.support.build_store import (
    Study,
    key_of,
    mask_row,
    note,
    run_row,
    trial,
    write_live,
    write_sweep,
)
from tests.support.small import tombola
from tombola.errors import StoreError

FIGURES = ["accuracy-vs-sparsity", {"ablations": {"title": "<i>Which</i> weights?"}}]
EVIL = "</script><script>alert('x')</script><img src=//evil.example/x onerror=alert(1)>"


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def attributes(self, name: str) -> list[str]:
        return [value for _, found in self.tags for key, value in found.items() if key == name]


def written(store: Path, name: str = "study") -> str:
    return report.write(store, name, store / "out" / "report.html").read_text()


def cells(text: str, section: str) -> list[list[str]]:
    """Return the rows of the first table of a section."""
    inside = text[text.index(f'<section id="{section}">') :].partition("</table>")[0]
    rows = re.findall(r"<tr>(<td.*?)</tr>", inside, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    Study(
        lambda row: 0.9 + 0.01 * row["replicate"],
        methods=["snip", "random"],
        ablations=["none", "shuffle"],
    ).write(folder, figures=FIGURES)
    return folder


def test_the_same_store_gives_the_same_bytes(store: Path) -> None:
    first = report.write(store, "study", store / "one" / "report.html")
    second = report.write(store, "study", store / "two.html")
    assert first.read_bytes() == second.read_bytes()
    ran = tombola("report", "study", "--store", store, "--out", store / "three.html", cwd=store)
    assert ran.returncode == 0, ran.stderr
    assert (store / "three.html").read_bytes() == first.read_bytes(), "also in another process"
    assert [path.name for path in first.parent.iterdir()] == ["report.html"], "nothing is left"


def test_a_mean_is_of_its_replicates_and_no_other_setting(tmp_path: Path) -> None:
    settings = [{"lr": 0.1}, {"lr": 0.2}]
    Study(lambda row: row["lr"] + 0.1 * row["replicate"], settings=settings, densities=[0.5]).write(
        tmp_path
    )
    found = cells(written(tmp_path), "results")
    assert [row[2:7] for row in found] == [
        ["0.1", "100", "3", "20", "10"],
        ["0.2", "100", "3", "30", "10"],
        ["0.1", "50", "3", "20", "10"],
        ["0.2", "50", "3", "30", "10"],
    ]


def test_a_run_that_two_trials_share_counts_once(tmp_path: Path) -> None:
    run, mask = key_of("run"), key_of("mask")
    twice = [trial(run, mask_key=mask), trial(run, mask_key=mask, grid=1)]
    write_sweep(tmp_path, "study", twice)
    write_live(tmp_path, run_row(run, density=0.5))
    write_live(tmp_path, mask_row(mask, 0.5))
    [row] = cells(written(tmp_path), "results")
    assert row[3] == "1"


def test_runs_that_no_setting_tells_apart_are_told_apart_by_their_grid(tmp_path: Path) -> None:
    runs = [key_of("run", grid) for grid in range(2)]
    write_sweep(tmp_path, "study", [trial(run, grid=grid) for grid, run in enumerate(runs)])
    for run in runs:
        write_live(tmp_path, run_row(run, density=0.5))
    assert [row[2:5] for row in cells(written(tmp_path), "results")] == [
        ["grid 0", "50", "1"],
        ["grid 1", "50", "1"],
    ]


def test_every_query_shown_runs_as_it_stands(store: Path) -> None:
    from analysis.database import sql

    text = written(store)
    shown = re.findall(r"<summary>SQL</summary><pre>(.*?)</pre>", text, re.DOTALL)
    assert len(shown) >= 4
    import html

    for query in shown:
        assert sql.query(store, html.unescape(query)).num_rows


def test_figures_stand_beside_each_other_without_sharing_an_id(store: Path) -> None:
    text = written(store)
    parsed = Parsed(text)
    ids = parsed.attributes("id")
    assert len(ids) == len(set(ids))
    referred = re.findall(r"url\(#([^)]+)\)", text)
    referred += [href[1:] for href in parsed.attributes("xlink:href")]
    assert referred
    assert set(referred) <= set(ids)
    assert text.count("<svg") == 2 * len(FIGURES), "for a sheet and for a phone"
    for words in ("Mean of 3 replicates", "FROM trials", "runs with digest", "By figure"):
        assert words in text


def test_nothing_is_loaded_from_anywhere(store: Path) -> None:
    text = written(store)
    parsed = Parsed(text)
    links = [*parsed.attributes("src"), *parsed.attributes("href"), *parsed.attributes("action")]
    assert all(link.startswith("#") for link in links)
    assert not {tag for tag, _ in parsed.tags} & {"link", "img", "iframe", "object", "base"}
    assert not re.search(r"@import|url\((?!#)", text)
    [policy] = [
        found["content"] for tag, found in parsed.tags if tag == "meta" and "http-equiv" in found
    ]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_what_a_sweep_or_a_store_says_is_text(tmp_path: Path) -> None:
    run, failed = key_of("run"), key_of("failed")
    rows = [
        trial(run, method=EVIL, network=EVIL, options=json.dumps({"a": EVIL})),
        trial(failed, method=EVIL, ablation=EVIL, schedule=EVIL),
    ]
    write_sweep(
        tmp_path, "study", rows, figures=[{"accuracy-vs-sparsity": {"title": EVIL}}, {EVIL: {}}]
    )
    write_live(tmp_path, run_row(run, code=EVIL, device=EVIL, torch=EVIL))
    event = {"key": failed, "kind": "run", "noted_at": "2026-01-01T00:00:00", "attempt": 1}
    note(tmp_path, {**event, "event": "failed", "failure": EVIL, "message": f"`{EVIL}`"})
    text = written(tmp_path)
    parsed = Parsed(text)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert not any(key.startswith("on") for _, found in parsed.tags for key in found)
    assert "<img" not in text
    assert "&lt;img" in text


def test_failures_are_grouped_and_those_done_since_are_left_out(tmp_path: Path) -> None:
    keys = [key_of("run", n) for n in range(4)]
    write_sweep(tmp_path, "study", [trial(key, replicate=n) for n, key in enumerate(keys)])
    write_live(tmp_path, run_row(keys[3]))
    told = [
        {
            "event": "failed", "key": key, "kind": "run", "attempt": 1, "failure": "raised",
            "message": "out of memory", "noted_at": "2026-01-01T00:00:00",
        }
        for key in keys[1:]
    ]  # fmt: skip
    note(tmp_path, *told)
    [row] = cells(written(tmp_path), "failures")
    assert row == ["raised", "out of memory", "run", "2", min(keys[1:3])[:12]]


def test_cost_counts_what_is_shared_once_and_for_each_trial_alone(tmp_path: Path) -> None:
    """Two trials of 2 s share a dense run of 10 s, needed up to its half, and a mask of 1 s."""
    dense = key_of("dense run")
    write_live(tmp_path, run_row(dense, seconds=10.0))
    trials = []
    for n in range(2):
        run, mask = key_of("run", n), key_of("mask", n)
        state = {"kind": "state", "run": dense, "step": 50}
        value = json.dumps({"kind": "mask", "of": state})
        write_live(tmp_path, mask_row(mask, 0.5, seconds=1.0, value=value))
        value = json.dumps({"kind": "run", "mask": mask, "start": {"kind": "init"}})
        write_live(tmp_path, run_row(run, density=0.5, seconds=2.0, value=value))
        trials.append(trial(run, mask_key=mask, replicate=n))
    write_sweep(tmp_path, "study", trials)
    text = written(tmp_path)
    assert cells(text, "cost") == [
        ["snip", "5", "14", "2", "0", "16"],
        ["all together", "5", "14", "2", "0", "16"],
    ]


def test_a_long_sweep_lists_its_first_trials_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_TRIALS", 3)
    Study(lambda _: 0.5).write(tmp_path)
    text = written(tmp_path)
    assert "The first 3 of 9;" in text
    assert len(cells(text, "trials")) == 3


def test_a_sweep_that_has_not_run_has_a_report_that_says_so(tmp_path: Path) -> None:
    write_sweep(tmp_path, "study", [trial(key_of("run"))], figures=["ablations"])
    text = written(tmp_path)
    assert "0 of 1 trials done, 1 pending" in text
    assert "Ablations is not drawn: nothing to draw yet" in text


def test_an_unknown_sweep_is_refused_and_nothing_written(tmp_path: Path) -> None:
    write_sweep(tmp_path, "study", [])
    with pytest.raises(StoreError, match="no sweep 'other'; it has study"):
        report.write(tmp_path, "other", tmp_path / "out" / "report.html")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([0.5, 12.25, None], ["0.50", "12.25", "–"]),
        ([1.0, 2.0], ["1", "2"]),
        ([12345, 3], ["12,345", "3"]),
        ([True, False], ["yes", "no"]),
        ([float("nan"), 1.5], ["nan", "1.5"]),
        (["a`b"], ["a`b"]),
    ],
)
def test_cells(column: list[Any], shown: list[str]) -> None:
    made = tables.table(["x"], [[value] for value in column])
    assert [row[0] for row in made.rows] == shown


def test_a_store_damaged_or_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        report.write(tmp_path / "none", "study", tmp_path / "report.html")
    with pytest.raises(StoreError), connect(tmp_path) as connection:
        report.page(connection, "study")
