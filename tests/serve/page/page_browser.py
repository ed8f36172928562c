"""Drives headless Chromium through its DevTools pipe: standard library only, no download, no port to collide."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from dr_edge import scratch

SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)  # fmt: skip


def find_chromium() -> str | None:
    """Returns the path of Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """A running browser; use it as a context manager.

    Args:
      program: path of Chromium.
      switches: further command-line switches.
    """

    def __init__(self, program: str, switches: tuple[str, ...] = ()) -> None:
        self._place = contextlib.ExitStack()
        self._profile = self._place.enter_context(scratch.directory("chromium")) / "profile"
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4. Through 10 and above, since the pipes
        # themselves may lie at 3 or 4.
        high_read, high_write = (_above(fd) for fd in (to_read, to_write))
        command = f'exec "$0" "$@" 3<&{high_read} 4>&{high_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, program, *SWITCHES, *switches, f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(high_read, high_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        for descriptor in {to_read, to_write, high_read, high_write}:
            os.close(descriptor)
        self._buffer = b""
        self._next = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the browser with all its processes and removes its profile."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)
            os.close(self._to)
            os.close(self._from)
        self._place.close()

    def send(
        self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None, timeout: float = 60
    ) -> Any:
        """Sends a command and returns its result; events that arrive meanwhile are kept in `events`.

        Raises:
          RuntimeError: the browser answers with an error.
          TimeoutError: no answer within `timeout` seconds.
        """
        self._next += 1
        number = self._next
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        deadline = time.monotonic() + timeout
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self, deadline: float, waiting_for: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium did not answer {waiting_for} in time.")
            data = os.read(self._from, 1 << 20)
            if not data:
                raise RuntimeError(f"Chromium ended while {waiting_for} was waited for.")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, url: str, width: int = 1280, height: int = 800, scheme: str = "light", touch: bool = False) -> Tab:
        """Opens a tab of that size and goes to a page.

        Args:
          url: the page.
          width, height: of the window in CSS pixels.
          scheme: 'light' or 'dark', what the page is told that the user prefers.
          touch: a phone's screen.
        """
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            tab.send(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if touch else 1, "mobile": touch}
        tab.send("Emulation.setDeviceMetricsOverride", metrics)
        tab.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        tab.go(url)
        return tab


def _above(descriptor: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)


class Tab:
    """One page of a browser; see `Browser.open`."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self._session, self._target = browser, session, target

    def send(self, method: str, parameters: dict[str, Any] | None = None, timeout: float = 60) -> Any:
        """Sends a command to this tab."""
        return self.browser.send(method, parameters, self._session, timeout)

    def go(self, url: str) -> None:
        """Goes to a page and waits until it has loaded."""
        error = self.send("Page.navigate", {"url": url}).get("errorText")
        if error:
            raise RuntimeError(f"{url}: {error}")
        self.wait("document.readyState === 'complete'")

    def run(self, script: str, timeout: float = 60) -> Any:
        """Returns the value of a JavaScript expression; a promise is waited for."""
        parameters = {"expression": script, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        result = self.send("Runtime.evaluate", parameters, timeout)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def wait(self, condition: str, timeout: float = 60) -> Any:
        """Waits until a JavaScript expression is true and returns its value.

        Raises:
          TimeoutError: it did not become so within `timeout` seconds; says what the page shows.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            value = self.run(condition)
            if value:
                return value
            time.sleep(0.1)
        shown = self.run("document.body.innerText.slice(0, 600)")
        raise TimeoutError(
            f"{condition} did not become true in {timeout} s. The page shows: {shown!r}; {self.complaints()}"
        )

    def choose(self, selector: str, *files: Path) -> None:
        """Gives files to an <input type="file">, as its dialogue would."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.send("DOM.setFileInputFiles", {"nodeId": node, "files": [str(file) for file in files]})

    def press(self, key: str, code: int = 0) -> None:
        """Presses and releases a key, for example 'Tab' (9) or 'Enter' (13)."""
        text = {"text": "\r"} if key == "Enter" else {}
        values = {"key": key, "code": key, "windowsVirtualKeyCode": code, **text}
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", **values})
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **values})

    def picture(self, path: Path, whole: bool = False) -> None:
        """Saves a PNG of what is seen (or of the whole page)."""
        data = self.send("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})["data"]
        path.write_bytes(base64.b64decode(data))

    def requests(self) -> list[dict[str, Any]]:
        """Returns the requests that this tab (not its workers) sent so far."""
        self.run("0")  # events that wait are read with the answer
        wanted = [e for e in self.browser.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"] for event in wanted if event.get("sessionId") == self._session]

    def complaints(self) -> list[str]:
        """Returns errors that this tab logged: exceptions, refused resources, broken policies."""
        found = []
        for event in self.browser.events:
            if event.get("sessionId") != self._session:
                continue
            if event["method"] == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(event["params"]["entry"]["text"])
        return found

    def close(self) -> None:
        """Closes the tab."""
        self.browser.send("Target.closeTarget", {"targetId": self._target})
