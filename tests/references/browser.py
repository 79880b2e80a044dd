"""Headless Chromium, told what to do over two pipes in the Chrome DevTools Protocol."""

import contextlib
import json
import os
import shutil
import subprocess

__all__ = ["Page", "chromium", "opened"]


def chromium():
    """The path of Chromium or Chrome; None without one."""
    names = "chromium", "chromium-browser", "google-chrome"
    return next(filter(None, map(shutil.which, names)), None)


class Page:
    """One tab. `requests` are the (method, address) of all that it asked for, workers included."""

    def __init__(self, reader, writer):
        self._reader, self._writer, self._number = reader, writer, 0
        self._session, self.requests = None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._attached(target)
        for name in ("Page", "Runtime", "Network"):
            self.call(f"{name}.enable")

    def _attached(self, target):
        return self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method, **parameters):
        """The result of a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        return self._until(lambda found: found.get("id") == message["id"])["result"]

    def _until(self, wanted):
        while True:
            found = self._received()
            if found.get("method") == "Network.requestWillBeSent":
                request = found["params"]["request"]
                self.requests.append((request["method"], request["url"]))
            if "error" in found:
                raise RuntimeError(found["error"])
            if wanted(found):
                return found

    def _received(self):
        content = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium has ended")
            content += byte
        return json.loads(content)

    def open(self, address):
        """Opens an address and waits until all of it is loaded."""
        self.call("Page.navigate", url=address)
        self._until(lambda found: found.get("method") == "Page.loadEventFired")

    def value(self, code):
        """What JavaScript gives, as JSON has it; promises are awaited."""
        options = {"awaitPromise": True, "returnByValue": True}
        found = self.call("Runtime.evaluate", expression=code, **options)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def give_file(self, selector, path):
        """Puts a file of this machine into an <input type=file>, as a visitor does."""
        element = self.call("Runtime.evaluate", expression=f"document.querySelector('{selector}')")
        number = element["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=number)


@contextlib.contextmanager
def opened(folder):
    """Gives a `Page` of a Chromium that keeps its files in a folder and ends with the block."""
    to_browser, from_browser = os.pipe(), os.pipe()
    shell = f'exec "$0" "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'
    options = "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"
    command = ["bash", "-c", shell, chromium(), *options, f"--user-data-dir={folder}"]
    ends = to_browser[0], from_browser[1]
    with subprocess.Popen(command, pass_fds=ends, stderr=subprocess.DEVNULL) as process:
        for end in ends:
            os.close(end)
        with os.fdopen(to_browser[1], "wb") as writer, os.fdopen(from_browser[0], "rb") as reader:
            try:
                yield Page(reader, writer)
            finally:
                process.terminate()
