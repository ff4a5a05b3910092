"""The broker under test: started on a port that it picks and prints, stopped at the end."""

import re
import shutil
import signal
import subprocess
import tempfile
import threading

from suite import PATIENCE_S

LOG_LINES_SHOWN = 60


class Broker:
    def __init__(self, binary, shards, port=None):
        self.binary = binary
        self.shards = shards
        self.is_foreign = port is not None
        self.port = port
        self.process = None
        self.folder = None

    def __enter__(self):
        if not self.is_foreign:
            self.start()
        return self

    def __exit__(self, *_):
        self.end()

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self, options=(), folder=None):
        """Starts it, in a fresh folder unless one is given."""
        self.folder = folder or tempfile.mkdtemp(prefix="ringmq-interop-")
        log = open(f"{self.folder}/log", "wb")
        self.process = subprocess.Popen(
            [self.binary, "run", "--listen", "tcp://127.0.0.1:0", "--data", f"{self.folder}/data"]
            + ["--shards", str(self.shards), "--log", "info", *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self.port = self._read_port()

    def _read_port(self):
        overdue = threading.Timer(PATIENCE_S, self.process.kill)
        overdue.start()
        try:
            for line in self.process.stdout:
                if found := re.search(r"listening on tcp://127\.0\.0\.1:(\d+)", line):
                    return int(found[1])
        finally:
            overdue.cancel()
        raise RuntimeError(f"the broker printed no port:\n{self.log()}")

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
