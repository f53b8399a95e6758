"""A headless Chromium, driven over two pipes (its DevTools protocol): no driver, no port."""

import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60.0
TRY_S = 5.0
"""Until a click that had no effect is repeated."""

# The document and what custom elements keep to themselves.
_ROOTS = """
const rootsOf = root => [root, ...[...root.querySelectorAll('*')].filter(one => one.shadowRoot)
  .flatMap(one => rootsOf(one.shadowRoot))];
const roots = rootsOf(document);
const all = selector => roots.flatMap(root => [...root.querySelectorAll(selector)]);
const text = () => roots.flatMap(root => root.body ? [root.body] : [...root.children])
  .map(one => one.tagName === 'STYLE' ? '' : one.innerText).join('\\n');
"""

_OPENED = "(all('[role=option]').length > 0)"


def found() -> str | None:
    """Return the path of the browser, or None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def reads(text: str) -> str:
    """Return an expression that is true if the page shows a text."""
    return f"text().includes({json.dumps(text)})"


def chosen(label: str, option: str) -> str:
    """Return an expression that is true if an option of the list with that label is chosen."""
    of_list = f"all('label').find(one => one.textContent.includes({json.dumps(label)}))"
    return f"(!!{of_list}?.control?.textContent.includes({json.dumps(option)}))"


class Page:
    """An open page: its complaints, its requests and its scripts.

    `complaints` are all messages of the page and of the browser about it; `errors` are the
    errors among them.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self.complaints: list[str] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._reading, self._writing = reading, writing
        self._ids = itertools.count(1)
        self._left = b""
        self._session: str | None = None
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")

    def open(
        self, where: Path | str, width: int = 1280, height: int = 900, *, phone: bool = False
    ) -> None:
        """Open a file or an address in a window of that size, and wait until it has loaded."""
        self._send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2,
            mobile=phone,
        )
        url = where if isinstance(where, str) else where.resolve().as_uri()
        self._send("Page.navigate", url=url)
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def ask(self, script: str) -> Any:
        """Return the value of an expression in the page; wait for it if it is a promise."""
        answer = self._send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def await_true(self, script: str) -> None:
        """Wait until an expression is true; it may call `all(selector)` and `text()`.

        Both search custom elements as well. It raises an error if that takes too long.
        """
        assert self._becomes(script), f"never true: {script}; the page says:\n{self._text()}"

    def await_text(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.await_true(reads(text))

    def click(self, selector: str, text: str = "", *, until: str = "true") -> None:
        """Click in the middle of the first element with that text, once it does not move.

        A page may be drawn again at any moment. A click that misses the element, or does
        not have the effect `until` (as in `await_true`) in time, is repeated.
        """

        def tried() -> bool:
            return self._clicked(selector, text) and self._becomes(until, TRY_S)

        self._try(tried, f"click {selector} {text} until {until}")

    def choose(self, label: str, option: str, *, wanted: bool = True) -> None:
        """Choose an option of the list with that label, or remove it, and close the list.

        As in `click`, a list that was drawn again, and so closed, is opened again.
        """
        shown = chosen(label, option)

        def tried() -> bool:
            if not self._becomes(_OPENED, 0):
                self._clicked("label", label)
            return (
                self._becomes(_OPENED, TRY_S)
                and self._clicked("[role=option]", option)
                and self._becomes(f"{shown} === {json.dumps(wanted)}", TRY_S)
            )

        def closed() -> bool:
            self.press("Escape", 27)
            return self._becomes(f"!{_OPENED}", TRY_S)

        self._try(tried, f"choose {option} of {label}")
        self._try(closed, f"close {label}")

    def write(self, selector: str, text: str) -> None:
        """Replace the text of an editor."""

        def tried() -> bool:
            self.click(selector)
            self._send("Input.dispatchKeyEvent", type="keyDown", commands=["selectAll"])
            self._send("Input.insertText", text=text)
            held = f"all({json.dumps(selector)}).some(one => one.textContent === "
            return self._becomes(f"{held}{json.dumps(text)})", TRY_S)

        self._try(tried, f"write {text}")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self._send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Return the window, or the whole page, as PNG."""
        shot = self._send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(b64decode(shot["data"]))

    def _try(self, act: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not act():
            assert time.monotonic() < until, f"the page does not let one {what}:\n{self._text()}"

    def _text(self) -> Any:
        return self.ask(f"(() => {{{_ROOTS} return text()}})()")

    def _becomes(self, script: str, seconds: float = PATIENCE_S / 2) -> bool:
        """Return whether an expression is true within a number of seconds."""
        found: bool = self.ask(
            f"""new Promise(resolve => {{
              const until = Date.now() + {1000 * seconds};
              const look = () => {{
                {_ROOTS}
                if ({script}) resolve(true);
                else if (Date.now() >= until) resolve(false);
                else setTimeout(look, 50);
              }};
              look();
            }})"""
        )
        return found

    def _clicked(self, selector: str, text: str) -> bool:
        """Return whether such an element exists and got the click."""
        found = (
            f"all({json.dumps(selector)}).find(one => one.textContent.includes({json.dumps(text)}))"
        )
        if not self._becomes(f"!!{found}", TRY_S):
            return False
        place = self.ask(
            f"""new Promise(resolve => {{
              {_ROOTS}
              const one = {found};
              if (!one) return resolve(null);
              window.clicked = false;
              one.addEventListener('click', () => window.clicked = true, {{capture: true}});
              one.scrollIntoView({{block: 'center', behavior: 'instant'}});
              const look = before => {{
                const box = one.getBoundingClientRect();
                const now = [box.x + box.width / 2, box.y + box.height / 2];
                if (String(now) === String(before)) resolve(now);
                else requestAnimationFrame(() => requestAnimationFrame(() => look(now)));
              }};
              look();
            }})"""
        )
        if place:
            at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
            for kind in ("mousePressed", "mouseReleased"):
                self._send("Input.dispatchMouseEvent", type=kind, **at)
        return bool(place) and bool(self.ask("window.clicked"))

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select([self._reading], [], [], PATIENCE_S)
            more = os.read(self._reading, 1 << 20) if ready else b""
            assert more, "the browser ended, or does not answer"
            self._left += more
        first, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, said: dict[str, Any]) -> None:
        match event:
            case "Runtime.exceptionThrown":
                self._complain(json.dumps(said), "error")
            case "Runtime.consoleAPICalled":
                self._complain(json.dumps(said), said["type"])
            case "Log.entryAdded":
                self._complain(said["entry"]["text"], said["entry"]["level"])
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])

    def _complain(self, text: str, level: str) -> None:
        self.complaints.append(text)
        if level in ("error", "assert"):
            self.errors.append(text)


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """Start a browser with a new profile for the context."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # The browser reads from 3 and writes to 4; first out of the way, as they may be 3 and 4.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
    process = subprocess.Popen(
        [
            *("bash", "-c", f'exec "$0" "$@" 3<&{high[0]} 4>&{high[1]}', str(found())),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--no-first-run", "--hide-scrollbars"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=high,
    )
    for fd in (theirs_in, theirs_out, *high):
        os.close(fd)
    try:
        yield Page(ours_in, ours_out)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
