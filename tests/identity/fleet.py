"""Many clients that know who they are and nothing else, on one thread: raw sockets and epoll."""

import heapq
import random
import select
import socket
import struct
import time

import wire

CONNECT_FLAGS = 128 | 64 | 2
# Long enough that nobody has to ping while a storm lasts.
KEEP_ALIVE_S = 3600
# Who is refused comes again after this, then after twice as long, and so on.
PAUSE_S = 1
PAUSE_MAX_S = 20
# A loopback address has 28,000 ports, and each that was used rests for a minute.
ADDRESSES = 32
# Of those who come at once, no more than a listen queue takes by itself (net.core.somaxconn is 4,096).
# Whoever finds no room there begins again after a second, all of them by timers of this kernel's that
# are due together, and whatever else is on this processor stands still for milliseconds.
ASKING_MAX = 4000


class Device:
    def __init__(self, fleet, number):
        name = f"{fleet.prefix}{number}"
        body = wire.text("MQTT") + bytes([4, CONNECT_FLAGS]) + struct.pack("!H", KEEP_ALIVE_S)
        body += wire.text(name) + wire.text(name) + wire.text(fleet.password)
        self.connect = wire.packet(wire.CONNECT, body)
        self.source = f"127.0.0.{1 + number % ADDRESSES}"
        self.number = number
        self.socket = None
        self.is_up = False
        self.is_asked = False
        self.began = 0.0
        self.pause = PAUSE_S


class Fleet:
    """`count` clients, the user name of each its client id."""

    def __init__(self, port, count, prefix="u", password="p"):
        self.port = port
        self.prefix = prefix
        self.password = password
        self.devices = [Device(self, number) for number in range(count)]
        self.epoll = select.epoll()
        self.by_fd = {}
        self.codes = {}
        self.attempts = 0

    def close(self):
        """Everybody is gone at once."""
        for device in self.by_fd.copy().values():
            self._drop(device)

    def storm(self, within):
        """Everybody comes, all at once and again until all are in; the seconds that it took, and of
        each the seconds from its first attempt."""
        began = time.monotonic()
        self.codes, self.attempts = {}, 0
        due = []
        for number, device in enumerate(self.devices):
            device.pause = PAUSE_S
            device.began = began
            due.append((began, number))
        heapq.heapify(due)
        took = []
        while len(took) < len(self.devices):
            now = time.monotonic()
            if now - began > within:
                raise AssertionError(f"{len(took)} are in after {within} s; CONNACK: {self.codes}")
            for _ in range(200):
                is_full = len(self.by_fd) - len(took) >= ASKING_MAX
                if is_full or not due or due[0][0] > now:
                    break
                self._begin(self.devices[heapq.heappop(due)[1]])
            wait = 0 if not is_full and due and due[0][0] <= now else 0.05
            for fd, _ in self.epoll.poll(wait, 1000):
                device = self.by_fd[fd]
                code = self._answer(device)
                if code is None:
                    continue
                self.codes[code] = self.codes.get(code, 0) + 1
                now = time.monotonic()
                if code == 0:
                    device.is_up = True
                    self.epoll.unregister(fd)
                    took.append(now - device.began)
                    continue
                self._drop(device)
                again = now + device.pause * random.uniform(0.5, 1)
                device.pause = min(2 * device.pause, PAUSE_MAX_S)
                heapq.heappush(due, (again, device.number))
        return time.monotonic() - began, sorted(took)

    def _begin(self, device):
        self.attempts += 1
        device.socket = socket.socket()
        device.socket.setblocking(False)
        device.socket.bind((device.source, 0))
        # On the loopback interface a connection is there at once, or waits to be accepted.
        device.socket.connect_ex(("127.0.0.1", self.port))
        device.is_asked = False
        self.by_fd[device.socket.fileno()] = device
        self.epoll.register(device.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _answer(self, device):
        """What came: a code of CONNACK, `closed`, or nothing yet."""
        try:
            if not device.is_asked:
                device.socket.send(device.connect)
                device.is_asked = True
                self.epoll.modify(device.socket.fileno(), select.EPOLLIN)
                return None
            answer = device.socket.recv(16)
        except BlockingIOError:
            return None
        except OSError:
            return "closed"
        # Four bytes come in one piece.
        return answer[3] if len(answer) == 4 else "closed"

    def _drop(self, device):
        fd = device.socket.fileno()
        del self.by_fd[fd]
        if not device.is_up:
            self.epoll.unregister(fd)
        device.socket.close()
        device.socket = None
        device.is_up = False


def cpu_seconds(pid):
    """User and system time of a process with all its threads."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def part(values, share):
    """The value below which this share of sorted values lies."""
    return values[min(len(values) - 1, int(share * len(values)))]
