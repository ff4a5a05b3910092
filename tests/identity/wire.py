"""A client of few words, for tests that look at every code and every second."""

import socket
import struct
import time

from suite import PATIENCE_S

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 12, 13, 14


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(value)) + value


def packet(kind, body, flags=0):
    length, digits = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        digits += bytes([digit | (128 if length else 0)])
        if not length:
            return bytes([kind << 4 | flags]) + digits + body


class Closed(Exception):
    """The broker has ended the connection."""


class Client:
    """One connection; `code` is what CONNACK said, and none when there was no CONNACK.

    `stays`: what was subscribed to is there when the client comes back; before MQTT 5. `will`: a
    topic."""

    def __init__(
        self, context, port, client_id, username=None, password=None, v5=False, stays=False, will=None
    ):
        self.v5 = v5
        self.began = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        context.callback(self.socket.close)
        self.buffer = b""
        self.messages = []
        flags = (0 if stays else 2) | (4 if will is not None else 0)
        flags |= (128 if username is not None else 0) | (64 if password is not None else 0)
        body = text("MQTT") + bytes([5 if v5 else 4, flags]) + struct.pack("!H", 60)
        body += (self._properties() if v5 else b"") + text(client_id)
        if will is not None:
            body += (b"\0" if v5 else b"") + text(will) + text("will")
        body += b"".join(text(part) for part in (username, password) if part is not None)
        self.socket.sendall(packet(CONNECT, body))
        try:
            self.code = self._connack()
        except Closed:
            self.code = None
        self.took = time.monotonic() - self.began

    def publish(self, topic, payload="x", qos=1):
        """Publishes; with QoS 1 waits for PUBACK and returns its code."""
        body = text(topic) + (struct.pack("!H", 7) if qos else b"") + (b"\0" if self.v5 else b"")
        self.socket.sendall(packet(PUBLISH, body + payload.encode(), qos << 1))
        if qos:
            body = self._wait(PUBACK)
            return body[2] if len(body) > 2 else 0
        return None

    def subscribe(self, topic_filter, qos=0):
        """Subscribes, and returns the code of SUBACK."""
        body = struct.pack("!H", 9) + (b"\0" if self.v5 else b"") + text(topic_filter)
        self.socket.sendall(packet(SUBSCRIBE, body + bytes([qos]), 2))
        return self._wait(SUBACK)[-1]

    def ping(self):
        self.socket.sendall(packet(PINGREQ, b""))
        self._wait(PINGRESP)

    def wait_message(self):
        """The next message, as topic and payload."""
        while not self.messages:
            self._take()
        return self.messages.pop(0)

    def wait_end(self, within=PATIENCE_S):
        """Waits until the broker ends the connection; the reason of DISCONNECT, if one came."""
        reason = None
        self.socket.settimeout(within)
        try:
            while True:
                kind, _, body = self._read()
                if kind == DISCONNECT:
                    reason = body[0] if body else 0
        except Closed:
            return reason
        except TimeoutError:
            raise AssertionError(f"still connected after {within} s") from None

    def disconnect(self):
        """Says goodbye, and waits until the broker has heard it."""
        self.socket.sendall(packet(DISCONNECT, b""))
        self.wait_end()

    def close(self):
        self.socket.close()

    def _properties(self):
        """Of CONNECT, with their length."""
        return b"\0"

    def _connack(self):
        kind, _, body = self._read()
        assert kind == CONNACK, kind
        return body[1]

    def _wait(self, wanted):
        while True:
            kind, body = self._take()
            if kind == wanted:
                return body

    def _take(self):
        kind, flags, body = self._read()
        if kind == DISCONNECT:
            raise Closed(body)
        if kind == PUBLISH:
            size = struct.unpack("!H", body[:2])[0]
            rest = body[2 + size + (2 if flags & 6 else 0) :]
            if self.v5:
                rest = rest[1 + rest[0] :]
            self.messages.append((body[2 : 2 + size].decode(), rest.decode()))
        return kind, body

    def _read(self):
        head = self._bytes(1)
        length, shift = 0, 0
        while True:
            digit = self._bytes(1)[0]
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                break
        return head[0] >> 4, head[0] & 15, self._bytes(length)

    def _bytes(self, count):
        while len(self.buffer) < count:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                raise Closed
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken
