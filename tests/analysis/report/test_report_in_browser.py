"""The report in a real browser, on a desktop and on a phone, by mouse and by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import report
from tests.support import browser
from tests.support.build_store import Study

pytestmark = pytest.mark.skipif(
    browser.found() is None,
    reason=f"no {', '.join(browser.NAMES)} here; .ci/run installs chromium",
)

FIGURES = ["accuracy-vs-sparsity", "ablations", "density-by-layer"]
PHONE = {"width": 390, "height": 844, "phone": True}
HEADING = "#results th:nth-child({}) button"
COLUMN = "[...document.querySelectorAll('#results tbody tr')].map(r => r.cells[{}].textContent)"
SIZES = """
[...document.querySelectorAll('figure')].map(figure => {
  const seen = [...figure.querySelectorAll('svg')].filter(svg => svg.checkVisibility());
  return seen.map(svg => svg.getBoundingClientRect()).map(box => [box.width, box.height]);
})
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    Study(
        lambda row: row["requested_density"] ** 0.25 - 0.01 * row["replicate"],
        methods=["snip", "imp", "random"],
        densities=[0.5, 0.1, 0.02],
        ablations=["none", "shuffle"],
    ).write(folder, figures=FIGURES)
    return report.write(folder, "study", folder / "report.html")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("window", [{}, PHONE], ids=["desk", "phone"])
def test_it_is_shown_whole_without_a_complaint_or_a_request(
    page: browser.Page, file: Path, window: dict[str, int]
) -> None:
    page.complaints.clear()
    page.requests.clear()
    page.open(file, **window)
    figures = page.ask(SIZES)
    assert len(figures) == len(FIGURES)
    for seen in figures:
        [(width, height)] = seen
        assert width > 250
        assert height > 100
    assert page.ask("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert page.complaints == []
    assert page.requests == [file.resolve().as_uri()]


def test_a_script_that_is_not_ours_does_not_run(page: browser.Page, file: Path) -> None:
    page.open(file)
    page.ask(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.ran = true'}))"
    )
    assert page.ask("window.ran === undefined")
    assert page.ask("getComputedStyle(document.querySelector('th button')).cursor === 'pointer'"), (
        "our own style is"
    )


def test_a_click_sorts_and_another_turns_it_round(page: browser.Page, file: Path) -> None:
    page.open(file)
    accuracies = COLUMN.format(4)
    before = page.ask(accuracies)
    for direction, turned in (("ascending", False), ("descending", True)):
        page.click(HEADING.format(5))
        assert page.ask("document.querySelector('#results th:nth-child(5)').ariaSort") == direction
        after = page.ask(accuracies)
        assert after == sorted(before, key=float, reverse=turned)
        assert after != before
    page.click(HEADING.format(1))
    methods = page.ask(COLUMN.format(0))
    assert methods == sorted(methods)
    assert page.ask("document.querySelectorAll('#results th[aria-sort]').length") == 1


def test_what_is_not_known_is_last_either_way(page: browser.Page, file: Path) -> None:
    page.open(file)
    cells = "document.querySelectorAll('#results tbody tr td:nth-child(5)')"
    page.ask(f"{cells}[3].textContent = '–'")
    for _ in range(2):
        page.click(HEADING.format(5))
        assert page.ask(COLUMN.format(4)).index("–") == page.ask(f"{cells}.length") - 1


def test_the_keyboard_sorts(page: browser.Page, file: Path) -> None:
    page.open(file)
    page.ask(f"document.querySelector('{HEADING.format(5)}').focus()")
    page.press("Enter", 13, "\r")
    assert page.ask("document.querySelector('#results th:nth-child(5)').ariaSort") == "ascending"
    page.press(" ", 32, " ")
    assert page.ask("document.querySelector('#results th:nth-child(5)').ariaSort") == "descending"


def test_its_details_open(page: browser.Page, file: Path) -> None:
    page.open(file)
    query = "document.querySelector('figure details pre').checkVisibility()"
    assert not page.ask(query)
    page.click("figure details summary")
    assert page.ask(query)
    assert "FROM trials" in page.ask("document.querySelector('figure details pre').textContent")
