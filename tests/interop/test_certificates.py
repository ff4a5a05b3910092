"""Certificates of clients, and ours when they change: paho, MQTT.js and openssl's authority."""

import ssl
import tempfile

from broker import Broker
from client import Client
from pki import Authority
from suite import CASES, Context, case, equal, holds

LISTENER = """
[[listener]]
url = "{scheme}://127.0.0.1:0"
client_certificates = "{clients}"
"""
TLS = """
[tls]
certificates = ["{server}"]
private_keys = ["{server_key}"]
client_ca = "{folder}/ca.pem"
client_crl = "{folder}/crl.pem"
"""


class House:
    """A broker with an authority of its own, whose listeners ask for clients' certificates."""

    def __init__(self, context, clients, scheme="tls", more=""):
        holds(not context.broker.is_foreign, "needs a broker that it can start")
        self.folder = tempfile.mkdtemp(prefix="ringmq-interop-")
        self.authority = Authority(f"{self.folder}/pki", "fleet")
        self.other = Authority(f"{self.folder}/other", "somebody else")
        server, server_key = self.authority.issue("server")
        self.broker = Broker(context.broker.binary, context.broker.shards)
        context.callback(self.broker.end)
        tls = TLS.format(server=server, server_key=server_key, folder=self.authority.folder)
        listener = LISTENER.format(scheme=scheme, clients=clients)
        self.broker.start(folder=self.folder, listeners=listener + tls + more)
        self.context = context.enter_context(Context(self.broker, CASES[0]))
        self.scheme = scheme

    def client(self, role, files=None, version="5"):
        """A paho client with this certificate and key, or with none."""
        client = Client(self.context, version, role, over=self.scheme)
        certificate, key = files or (None, None)
        client.paho.tls_set(self.authority.path("ca.pem"), certificate, key)
        return client

    def is_refused(self, client):
        """Whether the connection ends before there is a CONNACK."""
        # In TLS 1.3 a client hears of it only after its own side is done.
        client.paho.on_disconnect = lambda *_: client.connects.put(None)
        try:
            return client.connect() is None
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
            return True


def exchange(one, other, topic):
    """A message from one to the other."""
    equal(other.subscribe(topic, 1), 1)
    equal(one.publish(topic, "x", 1)[0], 0)
    equal(other.payloads(1), ["x"])


@case(("tls",), ("wss",))
def who_shows_a_required_certificate_gets_in(context, scheme):
    house = House(context, "required", scheme)
    one = house.client("one", house.authority.issue("one"))
    other = house.client("other", house.authority.issue("other"), "3.1.1")
    equal((one.connect().reason.value, other.connect().reason.value), (0, 0))
    exchange(one, other, context.topic())


@case()
def none_and_a_strangers_certificate_do_not_get_in(context):
    house = House(context, "required")
    refused = 0
    for files in (None, house.other.issue("stranger")):
        holds(house.is_refused(house.client("c", files)), f"with {files}")
        refused += 1
        house.broker.await_status(
            "counted", lambda _: house.broker.refused("tls_client_certificate") == refused
        )
    equal(house.client("c", house.authority.issue("known")).connect().reason.value, 0)


@case()
def an_optional_certificate_may_be_missing_but_not_a_strangers(context):
    house = House(context, "optional")
    without = house.client("without")
    equal(without.connect().reason.value, 0)
    shown = house.client("shown", house.authority.issue("shown"))
    equal(shown.connect().reason.value, 0)
    exchange(without, shown, context.topic())
    holds(house.is_refused(house.client("c", house.other.issue("stranger"))), "a stranger's")


@case()
def a_revoked_certificate_does_not_get_in_from_then_on(context):
    house = House(context, "required")
    lost, kept = house.authority.issue("lost"), house.authority.issue("kept")
    before = house.client("before", lost)
    equal(before.connect().reason.value, 0)
    house.authority.revoke("lost")
    house.broker.await_status(
        "refused", lambda _: house.is_refused(house.client("after", lost))
    )
    equal(house.client("kept", kept).connect().reason.value, 0)
    # Who is in stays in: nothing is cut by a list.
    equal(before.publish(context.topic(), "x", 1)[0] & 0x80, 0)


@case(("cn",))
def the_name_in_a_certificate_is_the_users_name(context, source):
    house = House(context, "required", more=f'[auth]\ncertificate_username = "{source}"\n')
    client = house.client("c", house.authority.issue("device-7"))
    equal(client.connect().reason.value, 0)
    lines = house.broker.ask("ctl", "clients", "list")
    holds("device-7" in lines, lines)
