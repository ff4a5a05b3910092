"""Headless Chromium on a page that is served here, and what the page tells."""

import http.server
import json
import os
import queue
import shutil
import subprocess
import threading

from suite import PATIENCE_S

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mqttjs")


def library():
    """MQTT.js as browsers load it."""
    return os.path.join(os.environ["NODE_PATH"], "mqtt", "dist", "mqtt.min.js")


class Site:
    """Serves the page and MQTT.js, and takes the lines that the page sends back."""

    def __init__(self, context):
        self.lines = queue.Queue()
        lines = self.lines

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = {"/page.html": f"{FOLDER}/page.html", "/mqtt.js": library()}
                path = found.get(self.path.partition("?")[0])
                if path is None:
                    return self.send_error(404)
                with open(path, "rb") as file:
                    body = file.read()
                self.send_response(200)
                kind = "text/html; charset=utf-8" if path.endswith(".html") else "text/javascript"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                lines.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        context.callback(self.server.server_close)
        context.callback(self.server.shutdown)

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def next(self):
        """What the page tells next."""
        try:
            return self.lines.get(timeout=PATIENCE_S * 2)
        except queue.Empty:
            raise AssertionError("the page told nothing") from None


class Chromium:
    def __init__(self, context, url, folder):
        self.folder = os.path.join(folder, "chromium")
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        words += ["--disable-dev-shm-usage", "--disable-background-networking"]
        words += ["--ignore-certificate-errors", f"--user-data-dir={self.folder}"]
        self.process = subprocess.Popen(
            ["chromium", *words, url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A group of its own: it has children, which its end does not end.
            start_new_session=True,
        )
        context.callback(self.end)

    def end(self):
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
