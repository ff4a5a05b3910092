#!/usr/bin/env python3
"""A crowd that begins handshakes and never ends them, beside a client that goes on working.

Prints what each cost; fails when a message of the client is lost, when somebody of the crowd is not
turned away and counted, or when the log or the memory grows with the crowd.
"""

import argparse
import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 120
HALF_A_REQUEST = b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: web"
CONNECT = b"\x10\x10\0\x04MQTT\x04\x02\0\x00\0\x04live"
SUBSCRIBE = b"\x82\x06\0\x01\0\x01t\0"
MESSAGE = b"\x30\x0b\0\x01t%08d"
# What one that goes on is let send, with what lies in the sockets' buffers.
FLOOD_BYTES_MAX = 64 << 20
# Of a log that is bounded: a second, and beside that.
LOG_LINES_PER_S, LOG_LINES_MORE = 20, 30


class Broker:
    def __init__(self, binary, timeout_s):
        self.binary = binary
        self.folder = tempfile.TemporaryDirectory(prefix="ringmq-crowd-")
        kinds = ("tcp", "tls", "ws", "wss")
        listen = [word for kind in kinds for word in ("--listen", f"{kind}://127.0.0.1:0")]
        environment = dict(
            os.environ,
            RINGMQ_LIMITS_CONNECT_RATE_MAX="0",
            RINGMQ_MQTT_CONNECT_TIMEOUT_S=str(timeout_s),
        )
        self.log = open(f"{self.folder.name}/log", "w+")
        self.process = subprocess.Popen(
            [binary, "run", *listen, "--data", self.folder.name, "--shards", "2"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
            text=True,
        )
        self.ports = {}
        while len(self.ports) < len(kinds):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("the broker ended before it listened")
            if found := re.search(r"listening on (\w+)://127\.0\.0\.1:(\d+)", line):
                self.ports[found[1]] = int(found[2])

    def status(self):
        command = [self.binary, "status", "--json", "--data", self.folder.name]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["node"]

    def refused(self):
        return {entry["reason"]: entry["count"] for entry in self.status()["refusals"]}

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_lines(self):
        with open(f"{self.folder.name}/log") as log:
            return log.readlines()

    def end(self):
        self.process.terminate()
        status = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        return status


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def client_hello():
    """What a real client begins with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context().wrap_bio(incoming, outgoing)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Live:
    """A client over TLS that sends to itself, a message after the other, in a process of its own:
    in this one it would wait for the interpreter while the crowd is made."""

    def __init__(self, port):
        command = [sys.executable, __file__, "--live", str(port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        if self.process.stdout.readline() != "up\n":
            raise RuntimeError("the live client is not up")

    def taken(self):
        """The times since the last call, in words."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the live client has failed")
        times = sorted(json.loads(line))
        at = lambda share: times[min(int(len(times) * share), len(times) - 1)] * 1000
        words = f"half in {at(0.5):.2f} ms, 99 % in {at(0.99):.1f} ms, all in {at(1):.1f} ms"
        return f"{len(times)} messages, {words}"

    def end(self):
        """Whether it had all that it sent, until now."""
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(PATIENCE_S) == 0


def live(port):
    """The live client's process: tells its times for each line that it reads."""
    client = context().wrap_socket(socket.create_connection(("127.0.0.1", port)))
    client.settimeout(PATIENCE_S)
    try:
        # On a machine of its own it would have the processor whenever it wants it.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pass

    def read(count):
        got = b""
        while len(got) < count:
            piece = client.recv(count - len(got))
            if not piece:
                raise ConnectionError("the broker has closed")
            got += piece
        return got

    client.sendall(CONNECT)
    read(4)
    client.sendall(SUBSCRIBE)
    read(5)
    print("up", flush=True)
    times, number = [], 0
    while True:
        # A message every 10 ms, and whatever is asked in between.
        if select.select([sys.stdin], [], [], 0.01)[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps(times), flush=True)
            times = []
        begun = time.monotonic()
        message = MESSAGE % number
        client.sendall(message)
        if read(len(message)) != message:
            raise AssertionError("another message came")
        times.append(time.monotonic() - begun)
        number += 1


def open_crowd(broker, count):
    """By kinds: a whole ClientHello and then nothing, half of one, nothing, half a request."""
    hello = client_hello()
    half = hello[: len(hello) // 2]
    kinds = [("tls", hello), ("tls", half), ("tls", b""), ("ws", HALF_A_REQUEST)]
    crowd = []
    for number in range(count):
        scheme, begin = kinds[number % len(kinds)]
        member = socket.create_connection(("127.0.0.1", broker.ports[scheme]))
        member.sendall(begin)
        crowd.append(member)
    return crowd


def wait_until(what, condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never {what}")
        time.sleep(0.2)


def half_open(broker, live, count):
    before_kib, before_s, begun = broker.resident_kib(), broker.cpu_s(), time.monotonic()
    crowd = open_crowd(broker, count)
    wait_until("all there", lambda: broker.status()["connections"] == count + 1)
    opened_s = time.monotonic() - begun
    cost = (broker.cpu_s() - before_s) / count
    held = (broker.resident_kib() - before_kib) * 1024 / count
    print(f"{count} half-open connections in {opened_s:.1f} s: {held:.0f} bytes resident each,")
    print(f"  {cost * 1e6:.0f} us of CPU each, the live client's own traffic included")
    print(f"  live client meanwhile: {live.taken()}")
    longest = [f"{shard['turn_max_us'] / 1000:.1f}" for shard in broker.status()["shards"]]
    print(f"  longest turns of the shards: {' and '.join(longest)} ms")
    wait_until("all counted", lambda: broker.refused().get("handshake_timeout", 0) == count)
    wait_until("all gone", lambda: broker.status()["connections"] == 1)
    for member in crowd:
        member.close()
    wait_until(
        "memory back", lambda: broker.resident_kib() < before_kib + max(count * held / 4096, 8192)
    )
    grown = broker.resident_kib() - before_kib
    print(f"  all turned away and counted; {grown:+} KiB resident since")
    print(f"  live client meanwhile: {live.taken()}")


def header_flood(broker, live, count):
    """Requests whose headers never end: answered at their limit, and cut off."""
    before_kib, before_s = broker.resident_kib(), broker.cpu_s()
    line = b"X-Header: " + b"x" * 100 + b"\r\n"
    flood = []
    for number in range(count):
        member = socket.create_connection(("127.0.0.1", broker.ports["ws"]))
        member.settimeout(PATIENCE_S)
        member.sendall(b"GET /mqtt HTTP/1.1\r\n" + line * 100)
        flood.append(member)
    for member in flood:
        answer = member.recv(4096)
        if not answer.startswith(b"HTTP/1.1 431 "):
            raise AssertionError(f"answered {answer[:60]}")
    wait_until("counted", lambda: broker.refused().get("http_too_large", 0) == count)
    # One that does not listen to it goes on until it is cut.
    sent, begun = 0, time.monotonic()
    try:
        while sent < FLOOD_BYTES_MAX:
            sent += flood[0].send(line * 100)
    except (ConnectionResetError, BrokenPipeError):
        pass
    took_s = time.monotonic() - begun
    if sent >= FLOOD_BYTES_MAX:
        raise AssertionError(f"nobody ended the flood in {took_s:.0f} s and {sent} bytes")
    for member in flood:
        member.close()
    grown, used_s = broker.resident_kib() - before_kib, broker.cpu_s() - before_s
    print(f"{count} floods of headers: answered, counted, cut off; {grown:+} KiB resident")
    sent_mib = sent / (1 << 20)
    print(f"  one that goes on: cut after {took_s:.2f} s and {sent_mib:.1f} MiB of its headers;")
    print(f"  {used_s:.2f} s of CPU; live client meanwhile: {live.taken()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", help="the ringmq binary")
    parser.add_argument("--live", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--crowd", type=int, default=1000, help="half-open connections")
    parser.add_argument("--floods", type=int, default=50, help="requests that never end")
    parser.add_argument("--timeout", type=int, default=8, help="seconds that a handshake may take")
    options = parser.parse_args()
    if options.live:
        return live(options.live)
    if not options.broker:
        parser.error("--broker is missing")
    broker = Broker(options.broker, options.timeout)
    begun = time.monotonic()
    client = Live(broker.ports["tls"])
    is_well = False
    try:
        time.sleep(2)
        print(f"live client alone: {client.taken()}")
        # In life the crowd has machines of its own: it gets the time that nobody else wants.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        half_open(broker, client, options.crowd)
        header_flood(broker, client, options.floods)
    finally:
        is_well = client.end()
        status = broker.end()
    if not is_well:
        sys.exit("the live client has lost a message")
    lines, took_s = broker.log_lines(), time.monotonic() - begun
    print(f"{len(lines)} log lines in {took_s:.0f} s")
    if len(lines) > LOG_LINES_MORE + LOG_LINES_PER_S * took_s or status != 0:
        sys.exit(f"status {status}; the log ends so:\n{''.join(lines[-20:])}")
    print("ok")


if __name__ == "__main__":
    main()
