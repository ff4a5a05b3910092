"""SCRAM-SHA-256 as enhanced authentication of MQTT 5, with a client that Python's hashlib makes."""

import base64
import hashlib
import hmac
import os
import re
import struct
import subprocess

import wire
from rig import Rig
from suite import PATIENCE_S, case, equal, holds

AUTH = 15
METHOD, DATA = 0x15, 0x16
CONTINUE, REAUTHENTICATE = 0x18, 0x19
NOT_AUTHORIZED, BAD_METHOD = 0x87, 0x8C


def properties(method, data):
    body = bytes([METHOD]) + wire.text(method) + bytes([DATA]) + wire.text(data)
    # The length as that of a packet: what follows the first byte of one.
    return wire.packet(0, body)[1:]


class Exchange:
    """What a client computes (RFC 5802 section 3)."""

    def __init__(self, name, password):
        self.name, self.password = name, password
        self.nonce = base64.b64encode(os.urandom(18)).decode()

    def first(self):
        self.bare = f"n={self.name},r={self.nonce}"
        return "n,," + self.bare

    def last(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        holds(fields["r"].startswith(self.nonce) and fields["r"] != self.nonce, challenge)
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        holds(rounds >= 4096, rounds)
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={fields['r']}"
        message = f"{self.bare},{challenge},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        server = hmac.digest(server_key, message, "sha256")
        self.wanted = "v=" + base64.b64encode(server).decode()
        return f"{without_proof},p={base64.b64encode(proof).decode()}"


class Scram(wire.Client):
    """A client that connects so; `code` as ever."""

    def __init__(self, context, port, name, password, method="SCRAM-SHA-256"):
        self.exchange = Exchange(name, password)
        self.method = method
        super().__init__(context, port, f"of {name}", v5=True)

    def _properties(self):
        return properties(self.method, self.exchange.first())

    def _connack(self):
        return self._go_on(wire.CONNACK)

    def again(self, password):
        """Re-authentication; true: it came out well."""
        self.exchange.password = password
        self._say(REAUTHENTICATE, self.exchange.first())
        return self._go_on(AUTH) == 0

    def _say(self, reason, data):
        body = bytes([reason]) + properties(self.method, data)
        self.socket.sendall(wire.packet(AUTH, body))

    def _go_on(self, ends_with):
        kind, _, body = self._read()
        if kind == AUTH and body[0] == CONTINUE:
            self._say(CONTINUE, self.exchange.last(self._data(body[1:])))
            kind, _, body = self._read()
        if kind == wire.DISCONNECT:
            return body[0]
        equal(kind, ends_with)
        code, rest = (body[1], body[2:]) if kind == wire.CONNACK else (body[0], body[1:])
        if code == 0:
            # That the broker knows the password as well.
            equal(self._data(rest), self.exchange.wanted)
        return code

    def _data(self, body):
        """The authentication data among a packet's properties: `r=...` or `v=...`."""
        found = re.search(rb"\x16(..)([rv]=.*)", body, re.DOTALL)
        holds(found, body)
        return found[2][: struct.unpack("!H", found[1])[0]].decode()


def add(rig, name, password, *flags):
    command = [rig.binary, "ctl", "users", "add", name, *flags, "--data", rig.data]
    done = subprocess.run(command, input=password, text=True, capture_output=True, timeout=PATIENCE_S)
    equal((done.stdout, done.returncode), ("ok\n", 0))


@case()
def who_knows_the_password_and_who_does_not(context):
    rig = Rig(context)
    add(rig, "meter", "pencil", "--scram")
    add(rig, "other", "pencil")
    client = Scram(context, rig.port, "meter", "pencil")
    equal(client.code, 0)
    client.ping()
    codes = [
        Scram(context, rig.port, name, password).code
        for name, password in [("meter", "Pencil"), ("other", "pencil"), ("nobody", "pencil")]
    ]
    equal(codes, [NOT_AUTHORIZED] * 3)
    equal(Scram(context, rig.port, "meter", "pencil", method="PLAIN").code, BAD_METHOD)
    # The same user with its password, and another look at who is in.
    equal([rig.code("meter", "pencil"), rig.code("other", "pencil")], [0, 0])
    holds(client.again("pencil"), "it still knows it")
    client.ping()
    holds(not client.again("Pencil"), "it does not")
    client.wait_end()
