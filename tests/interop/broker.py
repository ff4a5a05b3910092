"""The broker under test: started on ports that it picks and prints, stopped at the end."""

import json
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from suite import PATIENCE_S

LOG_LINES_SHOWN = 60
SCHEMES = ("tcp", "tls", "ws", "wss")


class Broker:
    def __init__(self, binary, shards, port=None):
        self.binary = binary
        self.shards = shards
        self.is_foreign = port is not None
        # Of its listeners, in their order: scheme and port.
        self.doors = [("tcp", port)] if self.is_foreign else []
        self.process = None
        self.folder = None

    def __enter__(self):
        if not self.is_foreign:
            self.start()
        return self

    def __exit__(self, *_):
        self.end()

    @property
    def port(self):
        return self.port_of("tcp")

    @property
    def url(self):
        return self.url_of("tcp")

    def port_of(self, scheme):
        """The port of its first listener of this kind."""
        for found, port in self.doors:
            if found == scheme:
                return port
        raise AssertionError(f"no listener of kind {scheme}: needs a broker that it can start")

    def url_of(self, scheme):
        """The URL as MQTT.js writes it."""
        port = self.port_of(scheme)
        word = {"tcp": "mqtt", "tls": "mqtts"}.get(scheme, scheme)
        path = "/mqtt" if scheme in ("ws", "wss") else ""
        return f"{word}://127.0.0.1:{port}{path}"

    def start(self, options=(), folder=None, listeners=None):
        """Starts it, in a fresh folder unless one is given, with one listener of each kind.

        `listeners` are the tables of a configuration instead, as text, all with port 0.
        """
        self.folder = folder or tempfile.mkdtemp(prefix="ringmq-interop-")
        if listeners is None:
            listen = [word for kind in SCHEMES for word in ("--listen", f"{kind}://127.0.0.1:0")]
            count = len(SCHEMES)
        else:
            with open(f"{self.folder}/ringmq.toml", "w") as config:
                config.write(listeners)
            listen = ["--config", f"{self.folder}/ringmq.toml"]
            count = listeners.count("[[listener]]")
        log = open(f"{self.folder}/log", "wb")
        self.process = subprocess.Popen(
            [self.binary, "run", *listen, "--data", f"{self.folder}/data"]
            + ["--shards", str(self.shards), "--log", "info", *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self.doors = self._read_doors(count)

    def _read_doors(self, count):
        doors = []
        overdue = threading.Timer(PATIENCE_S, self.process.kill)
        overdue.start()
        try:
            for line in self.process.stdout:
                if found := re.search(r"listening on (\w+)://127\.0\.0\.1:(\d+)", line):
                    doors.append((found[1], int(found[2])))
                if len(doors) == count:
                    return doors
        finally:
            overdue.cancel()
        raise RuntimeError(f"the broker printed {len(doors)} of {count} ports:\n{self.log()}")

    def ask(self, *words):
        """What `ringmq WORDS` prints of it."""
        command = [self.binary, *words, "--data", f"{self.folder}/data"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: status {done.returncode}: {done.stderr}")
        return done.stdout

    def status(self):
        return json.loads(self.ask("status", "--json"))["node"]

    def refused(self, reason):
        """How many were turned away for this."""
        counts = {entry["reason"]: entry["count"] for entry in self.status()["refusals"]}
        return counts.get(reason, 0)

    def await_status(self, what, condition):
        """Waits until its status is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(status := self.status()):
            if time.monotonic() > deadline:
                raise AssertionError(f"never {what}: {status}")
            time.sleep(0.05)

    def is_running(self):
        return self.is_foreign or self.process.poll() is None

    def stop(self, by=signal.SIGTERM):
        """Asks the broker to end, and returns its exit status."""
        self.process.send_signal(by)
        return self.process.wait(PATIENCE_S)

    def restart(self):
        self.end()
        self.start()

    def log(self):
        if self.folder is None:
            return ""
        with open(f"{self.folder}/log", errors="replace") as log:
            return "".join(log.readlines()[-LOG_LINES_SHOWN:])

    def end(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
