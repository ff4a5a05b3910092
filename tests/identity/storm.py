#!/usr/bin/env python3
"""What a storm costs: a fleet whose passwords are bcrypt in a real PostgreSQL comes twice, beside
clients that are connected and exchange messages. Prints a line of JSON for each part."""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))

import suite  # noqa: E402
import test_storm  # noqa: E402
from fleet import Fleet  # noqa: E402
from postgres import Postgres  # noqa: E402
from rig import Rig  # noqa: E402

SETTINGS = """
[auth]
allow_anonymous = "true"
memo_s = "1d"
"""


WINDOW_S = 5


class Traffic:
    """Messages between clients that are connected, measured in windows that follow each other."""

    def __init__(self, options, port):
        self.command = [options.loadtest, "flow", "--broker", f"127.0.0.1:{port}", "--json"]
        self.command += ["-p", "10", "-s", "10", "-t", "10", "--rate", str(options.rate)]
        self.windows = []
        self.is_over = False
        self.thread = threading.Thread(target=self._go_on)
        self.thread.start()

    def window(self, seconds):
        command = self.command + ["--warm-up", "0", "--duration", str(seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout)

    def _go_on(self):
        while not self.is_over:
            self.windows.append(self.window(WINDOW_S))

    def end(self):
        self.is_over = True
        self.thread.join()

    def wait(self, count):
        """Waits for this many windows more."""
        count += len(self.windows)
        while len(self.windows) < count:
            time.sleep(0.1)

    def take(self):
        """Of the windows since the last call, in milliseconds."""
        self.wait(1)
        windows, self.windows = self.windows, []
        found = sorted(window["p99_us"] / 1000 for window in windows)
        return {
            "windows": len(found),
            "p99_ms": round(found[len(found) // 2], 3),
            "p99_ms_of_best_window": round(found[0], 3),
            "p99_ms_of_worst_window": round(found[-1], 3),
            "lost": sum(window.get("lost", 0) for window in windows),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="the ringmq binary")
    parser.add_argument("--loadtest", required=True, help="the loadtest binary")
    parser.add_argument("--clients", type=int, default=15_000)
    parser.add_argument("--cost", type=int, default=10, help="of bcrypt")
    parser.add_argument("--rate", type=int, default=1000, help="messages a second beside it")
    parser.add_argument("--within", type=int, default=3600, help="seconds for a storm")
    options = parser.parse_args()

    def tell(part, **figures):
        print(json.dumps({"part": part, **figures}), flush=True)

    with Postgres() as postgres, suite.Context(None, suite.CASES[0]) as context:
        postgres.reset("pgsql_notify.sql")
        test_storm.fill(postgres, options.clients, options.cost)
        postgres.log_statements()
        context.lab = types.SimpleNamespace(binary=os.path.abspath(options.broker), postgres=postgres)
        rig = Rig(context, password_hash="bcrypt", keepalive="1h", settings=SETTINGS).load()
        rig.wait_log("listening for changes")
        fleet = Fleet(rig.port, options.clients)
        context.callback(fleet.close)
        traffic = Traffic(options, rig.port)
        context.callback(traffic.end)
        traffic.wait(4)
        tell("quiet", **traffic.take())
        # The clients have this machine's cores, too, which they would not in a fleet.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        for part in ("first storm", "second storm"):
            traffic.windows.clear()
            cost = test_storm.run(postgres, rig, fleet, options.within)
            tell(part, **cost, **traffic.take())
            fleet.close()
        # What else runs on this machine may have changed meanwhile.
        time.sleep(WINDOW_S)
        traffic.windows.clear()
        traffic.wait(4)
        tell("quiet again", **traffic.take())


if __name__ == "__main__":
    main()
