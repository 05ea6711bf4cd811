"""Drives a headless chromium over its DevTools protocol, with nothing but Python's own library."""

import base64
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

NAMES = ["chromium", "chromium-browser", "google-chrome"]
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--remote-debugging-port=0",
]
# A machine may have much else to do.
PATIENCE = 60

KEYS = {"Tab": 9, "Enter": 13, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36}
KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def chromium():
    """The path of the browser; None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Socket:
    """A WebSocket (RFC 6455) of text messages, as a client."""

    def __init__(self, url):
        place = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\n"
        head += f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        self.socket.sendall(head.encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            self.receive()
        answer, self.rest = self.rest.split(b"\r\n\r\n", 1)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode())

    def receive(self):
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError("the browser has gone")
        self.rest += part

    def take(self, count):
        while len(self.rest) < count:
            self.receive()
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def send(self, text, opcode=1):
        data = text.encode() if isinstance(text, str) else text
        mask = os.urandom(4)
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, 0xFE, size)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0xFF, size)
        pad = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data) ^ int.from_bytes(pad)).to_bytes(size) if size else b""
        self.socket.sendall(head + mask + masked)

    def next(self, seconds):
        """The next message; None if there is none for so long."""
        if not self.rest:
            self.socket.settimeout(max(seconds, 0.001))
            try:
                self.receive()
            except TimeoutError:
                return None
            finally:
                self.socket.settimeout(PATIENCE)
        message = b""
        while True:
            first, size = self.take(2)
            if size == 126:
                size = struct.unpack(">H", self.take(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self.take(8))[0]
            data = self.take(size)
            if first & 15 == 9:
                self.send(data, 10)
                continue
            if first & 15 == 8:
                raise ConnectionError("the browser has hung up")
            message += data
            if first & 0x80:
                return message.decode()


class Browser:
    """A separate browser process with one page; `tab` opens more."""

    def __init__(self, path, size=(1280, 800), dark=False, flags=()):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.log = os.path.join(self.folder.name, "log")
        command = [path, *FLAGS, *flags, f"--user-data-dir={self.folder.name}/profile", "about:blank"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.place = self.listening()
            self.page = self.tab()
            self.page.look(size, dark)
        except BaseException:
            self.__exit__()
            raise

    def listening(self):
        """The address on which the browser accepts commands."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with open(self.log, errors="replace") as log:
                listening = re.search(r"DevTools listening on ws://([^/\s]+)/", log.read())
            if listening:
                return listening[1]
            time.sleep(0.05)
        raise ConnectionError(f"chromium does not start: {open(self.log).read()[-2000:]}")

    def tab(self):
        """A new page."""
        ask = urllib.request.Request(f"http://{self.place}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(ask, timeout=PATIENCE) as answer:
            target = json.load(answer)
        return Page(target["webSocketDebuggerUrl"], target["id"])

    def close(self, page):
        """Closes a page, like a click on the close button of its tab."""
        with urllib.request.urlopen(f"http://{self.place}/json/close/{page.id}", timeout=PATIENCE) as answer:
            answer.read()
        page.socket.socket.close()

    def __enter__(self):
        return self.page

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class Page:
    """A page: what it does, what it asks for, and what goes wrong in it."""

    def __init__(self, url, id):
        self.socket = Socket(url)
        self.id = id
        self.last = 0
        self.problems = []
        self.requests = []
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.last += 1
        wanted = self.last
        self.socket.send(json.dumps({"id": wanted, "method": method, "params": params}))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = self.take(end - time.monotonic())
            if answer and answer.get("id") == wanted:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
        raise TimeoutError(method)

    def take(self, seconds):
        """One message of the browser. Errors and requests are written down."""
        text = self.socket.next(seconds)
        if text is None:
            return None
        message = json.loads(text)
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                what = details.get("exception", {}).get("description") or details["text"]
                self.problems.append(f"exception: {what}")
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.problems.append(f"console: {params['args']}")
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                # That a block is not there is an answer too, and so is a server that is not there.
                if params["entry"]["source"] != "network":
                    self.problems.append(f"log: {params['entry']['text']}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
        return message

    def rest(self, seconds):
        """Lets time pass and listens."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.take(left)

    def look(self, size, dark=False, calm=False):
        width, height = size
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        features += [{"name": "prefers-reduced-motion", "value": "reduce" if calm else ""}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def go(self, url):
        self.call("Page.navigate", url=url)

    def before(self, script):
        """Runs a script before the scripts of every page that is loaded from now on."""
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def run(self, script):
        """The value of an expression; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script, seconds=PATIENCE):
        """Waits until an expression is true and returns it."""
        end = time.monotonic() + seconds
        trouble = ""
        while True:
            try:
                value = self.run(script)
                # An element comes as an object without members.
                if value or value == {}:
                    return value
            except RuntimeError as error:
                # What it looks at may not be there yet.
                trouble = error
            if time.monotonic() > end:
                raise TimeoutError(f"not true in {seconds} s: {script}\n{self.problems}\n{trouble}")
            self.rest(0.02)

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def click(self, selector):
        """Clicks where the middle of an element is, whatever is on top there."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        box = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        self.press(*box)

    def press(self, x, y):
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"]:
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    def wheel(self, x, y, pixels):
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=pixels)

    def key(self, name):
        text = {"text": "\r"} if name == "Enter" else {}
        code = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS[name]}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def paste(self, selector, text):
        """Puts text into a field in the place of what is there."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def picture(self):
        """The page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
