#!/usr/bin/env python3
"""What a storm costs: a fleet whose passwords are bcrypt in a real PostgreSQL comes twice, beside
clients that are connected and exchange messages. Prints a line of JSON for each part."""

import argparse
import json
import os
import signal
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


QUIET_S = 20


class Traffic:
    """Messages between clients that are connected all the time. Their times are told for each
    second, so those of a part are those of its whole seconds."""

    def __init__(self, options, port):
        command = [options.loadtest, "flow", "--broker", f"127.0.0.1:{port}", "--json"]
        command += ["-p", "10", "-s", "10", "-t", "10", "--rate", str(options.rate)]
        command += ["--warm-up", "0", "--duration", str(2 * options.within + 10 * QUIET_S)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.began = time.monotonic()
        self.parts = {}

    def part(self, name, began):
        """From `began` until now is this part."""
        self.parts[name] = (began - self.began, time.monotonic() - self.began)

    def end(self):
        """What each part was like, in milliseconds, and the whole."""
        self.process.send_signal(signal.SIGINT)
        whole = json.loads(self.process.communicate()[0])
        rows = list(zip(*(whole["timeline"][key] for key in ("at_s", "p99_us", "delivered_per_s"))))
        found = {}
        for name, (begin, end) in self.parts.items():
            # A row is about the second before it; the part's first and last are others' as well.
            inside = [row for row in rows if begin + 1 < row[0] < end] or [
                row for row in rows if begin < row[0] < end + 1
            ]
            times = sorted(row[1] / 1000 for row in inside)
            found[name] = {
                "seconds": len(times),
                "p99_ms": round(times[len(times) // 2], 3),
                "p99_ms_of_best_second": round(times[0], 3),
                "p99_ms_of_worst_second": round(times[-1], 3),
                "delivered_per_s": round(sum(row[2] for row in inside) / len(inside), 1),
            }
        keys = ("published", "delivered", "lost", "connections_lost", "lag_p99_us")
        return found, {key: whole[key] for key in keys}

    def kill(self):
        self.process.kill()
        self.process.wait()


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
        context.callback(traffic.kill)

        def quiet(part):
            began = time.monotonic()
            time.sleep(QUIET_S)
            traffic.part(part, began)

        quiet("quiet")
        # The clients have this machine's cores, too, which they would not in a fleet.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        for part in ("first storm", "second storm"):
            began = time.monotonic()
            cost = test_storm.run(postgres, rig, fleet, options.within)
            traffic.part(part, began)
            tell(part, **cost)
            fleet.close()
        # What else runs on this machine may have changed meanwhile.
        quiet("quiet again")
        parts, whole = traffic.end()
        for part, figures in parts.items():
            tell(f"traffic, {part}", **figures)
        tell("traffic, all", **whole)


if __name__ == "__main__":
    main()
