"""One client and one broker, for the benchmarks that say what an operation costs the broker by how much
it holds: processor time of the broker, in bursts that are long enough for it to be that of the operation.
Two brokers, one that holds little and one that holds much, take turns, so that a noisy moment is noisy for
both."""

import os
import random
import re
import socket
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target")))
BURST = 200
ROUNDS = 5


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


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.socket.sendall(packet(0x10, utf8("MQTT") + bytes([4, 2, 0, 0]) + utf8("bench")))
        if self.read()[0] != 0x20:
            raise SystemExit("the broker did not answer CONNECT")

    def read(self):
        """The next packet's first byte and body."""
        while True:
            size, at = 0, 1
            while at < len(self.input):
                size |= (self.input[at] & 0x7F) << 7 * (at - 1)
                at += 1
                if not self.input[at - 1] & 0x80:
                    if len(self.input) < at + size:
                        break
                    first, body = self.input[0], self.input[at : at + size]
                    self.input = self.input[at + size :]
                    return first, body
            more = self.socket.recv(1 << 20)
            if not more:
                raise SystemExit("the broker has closed the connection")
            self.input += more

    def ping(self, packets):
        """Returns when the broker has worked off all of them."""
        self.socket.sendall(packets + b"\xc0\0")
        while self.read()[0] != 0xD0:
            pass


class Broker:
    """With `count` of something, and these settings besides."""

    def __init__(self, options, count, **settings):
        self.count = count
        self.random = random.Random(count)
        self.folder = tempfile.TemporaryDirectory(prefix="ringmq-bench-")
        self.process = subprocess.Popen(
            [options.broker, "run", "--listen", "tcp://127.0.0.1:0", "--shards", options.shards]
            + ["--data", self.folder.name],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, **{f"RINGMQ_{key}": str(value) for key, value in settings.items()}),
        )
        for line in self.process.stdout:
            if found := re.search(r"listening on tcp://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise SystemExit("the broker did not start")
        self.client = Client(int(found[1]))

    def spent_ns(self):
        """Processor time of all threads so far."""
        tasks = f"/proc/{self.process.pid}/task"
        spent = 0
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/schedstat") as file:
                spent += int(file.read().split()[0])
        return spent

    def drawn(self, of=None):
        """A burst of numbers, of the first so many or of all."""
        return self.random.sample(range(of or self.count), BURST)

    def cost_ns(self, operation, times, operations):
        before = self.spent_ns()
        for _ in range(times):
            operation(self)
        return (self.spent_ns() - before) / times / operations

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()


def arguments(parser):
    parser.add_argument("--broker", default=os.path.join(TARGET, "release", "ringmq"))
    parser.add_argument("--shards", default="1")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    return parser.parse_args()


def compare(brokers, operations):
    """`operations`: what is measured, how often in a round, and how many operations one call is."""
    few, many = (broker.count for broker in brokers)
    print(f"{'ns of processor time':32} {few:>10} {many:>10}  times")
    for name, operation, times, each in operations:
        costs = ([], [])
        for _ in range(ROUNDS):
            for broker, into in zip(brokers, costs):
                into.append(broker.cost_ns(operation, times, each))
        few, many = (sorted(cost)[ROUNDS // 2] for cost in costs)
        print(f"{name:32} {few:10.0f} {many:10.0f}  {many / few:.2f}", flush=True)
