"""A real browser without a window, spoken to over a pipe (Chrome DevTools Protocol): it takes no port and no driver."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import skip_for_want_of

_FREE = 10
"""The pipe's ends are moved above those that the browser has them at, 3 and 4."""
PATIENCE_SECONDS = 90
COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """One tab; pages are opened in it one after the other."""

    def __init__(self, reading: int, writing: int):
        self._reading, self._writing = reading, writing
        self._heard = b""
        self._number = 0
        self.complaints: list[str] = []
        """What the pages opened so far have told the console, and errors."""
        self.asked: list[str] = []
        """Addresses that were asked for."""
        self._loaded = False
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its answer; events that come in between are noted."""
        self._number += 1
        session = {} if self._session is None else {"sessionId": self._session}
        self._send({"id": self._number, "method": method, "params": parameters, **session})
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    def open(self, address: str) -> None:
        """Open a page and wait until it is loaded."""
        self._loaded = False
        answer = self.call("Page.navigate", url=address)
        assert "errorText" not in answer, f"{address}: {answer['errorText']}"
        while not self._loaded:
            self._receive()

    def ask(self, script: str) -> Any:
        """Return what a script says: the page's own policy forbids it scripts, but not us."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def look(self, width: int, *, dark: bool = False, media: str = "") -> None:
        """Make the window so wide, the reader so inclined, and the page shown or printed."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def press(self, key: str, code: int) -> None:
        """Press a key and let it go."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write what is seen as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _send(self, message: dict[str, Any]) -> None:
        left = memoryview(json.dumps(message).encode() + b"\0")
        while left:
            left = left[os.write(self._writing, left) :]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            ready, _, _ = select.select([self._reading], [], [], PATIENCE_SECONDS)
            assert ready, "the browser says nothing"
            part = os.read(self._reading, 1 << 20)
            assert part, "the browser has gone"
            self._heard += part
        text, _, self._heard = self._heard.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method in COMPLAINTS:
            self.complaints.append(json.dumps(told)[:500])


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser, or skip where there is none; `folder` is for what it keeps."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        skip_for_want_of("chromium", "no Chromium on the path")
    (its_in, our_out), (our_in, its_out) = os.pipe(), os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, _FREE) for end in (its_in, its_out)]
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), *options, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdout=log,
            stderr=log,
            pass_fds=(3, 4),
            # Only system calls, and no thread of the tests holds a lock then.
            preexec_fn=lambda: [os.dup2(end, number) for number, end in zip((3, 4), ends, strict=True)],  # noqa: PLW1509
        )
    for end in (its_in, its_out, *ends):
        os.close(end)
    try:
        yield Browser(our_in, our_out)
    finally:
        process.terminate()
        process.wait(30)
        os.close(our_in)
        os.close(our_out)
