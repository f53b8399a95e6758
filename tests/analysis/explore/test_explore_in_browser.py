"""The page of `tombola explore` in a real browser, while a sweep runs."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import browser
from tests.support.build_store import Row, Study, mask_row, note, run_row, write_live, write_sweep

pytest.importorskip("marimo")
pytestmark = pytest.mark.skipif(
    browser.found() is None,
    reason=f"no {', '.join(browser.NAMES)} here; .ci/run installs chromium",
)

STUDY = Study(lambda row: row["requested_density"] ** 0.25, methods=["snip", "imp"])
TRIALS = STUDY.trials()
PHONE = {"width": 390, "height": 844, "phone": True}
PICTURES = "all('figure img').filter(one => one.naturalWidth > 0 && one.width > 250)"
COLUMN = "all('td:nth-child({}):not(.few *)').map(one => one.textContent.trim()).join(' ')"


def serving(store: Path, port: int, cwd: Path) -> subprocess.Popen[str]:
    command = [Path(sys.executable).with_name("tombola"), "explore", "--store", store]
    return subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(store: Path, cwd: Path) -> tuple[str, subprocess.Popen[str]]:
    """Start a server for a store's page; return its address and the server."""
    for _ in range(5):
        port = free_port()
        server = serving(store, port, cwd)
        assert server.stdout
        said = server.stdout.readline()
        if f"port {port}: " not in said:  # another process took it in the meantime
            break
        server.wait()
    advice = server.stdout.readline()
    assert "Ctrl-C ends it" in advice, said + advice
    return said.strip(), server


@contextmanager
def explored(store: Path, cwd: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Return the address of a store's page once it answers, and its server."""
    address, server = started(store, cwd)
    with server:
        try:
            until = time.monotonic() + browser.PATIENCE_S
            while server.poll() is None and time.monotonic() < until:
                with socket.socket() as caller:
                    if caller.connect_ex(("127.0.0.1", urlsplit(address).port)) == 0:
                        break
                time.sleep(0.05)
            assert server.poll() is None, server.stdout and server.stdout.read()
            yield address, server
        finally:
            server.kill()


def finish(store: Path, trials: list[Row]) -> None:
    """Commit results of these trials, as a worker does."""
    for one in trials:
        density = one["requested_density"]
        write_live(store, run_row(one["run_key"], STUDY.accuracy(one), density))
        if one.get("mask_key"):
            write_live(store, mask_row(one["mask_key"], density, [round(100 * density)]))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Build a sweep that has just begun: the dense network and a trial of each method are done."""
    folder = tmp_path / "store"
    write_sweep(folder, "study", TRIALS, figures=["accuracy-vs-sparsity"])
    finish(folder, [one for one in TRIALS if one["replicate"] == 0])
    note(
        folder,
        {"event": "dispatched", "kind": "run", "key": TRIALS[-1]["run_key"]}
        | {"noted_at": "2026-01-01T00:00:00"},
    )
    return folder


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(opened: browser.Page) -> browser.Page:
    opened.open("about:blank")  # away from a server that has ended
    opened.errors.clear()
    opened.requests.clear()
    return opened


def test_a_running_sweep_is_shown_and_followed(
    page: browser.Page, store: Path, tmp_path: Path
) -> None:
    with explored(store, tmp_path) as (address, server):
        page.open(address)
        page.await_text("5 of 15 trials done")
        page.await_text("10 pending")
        page.await_true(f"{PICTURES}.length === 1")
        page.await_text("One replicate.")

        finish(store, [one for one in TRIALS if one["replicate"] == 1])
        page.await_text("10 of 15 trials done")
        page.await_text("Mean of 2 replicates")

        note(
            store,
            {"event": "failed", "kind": "run", "key": TRIALS[-1]["run_key"], "failure": "memory"}
            | {"message": "<b>no</b> memory left", "noted_at": "2026-01-01T00:00:01"},
            part=1,
        )
        page.await_text("1 failed")
        page.await_text("<b>no</b> memory left")

        origin = address.partition("?")[0]
        strangers = [one for one in page.requests if not one.startswith((origin, "data:"))]
        assert strangers == []
        assert page.errors == []

        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=browser.PATIENCE_S)[0]
        assert (server.returncode, said) == (130, "")


@pytest.mark.slow
def test_choices_change_what_is_shown(page: browser.Page, store: Path, tmp_path: Path) -> None:
    with explored(store, tmp_path) as (address, _):
        page.open(address)
        page.await_text("15 rows")
        page.await_true(f"{PICTURES}.length === 1")
        page.choose("Methods", "snip")
        page.await_text("9 rows")  # and the dense ones
        page.await_true("!all('td').some(one => one.textContent.trim() === 'imp')")
        page.choose("Trials", "SNIP")
        page.await_true(f"{PICTURES}.length === 2")

        page.choose("Methods", "imp")
        page.await_text("15 rows")
        by_method = f"{COLUMN.format(1)} === '0 5 10 3 4 8 9 13 14 1'"
        page.click("th:nth-child(2) [data-testid=data-table-sort-button]", until=by_method)
        last = f"{COLUMN.format(1)} === '2 6 7 11 12'"
        page.click("[data-testid=next-page-button]", until=last)
        page.await_true(f"{COLUMN.format(6)} === 'done pending pending pending pending'")

        # Results come, and another sweep, for which every list is made anew.
        finish(store, [one for one in TRIALS if one["replicate"] == 1])
        write_sweep(store, "other", TRIALS[:1], registered_at="2025-01-01T00:00:00")
        page.await_text("10 of 15 trials done")
        page.await_text("1 of 1 trials done")
        page.await_text("Mean of 2 replicates")
        page.await_true(browser.chosen("Methods", "snip"))
        page.await_true(f"{COLUMN.format(6)} === 'done done done pending pending'")
        page.await_true(last)
        page.await_true(browser.chosen("Trials", "SNIP"))
        page.await_true(f"{PICTURES}.length === 2")
        assert page.errors == []


@pytest.mark.slow
def test_sql_answers_or_says_why_not(page: browser.Page, store: Path, tmp_path: Path) -> None:
    with explored(store, tmp_path) as (address, _):
        page.open(address)
        page.await_true("all('.cm-content').length === 1")
        answer = "all('td').some(one => one.textContent.trim() === '315')"
        page.write(".cm-content", "SELECT 21 * count(*) AS answer FROM trials")
        page.click("button", "Ask", until=answer)
        page.write(".cm-content", f"COPY trials TO '{tmp_path / 'stolen.csv'}'")
        page.click(
            "button", "Ask", until=browser.reads("DESCRIBE or EXPLAIN, not COPY: it only reads")
        )
        assert not (tmp_path / "stolen.csv").exists()
        page.write(".cm-content", "SELECT * FROM read_text('/etc/passwd')")
        page.click("button", "Ask", until=browser.reads("file system operations are disabled"))
        assert page.errors == []


@pytest.mark.slow
def test_on_a_phone_nothing_scrolls_sideways(
    page: browser.Page, store: Path, tmp_path: Path
) -> None:
    with explored(store, tmp_path) as (address, _):
        page.open(address, **PHONE)
        page.await_text("5 of 15 trials done")
        page.await_true(f"{PICTURES}.length === 1")
        page.await_true("all('.cm-content').length === 1")
        assert page.ask("document.documentElement.scrollWidth <= innerWidth")


def test_without_the_token_there_is_nothing_to_see(store: Path, tmp_path: Path) -> None:
    for name in ("analysis", "tasks"):  # what lies where a user stands is not ours
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a foreign package')")
    with explored(store, tmp_path) as (address, server):
        origin, _, token = address.partition("?access_token=")
        with urllib.request.urlopen(origin) as answer:
            assert "/auth/login" in answer.url
        remembering = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with remembering.open(address) as answer:
            assert "/auth/login" not in answer.url
        words = Path(f"/proc/{server.pid}/cmdline")
        if words.exists():
            assert token.encode() not in words.read_bytes()
            assert token.encode() not in Path(f"/proc/{server.pid}/environ").read_bytes()
