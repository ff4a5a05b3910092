#!/usr/bin/env python3
"""What a storm costs: a fleet whose passwords are bcrypt in a real PostgreSQL comes, is cut off and
comes again, beside clients that are connected and exchange messages. Prints a line of JSON for each
part.

In the field a fleet and a database have processors of their own. So the broker has one half of this
machine's, all of it with its hashes, and everybody else the other half. There the probe's clients go
first (SCHED_FIFO), since otherwise their times are those of their own wake-ups, and fleet and database
run in the idle class (SCHED_IDLE). With `--share` there is no such wall. The first line that is printed
says where the broker was."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))

import suite  # noqa: E402
import test_storm  # noqa: E402
from fleet import Fleet, cpu_seconds, part  # noqa: E402
from postgres import Postgres  # noqa: E402
from rig import Rig  # noqa: E402

SETTINGS = """
[auth]
allow_anonymous = "true"
"""


QUIET_S = 20
# A fleet that is cut off is some work that is not the storm's: it has seconds of its own.
REST_S = 3
BETWEEN_S = 6
SHORT_S = 4


class Traffic:
    """Messages between clients that are connected all the time. Their times are told for each
    second, so those of a part are those of its whole seconds."""

    def __init__(self, options, port):
        command = [options.loadtest, "flow", "--broker", f"127.0.0.1:{port}", "--json"]
        command += ["-p", "10", "-s", "10", "-t", "10", "--rate", str(options.rate)]
        command += ["--warm-up", "0", "--duration", str(2 * options.within + 10 * QUIET_S + 20 * options.returns)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.goes_first = goes_first(self.process.pid)
        self.began = time.monotonic()
        self.parts = {}

    def part(self, kind, began):
        """From `began` until now is a part of this kind."""
        self.parts.setdefault(kind, []).append((began - self.began, time.monotonic() - self.began))

    def end(self):
        """What each kind of part was like, in milliseconds, and the whole."""
        self.process.send_signal(signal.SIGINT)
        whole = json.loads(self.process.communicate()[0])
        rows = list(zip(*(whole["timeline"][key] for key in ("at_s", "p99_us", "delivered_per_s"))))
        found = {kind: told(rows, parts) for kind, parts in self.parts.items()}
        for figures in found.values():
            # Like with like: the worst of three seconds of a storm beside the worst of three quiet
            # ones.
            quiet = told(rows, self.parts["quiet"], figures["seconds_each"])
            figures["quiet_ms"] = quiet["p99_ms"]
            figures["times_quiet"] = round(figures["p99_ms"] / quiet["p99_ms"], 2)
        keys = ("published", "delivered", "lost", "connections_lost", "lag_p99_us")
        return found, {key: whole[key] for key in keys}

    def kill(self):
        self.process.kill()
        self.process.wait()


def told(rows, parts, seconds_each=None):
    """Parts of one kind: the 99 % of their seconds, in the middle of those seconds. A row is about the
    second before it. Of a long part all seconds count that are its own; a short one may have none, so
    of all that it has a share in the worst counts. With `seconds_each` a long part counts as many
    short ones of so many seconds."""
    times, rates, lengths = [], [], []
    for begin, end in parts:
        edge = 0 if end - begin > SHORT_S else 1
        inside = [row for row in rows if begin + 1 - edge < row[0] < end + edge]
        rates += [row[2] for row in inside]
        found = [row[1] / 1000 for row in inside]
        each = len(found) if edge else seconds_each or 1
        lengths.append(each)
        times += [max(found[at : at + each]) for at in range(0, len(found) - each + 1, max(each, 1))]
    times.sort()
    return {
        "parts": len(times),
        "seconds_each": part(sorted(lengths), 0.5),
        "p99_ms": round(part(times, 0.5), 3),
        "quartiles": [round(part(times, 0.25), 3), round(part(times, 0.75), 3)],
        "best_and_worst": [round(times[0], 3), round(times[-1], 3)],
        "delivered_per_s": round(sum(rates) / len(rates), 1),
    }


class Machine:
    """What the machine does beside us, from now on."""

    def __init__(self, ours):
        self.ours = ours
        self.began = self._look()

    def told(self):
        now = self._look()
        seconds, busy, stolen, own = (after - before for after, before in zip(now, self.began))
        return {
            "others_cores": round(max(0, busy - own) / seconds, 2),
            "stolen_cores": round(stolen / seconds, 2),
        }

    def _look(self):
        with open("/proc/stat") as stat:
            user, nice, system, _idle, _wait, irq, soft, stolen = map(int, stat.readline().split()[1:9])
        own = sum(cpu_seconds(pid) for pid in self.ours)
        return time.monotonic(), (user + nice + system + irq + soft) / 100, stolen / 100, own


def goes_first(pid):
    """Puts a process before all others; whether that is allowed."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="the ringmq binary")
    parser.add_argument("--loadtest", required=True, help="the loadtest binary")
    parser.add_argument("--clients", type=int, default=15_000)
    parser.add_argument("--cost", type=int, default=10, help="of bcrypt")
    parser.add_argument("--rate", type=int, default=1000, help="messages a second beside it")
    parser.add_argument("--within", type=int, default=3600, help="seconds for a storm")
    parser.add_argument("--returns", type=int, default=12, help="storms after the first one")
    parser.add_argument("--share", action="store_true", help="everybody on all processors")
    options = parser.parse_args()

    def tell(what, **figures):
        print(json.dumps({"part": what, **figures}), flush=True)

    cpus = sorted(os.sched_getaffinity(0))
    ours = cpus[: len(cpus) // 2]
    if options.share or not ours:
        ours = None
    else:
        os.sched_setaffinity(0, cpus[len(ours) :])
    with Postgres(is_idle=True) as postgres, suite.Context(None, suite.CASES[0]) as context:
        postgres.reset("pgsql_notify.sql")
        test_storm.fill(postgres, options.clients, options.cost)
        postgres.log_statements()
        context.lab = types.SimpleNamespace(binary=os.path.abspath(options.broker), postgres=postgres)
        rig = Rig(
            context, password_hash="bcrypt", keepalive="1h", settings=SETTINGS, cpus=ours
        ).load()
        rig.wait_log("listening for changes")
        fleet = Fleet(rig.port, options.clients)
        context.callback(fleet.close)
        traffic = Traffic(options, rig.port)
        context.callback(traffic.kill)

        tell("places", broker=ours or cpus, probe_first=traffic.goes_first)

        def quiet(seconds):
            began = time.monotonic()
            time.sleep(seconds)
            traffic.part("quiet", began)

        quiet(QUIET_S)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        for number in range(1 + options.returns):
            kind = "return" if number else "first storm"
            machine = Machine([rig.process.pid, traffic.process.pid, os.getpid(), *postgres.tree()])
            began = time.monotonic()
            cost = test_storm.run(postgres, rig, fleet, options.within)
            traffic.part(kind, began)
            tell(f"{kind} {number}" if number else kind, **cost, **machine.told())
            # What else runs on this machine changes all the time, so that there is a quiet part
            # beside each of the others.
            time.sleep(1)
            quiet(BETWEEN_S)
            began = time.monotonic()
            fleet.close()
            traffic.part("cut off", began)
            time.sleep(REST_S)
        quiet(QUIET_S)
        turns = rig.status()["node"]["shards"][0]
        tell("turns", p99_us=turns["turn_p99_us"], max_us=turns["turn_max_us"])
        parts, whole = traffic.end()
        for kind, figures in parts.items():
            tell(f"traffic, {kind}", **figures)
        tell("traffic, all", **whole)


if __name__ == "__main__":
    main()
