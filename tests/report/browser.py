"""Chromium without a window, spoken to over its debugging pipe: the DevTools protocol, messages
of JSON that end with a 0 byte, on the descriptors 3 (to it) and 4 (from it)."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PATIENCE = 60  # seconds for any answer


def find():
    return shutil.which("chromium") or shutil.which("chromium-browser")


# How well the texts of a selector's elements can be read: the least contrast (WCAG 2.1, from 1 to
# 21) of ink and of the element's own colour, laid over the body's.
CONTRAST = """(selector) => {
    const levels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (rgb) => rgb.map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = levels(getComputedStyle(document.body).backgroundColor);
    return Math.min(...Array.from(document.querySelectorAll(selector), (element) => {
        const style = getComputedStyle(element);
        const [r, g, b, opacity = 1] = levels(style.backgroundColor);
        const paper = [r, g, b].map((c, i) => opacity * c + (1 - opacity) * ground[i]);
        const lights = [light(paper), light(levels(style.color).slice(0, 3))];
        return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    }));
}"""


class Browser:
    def __init__(self, program):
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()
        self.profile = tempfile.mkdtemp(prefix="chromium-")

        def connect():
            # First out of the way of 3 and 4, which may be among these.
            ends = os.dup(to_read), os.dup(back_write)
            high = [os.dup2(end, 100 + i, inheritable=False) for i, end in enumerate(ends)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={self.profile}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
            preexec_fn=connect)
        os.close(to_read)
        os.close(back_write)
        self.pending, self.count = b"", 0

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)

    def send(self, method, parameters, session=None):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        return self.count

    def receive(self, deadline):
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.back], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.back, 1 << 20) if ready else b""
            if not data:
                raise OSError("the browser does not answer")
            self.pending += data
        message, self.pending = self.pending.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, on_event=lambda event: None, **parameters):
        number, deadline = self.send(method, parameters, session), time.monotonic() + PATIENCE
        while True:
            message = self.receive(deadline)
            if message.get("id") == number:
                if "error" in message:
                    raise OSError(f"{method}: {message['error']['message']}")
                return message["result"]
            on_event(message)


class Page:
    """A page opened at a width, in light or dark, with scripts or without. `problems` is what the
    console, the network and dialogs had to say; `seconds` how long opening it took by the clock."""

    def __init__(self, browser, path, width=1280, dark=False, script=True):
        self.browser, self.problems, self.loaded, self.requests = browser, [], False, []
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.target = target
        self.session = browser.call("Target.attachToTarget", targetId=target,
                                    flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        start = time.monotonic()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self.event(browser.receive(start + PATIENCE))
        if script:
            self.evaluate("new Promise(done => requestAnimationFrame("
                          "() => requestAnimationFrame(() => done(true))))")
        self.seconds = time.monotonic() - start

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)

    def event(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if message.get("sessionId") != self.session:
            return
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled",
                        "Page.javascriptDialogOpening"):
            self.problems.append(f"{method}: {json.dumps(parameters)[:500]}")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, self.event, **parameters)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"]["exception"].get("description"))
        return result["result"].get("value")

    def processor_seconds(self):
        """What the page's own process has used so far."""
        self.call("Performance.enable")
        metrics = self.call("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "ProcessTime")

    def press(self, key, code):
        for kind in "rawKeyDown", "keyUp":
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code)

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(data["data"]))


def share_of_a_core():
    """What the machine lets this process have now: 1 where nobody else wants it."""
    wall, processor = time.monotonic(), time.process_time()
    while time.process_time() - processor < 0.05:
        pass
    return (time.process_time() - processor) / (time.monotonic() - wall)


def opening_seconds(open_page, limit, loads=5):
    """How long a page takes to open, by the clock: the shortest of several loads, up to the first
    below `limit`. Only loads before and after which a core was to be had say that a page is slow;
    where others left none in any of them, what is given is the least processor time."""
    seconds, judged, processor = [], [], []
    before = share_of_a_core()
    for _ in range(loads):
        page = open_page()
        after = share_of_a_core()
        seconds.append(page.seconds)
        processor.append(page.processor_seconds())
        print(f"opened in {page.seconds:.2f} s, {processor[-1]:.2f} s of them of its processor; "
              f"{before:.0%} and {after:.0%} of a core to be had")
        if page.seconds < limit:
            return page.seconds
        if min(before, after) > 0.8:
            judged.append(page.seconds)
        before = after
    return min(judged or processor)
