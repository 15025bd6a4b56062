"""Chromium without a window, driven by the DevTools protocol.

The protocol goes over two pipes (--remote-debugging-pipe): one JSON object a
message, and NUL behind each. So there is no port, no WebSocket and no driver to
install: Debian's chromium and the standard library are enough.

    with Browser(tmp_path) as browser:
        page = browser.page(f"http://{node.http}/")
        page.wait_for("document.querySelector('h1')")
        assert page.evaluate("document.title") == "craftd"
        page.screenshot(tmp_path / "page.png")
        assert page.problems() == []
"""
import base64
import json
import os
import queue
import shutil
import subprocess
import threading

from cluster import die_with_parent, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-headless-shell")

# As root it has no sandbox of its own; a small /dev/shm, as in containers, is
# not enough for it; and it must not ask the network for anything.
FLAGS = ["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
         "--no-first-run", "--no-default-browser-check", "--disable-extensions",
         "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--metrics-recording-only", "--mute-audio",
         "--hide-scrollbars", "--remote-debugging-pipe",
         # Clicks and keys before a page is painted for the first time would be dropped.
         "--allow-pre-commit-input"]

# A promise for the moment when the page, as it is now, has been painted.
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


class DevToolsError(Exception):
    """The browser refused a command, or a script of the page failed."""


def _become_browser(commands, answers):
    """In the child: it reads commands from descriptor 3, and writes to 4."""
    die_with_parent()
    read, write = os.dup(commands), os.dup(answers)  # They may be 3 and 4.
    os.dup2(read, 3)
    os.dup2(write, 4)


class Browser:
    def __init__(self, folder, flags=(), timeout=30.0):
        """`folder` gets its profile. `timeout` is that of each command."""
        assert CHROMIUM, "no chromium"
        self.timeout = timeout
        self.log_path = os.path.join(str(folder), "chromium.log")
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        home = os.path.join(str(folder), "chromium")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [CHROMIUM, *FLAGS, f"--user-data-dir={home}", *flags, "about:blank"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(3, 4),
                env=dict(os.environ, HOME=home, XDG_CONFIG_HOME=home),
                preexec_fn=lambda: _become_browser(commands, answers))
        os.close(commands)
        os.close(answers)
        self._lock = threading.Lock()
        self._number = 0
        self._answers = {}  # By number: a queue for the one answer.
        self._pages = {}    # By session.
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._out)

    def _read(self):
        """Sort messages: answers to those who wait, events to their page."""
        with os.fdopen(self._in, "rb") as stream:
            rest = b""
            while piece := stream.read1(1 << 16):
                *messages, rest = (rest + piece).split(b"\0")
                for message in map(json.loads, messages):
                    with self._lock:
                        waiting = self._answers.pop(message.get("id"), None)
                        page = self._pages.get(message.get("sessionId"))
                    if waiting:
                        waiting.put(message)
                    elif page:
                        page.on_event(message["method"], message["params"])
        with self._lock:
            for waiting in self._answers.values():
                waiting.put({"error": {"message": "the browser has ended; see "
                                                  + self.log_path}})

    def send(self, method, session=None, timeout=None, **params):
        """One command; its result."""
        waiting = queue.Queue()
        with self._lock:
            self._number += 1
            number = self._number
            self._answers[number] = waiting
            message = {"id": number, "method": method, "params": params}
            if session:
                message["sessionId"] = session
            data = json.dumps(message).encode() + b"\0"
            while data:
                data = data[os.write(self._out, data):]
        try:
            answer = waiting.get(timeout=timeout or self.timeout)
        except queue.Empty:
            raise DevToolsError(f"{method}: no answer") from None
        if "error" in answer:
            raise DevToolsError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def page(self, url=None, width=1280, height=800, dark=False):
        """A new tab, with cookies and storage of its own."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank",
                           browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target,
                            flatten=True)["sessionId"]
        page = Page(self, session, target, context)
        with self._lock:
            self._pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(domain + ".enable")
        page.size(width, height)
        page.dark(dark)
        if url:
            page.goto(url)
        return page


class Page:
    def __init__(self, browser, session, target, context):
        self.browser, self.session, self.target = browser, session, target
        self.context = context
        self.events = []     # (method, params), all of them so far.

    def on_event(self, method, params):
        self.events.append((method, params))

    def named(self, method):
        """Parameters of the events of that name so far."""
        return [params for name, params in list(self.events) if name == method]

    def send(self, method, timeout=None, **params):
        return self.browser.send(method, self.session, timeout, **params)

    def close(self):
        """With its cookies and storage."""
        self.browser.send("Target.disposeBrowserContext",
                          browserContextId=self.context)

    def goto(self, url):
        """Load it, up to the event `load` of the window."""
        before = len(self.named("Page.loadEventFired"))
        result = self.send("Page.navigate", url=url)
        if result.get("errorText"):
            raise DevToolsError(f"{url}: {result['errorText']}")
        wait_for(lambda: len(self.named("Page.loadEventFired")) > before, 30,
                 f"{url} is loaded")
        self.evaluate(FRAMES + ".then(() => null)")

    def evaluate(self, expression, timeout=None):
        """The value of JavaScript, as JSON has it; a promise is awaited."""
        result = self.send("Runtime.evaluate", expression=expression, timeout=timeout,
                           awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            raise DevToolsError(f"{expression}: {text}")
        return result["result"].get("value")

    def wait_for(self, expression, timeout=20.0):
        """Evaluate it until it is true; its value. Elements are true as well."""
        wrapped = f"(() => {{ const v = ({expression}); " \
                  "return v instanceof Node ? true : v; })()"

        def check():
            try:
                return self.evaluate(wrapped)
            except DevToolsError as error:
                if "TypeError" in str(error) or "context" in str(error):
                    return None  # Not there yet, or the page is being loaded.
                raise
        return wait_for(check, timeout, expression)

    # ---- as a user does ----

    def click(self, selector, count=1):
        """A real click, with the mouse, at the middle of the element, as soon as that
        is visible, enabled, not covered, and where it was two frames before; or a
        double click, `count` 2, at one place whatever comes there meanwhile."""
        box = self.wait_for(f"""(async () => {{
            const e = document.querySelector({json.dumps(selector)});
            if (!e || e.disabled) {{ return null; }}
            e.scrollIntoView({{block: "center"}});
            const place = () => {{
                const r = e.getBoundingClientRect();
                return [r.x + r.width / 2, r.y + r.height / 2]; }};
            const before = place();
            await {FRAMES};
            const now = place();
            return String(now) === String(before) &&
                e.contains(document.elementFromPoint(...now)) ? now : null; }})()""")
        for number in range(count):
            for kind in ("mousePressed", "mouseReleased"):
                self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1],
                          button="left", clickCount=number + 1)

    def type(self, text):
        """Text for the element that has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key, code=None, modifiers=0, number=0, count=1):
        """A key such as "Enter", "Tab", "Escape", "/"; held down, it comes `count` times."""
        number = number or {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowUp": 38,
                            "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39,
                            " ": 32}.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        common = {"key": key, "code": code or key, "modifiers": modifiers,
                  "windowsVirtualKeyCode": number}
        for again in range(count):
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text,
                      autoRepeat=again > 0, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def requests(self, method, end):
        """How many requests of that method to addresses with that end it has sent."""
        return sum(one["request"]["method"] == method and one["request"]["url"].endswith(end)
                   for one in self.named("Network.requestWillBeSent"))

    # ---- how it looks ----

    def size(self, width, height):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)

    def dark(self, on):
        self.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def screenshot(self, path, whole=False):
        """A PNG of what is visible, or of the whole page."""
        shot = self.send("Page.captureScreenshot", format="png",
                         captureBeyondViewport=whole)
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))

    # ---- faults ----

    def problems(self):
        """Uncaught exceptions, console errors and what the browser complains
        of: violations of the content security policy, failed requests. It asks
        for an icon by itself, which a page need not have."""
        found = [params["exceptionDetails"].get("exception", {}).get("description")
                 or params["exceptionDetails"]["text"]
                 for params in self.named("Runtime.exceptionThrown")]
        found += [" ".join(str(arg.get("value", arg.get("description")))
                           for arg in params["args"])
                  for params in self.named("Runtime.consoleAPICalled")
                  if params["type"] in ("error", "assert")]
        found += [f"{entry['text']} {entry.get('url', '')}".strip()
                  for entry in (p["entry"] for p in self.named("Log.entryAdded"))
                  if entry["level"] == "error"
                  and not entry.get("url", "").endswith("/favicon.ico")]
        return found
