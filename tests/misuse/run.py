#!/usr/bin/env python3
"""Holds a broker open and misuses it, while well-behaved clients exchange messages.

Garbage, half packets, slow readers, connects by the thousand, packets larger than allowed and
floods of SUBSCRIBE come from processes that get the processor time that nobody else wants: in life
they have machines of their own.
`loadtest flow` is the well-behaved pair of groups: it counts what is lost, doubled or reordered,
and tells the times. Facts decide: nothing lost, the broker alive with bounded memory, few log
lines, no panic, balanced books. Times are only told, unless --times asks to be strict.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

QUEUE_BUDGET = 64 << 20
# What the process may hold beyond what it held before and its budget for queues: outboxes of slow
# readers (1 MiB each), connections, subscriptions of a flood, and what the allocator keeps spare.
SPARE_BYTES = 192 << 20
LOG_LINES_PER_S = 25
TIMES_MAX = 3.0


def utf8(text):
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def packet(first, body):
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def connect(client_id, level=4):
    properties = b"\0" if level == 5 else b""
    return packet(0x10, utf8("MQTT") + bytes([level, 2, 0, 30]) + properties + utf8(client_id))


def subscribe(packet_id, *filters):
    body = struct.pack(">H", packet_id)
    return packet(0x82, body + b"".join(utf8(name) + b"\1" for name in filters))


class Misuser:
    """One process of one kind of misuse."""

    def __init__(self, port, seed):
        self.port = port
        self.random = random.Random(seed)
        self.number = 0

    def open(self, receive_bytes=None):
        sock = socket.socket()
        sock.settimeout(2)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def name(self, kind):
        self.number += 1
        return f"{kind}-{os.getpid()}-{self.number}"

    def garbage(self):
        with self.open() as sock:
            if self.random.random() < 0.5:
                sock.sendall(connect(self.name("garbage"), self.random.choice((3, 4, 5))))
            for _ in range(self.random.randrange(1, 6)):
                sock.sendall(self.random.randbytes(self.random.randrange(1, 4000)))

    def halves(self):
        """Many connections that stop in the middle of a packet, and some that go on by bytes."""
        whole = connect(self.name("half")) + packet(0x30, utf8("half/a") + bytes(300))
        kept = []
        for _ in range(50):
            sock = self.open()
            sock.sendall(whole[: self.random.randrange(1, len(whole))])
            kept.append(sock)
        time.sleep(self.random.random() * 3)
        for sock in kept:
            if self.random.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    def slow(self):
        """Subscribers to everything that read nothing, or a byte now and then."""
        kept = []
        for _ in range(10):
            sock = self.open(receive_bytes=4096)
            sock.sendall(connect(self.name("slow"), 5) + subscribe(1, "#", "$share/slow/#"))
            kept.append(sock)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for sock in kept:
                sock.recv(1)
            time.sleep(0.1)
        for sock in kept:
            sock.close()

    def storm(self):
        for _ in range(200):
            with self.open() as sock:
                sock.sendall(connect(self.name("storm"), self.random.choice((4, 5))))
                if self.random.random() < 0.2:
                    sock.recv(4)

    def oversized(self):
        with self.open() as sock:
            sock.sendall(connect(self.name("large"), 5))
            sock.recv(64)
            sock.sendall(bytes([0x30]) + b"\xff\xff\xff\x7f")
            for _ in range(64):
                sock.sendall(bytes(65536))

    def filters(self):
        """Subscribes far beyond what one client may, in wide packets."""
        with self.open() as sock:
            sock.sendall(connect(self.name("filters")))
            for number in range(1, 300):
                names = [f"f/{self.random.randrange(10**9)}/+/{n}/#" for n in range(100)]
                sock.sendall(subscribe(number, *names))
                if number % 20 == 0:
                    sock.recv(4096)


KINDS = ("garbage", "halves", "slow", "storm", "oversized", "filters")


def misuse(kind, port, seed, stop):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    misuser = Misuser(port, seed)
    while not stop.is_set():
        try:
            getattr(misuser, kind)()
        except OSError:
            pass  # Being cut is what misuse comes to.


class Broker:
    def __init__(self, binary, folder):
        self.binary, self.data = binary, f"{folder}/data"
        self.log_path = f"{folder}/log"
        with open(f"{folder}/ringmq.toml", "w") as file:
            file.write(f"[limits]\nmemory_budget_bytes = {QUEUE_BUDGET}\nconnect_rate_max = 0\n")
        command = [binary, "run", "--listen", "tcp://127.0.0.1:0", "--data", self.data]
        command += ["--config", f"{folder}/ringmq.toml", "--shards", "2"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
            )
        self.port = None
        for line in self.process.stdout:
            if found := re.search(r"listening on tcp://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        if self.port is None:
            raise SystemExit(f"the broker did not start:\n{self.log()}")

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024

    def status(self):
        command = [self.binary, "status", "--json", "--data", self.data]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()


def get_the_processor_at_once():
    """What well-behaved clients do on machines of their own: here it needs a privilege."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pass


def flow(loadtest, port, seconds):
    """A well-behaved pair of groups: what `loadtest flow` tells."""
    command = [loadtest, "flow", "--broker", f"127.0.0.1:{port}", "--json", "--publishers", "20"]
    command += ["--subscribers", "20", "--topics", "20", "--qos", "1", "--rate", "500"]
    command += ["--duration", str(seconds), "--drain", "20", "--mqtt", "5"]
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=get_the_processor_at_once
    )
    if not done.stdout.strip():
        raise SystemExit(f"loadtest: {done.stderr}")
    return json.loads(done.stdout)


def told(name, report):
    times = {key: report[key] for key in ("p50_us", "p99_us", "max_us")}
    kept = ("published", "delivered", "lost", "duplicated", "reordered")
    counts = {key: report[key] for key in kept if key in report}
    print(f"{name}: {counts} {times}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="the ringmq binary")
    parser.add_argument("--loadtest", required=True, help="the loadtest binary")
    parser.add_argument("--quiet", type=int, default=5, help="seconds without misuse")
    parser.add_argument("--seconds", type=int, default=20, help="seconds of misuse")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", action="store_true", help="hold the 99 % time to be strict")
    parser.add_argument("kinds", nargs="*", default=KINDS, help=f"of {', '.join(KINDS)}")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))

    failures = []

    def expect(holds, what):
        if not holds:
            failures.append(what)

    with tempfile.TemporaryDirectory(prefix="ringmq-misuse-") as folder:
        broker = Broker(options.broker, folder)
        stop = multiprocessing.Event()
        processes = []
        try:
            quiet = flow(options.loadtest, broker.port, options.quiet)
            told("quiet", quiet)
            before = broker.resident()
            lines_before = broker.log().count("\n")
            for at, kind in enumerate(options.kinds):
                arguments = (kind, broker.port, options.seed * 100 + at, stop)
                processes.append(multiprocessing.Process(target=misuse, args=arguments))
            for process in processes:
                process.start()
            began = time.monotonic()
            misused = flow(options.loadtest, broker.port, options.seconds)
            took = time.monotonic() - began
            told("misused", misused)
            highest = broker.resident()
            stop.set()
            for process in processes:
                process.join()
            expect(broker.process.poll() is None, "the broker ended")
            status = broker.status()
            log = broker.log()
        finally:
            stop.set()
            for process in processes:
                process.kill()
            broker.process.terminate()
            code = broker.process.wait(30)
        lines = log.count("\n") - lines_before
        refused = {row["reason"]: row["count"] for row in status["node"]["refusals"]}
        print(f"resident: {before >> 20} MiB before, {highest >> 20} MiB at the end of it")
        for shard in status["node"]["shards"]:
            turns = f"99 % within {shard['turn_p99_us']} µs, the longest {shard['turn_max_us']} µs"
            print(f"turns of shard {shard['shard']} in the last minute or two: {turns}")
        print(f"log: {lines} lines in {took:.0f} s; refused: {refused}")
        expect(code == 0, f"the broker ended with {code}")
        for name, report in (("quiet", quiet), ("misused", misused)):
            expect(report["ok"], f"{name}: {report['problems']}")
        bound = before + QUEUE_BUDGET + SPARE_BYTES
        expect(highest <= bound, f"{highest >> 20} MiB resident, {bound >> 20} allowed")
        expect(lines <= LOG_LINES_PER_S * took, f"{lines} log lines in {took:.0f} s")
        expect("panicked" not in log and "a shard failed" not in log, f"a panic:\n{log[-3000:]}")
        if options.times:
            ratio = misused["p99_us"] / quiet["p99_us"]
            print(f"99 %: {ratio:.2f} times as long as quiet")
            expect(ratio <= TIMES_MAX, f"the 99 % time is {ratio:.1f} times that of quiet")
    for failure in failures:
        print(f"FAILED: {failure}")
    print(f"{'misuse: failed' if failures else 'misuse: passed'}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
