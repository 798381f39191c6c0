"""A headless Chromium, driven by the Chrome DevTools Protocol over a pipe.

The protocol needs no driver beside the browser, and the pipe no port. What the pages say on the console, the faults
that the browser reports, and what their Content Security Policy refused are kept to be looked at.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

from attrs import define, field

from tests.debian import program
from tests.stores.processes import bare_environment

_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests may run as root; the browser visits nobody but us
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--lang=en-GB",
    "--window-size=1100,900",
)
# Bash, since it can give a program any descriptor under another number: the protocol is spoken over 3 and 4.
_WITH_PIPES = 'exec "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI, sourceFile}) =>
  console.error(`CSP: ${violatedDirective} ${blockedURI} in ${sourceFile}`));
"""


class BrowserFailed(AssertionError):
    """The browser refused a command, or a page raised."""


class PageLeft(BrowserFailed):
    """The page went to another one, or was loaded anew, before it had answered."""


@define
class Chromium:
    """The browser's end of the pipe. One thread alone may use it."""

    _commands: int
    _answers: int
    _received: bytes = b""
    _last_id: int = 0
    events: list[dict[str, Any]] = field(factory=list)

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> Any:
        """Call a method of the protocol, and give its result."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._next(deadline)
            if answer is None:
                raise BrowserFailed(f"no answer to {method} within {_SECONDS:g} s")
            if answer.get("id") != self._last_id:
                self.events.append(answer)
            elif "error" in answer:
                kind = PageLeft if "navigated" in answer["error"].get("message", "") else BrowserFailed
                raise kind(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def listen(self) -> None:
        """Take in the events that have come since the last call."""
        while (event := self._next(time.monotonic())) is not None:
            self.events.append(event)

    def _next(self, deadline: float) -> dict[str, Any] | None:
        while b"\0" not in self._received:
            ready, _, _ = select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            some = os.read(self._answers, 1 << 20)
            if not some:
                raise BrowserFailed("the browser has ended")
            self._received += some
        first, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message


@define
class Page:
    """One tab. Its scripts are evaluated as on its console: the page's policy doesn't hold for them."""

    browser: Chromium
    target: str
    session: str

    @classmethod
    def open(cls, browser: Chromium, url: str, before: str = "") -> "Page":
        """Open a tab, and wait until it has loaded. The script `before` runs before all that the page brings."""
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = cls(browser, target, session)
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            page.call(f"{domain}.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=_REPORT_VIOLATIONS + before)
        page.call("Page.navigate", url=url)
        page.wait("document.readyState === 'complete'")
        return page

    def close(self) -> None:
        """Close the tab, without asking the page whether it is all right."""
        self.browser.call("Target.closeTarget", targetId=self.target)

    def call(self, method: str, **parameters: Any) -> Any:
        return self.browser.call(method, self.session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Give the value of an expression, which may be a promise. Raises `BrowserFailed` if it raises."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            details = told["exceptionDetails"]
            raise BrowserFailed(details.get("exception", {}).get("description") or details["text"])
        return told["result"].get("value")

    def attempt(self, expression: str) -> None:
        """Evaluate what may well raise, or never end."""
        self.call("Runtime.evaluate", expression=f"void (async () => {expression})().catch(() => 0)")

    def wait(self, condition: str, *, seconds: float = _SECONDS) -> None:
        """Wait until an expression is true, if need be of the page that comes next."""
        deadline = time.monotonic() + seconds
        while not self._holds(condition):
            if time.monotonic() > deadline:
                raise BrowserFailed(f"not so within {seconds:g} s: {condition}\n{self.text('body')}\n{self.faults()}")
            time.sleep(_POLL_SECONDS)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.evaluate(f"Boolean({condition})"))
        except PageLeft:
            return False

    def text(self, selector: str) -> str:
        """What a person reads in an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click into the middle of an element with the mouse."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drop(self, selector: str, paths: Sequence[Path]) -> None:
        """Drop files and folders onto an element, as from a file manager."""
        x, y = self._middle(selector)
        data = {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def _middle(self, selector: str) -> tuple[float, float]:
        name = json.dumps(selector)
        self.evaluate(f"document.querySelector({name}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.evaluate(f"document.querySelector({name}).getBoundingClientRect().toJSON()")
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, code: int, text: str = "", shift: bool = False) -> None:
        """Press a key, with the number that Windows gives it."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path) -> None:
        """Save the whole page as a PNG."""
        shown = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shown["data"]))

    def events(self, method: str) -> list[dict[str, Any]]:
        """What has been told of a kind so far."""
        self.browser.listen()
        return [
            event["params"]
            for event in self.browser.events
            if event.get("method") == method and event.get("sessionId") == self.session
        ]

    def wait_for_event(self, method: str) -> dict[str, Any]:
        """Wait until something of a kind has been told, and give the first."""
        deadline = time.monotonic() + _SECONDS
        while not (told := self.events(method)):
            if time.monotonic() > deadline:
                raise BrowserFailed(f"no {method} within {_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)
        return told[0]

    def faults(self) -> list[str]:
        """Everything that a developer would see in red or yellow on the console, violations of the policy included."""
        said = [
            " ".join(str(argument.get("value", argument.get("description"))) for argument in call["args"])
            for call in self.events("Runtime.consoleAPICalled")
            if call["type"] in ("error", "warning", "assert")
        ]
        raised = [told["exceptionDetails"] for told in self.events("Runtime.exceptionThrown")]
        entries = [told["entry"] for told in self.events("Log.entryAdded")]
        return [
            *said,
            *(str(details.get("exception", {}).get("description") or details["text"]) for details in raised),
            *(
                f"{entry['text']} {entry.get('url', '')}".rstrip()
                for entry in entries
                if entry["level"] in ("error", "warning")
            ),
        ]


@contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """Run the browser with a fresh profile in `folder`; in the end it is gone.

    Raises `FileNotFoundError` that says what to install.
    """
    browser = program("chromium")
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    # In the locale C it takes names of files that aren't ASCII for unreadable.
    settings = {"COMMANDS": str(commands_out), "ANSWERS": str(answers_in), "LC_ALL": "C.UTF-8"}
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", _WITH_PIPES, "bash", browser, *_OPTIONS, f"--user-data-dir={folder / 'profile'}"],
            cwd=folder,
            env=bare_environment(folder, settings),
            pass_fds=(commands_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    os.close(commands_out)
    os.close(answers_in)
    try:
        controlled = Chromium(commands_in, answers_out)
        yield controlled
        controlled.call("Browser.close")
        process.wait(_STOP_SECONDS)
    finally:
        os.close(commands_in)  # at which the browser ends, if it hasn't
        os.close(answers_out)
        process.kill()
        process.wait()
