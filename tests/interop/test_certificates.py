"""Certificates of clients, and ours when they change: paho, MQTT.js and openssl's authority."""

import os
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


NO_SUBSCRIBERS, BAD_PASSWORD, NOT_AUTHORIZED, TAKEN_OVER = 0x10, 0x86, 0x87, 0x8E


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
        self.tls = TLS.format(server=server, server_key=server_key, folder=self.authority.folder)
        self.listener = LISTENER.format(scheme=scheme, clients=clients)
        self.broker.start(folder=self.folder, listeners=self.listener + self.tls + more)
        self.context = context.enter_context(Context(self.broker, CASES[0]))
        self.scheme = scheme

    def restart(self, more, listeners=None):
        """The same broker with these settings, and with other listeners."""
        self.broker.stop()
        settings = (listeners or self.listener) + self.tls + more
        self.broker.start(folder=self.folder, listeners=settings)

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


ALTERNATIVES = "DNS:seven.fleet.example,DNS:other.example"
# What the certificate of `device` has under each of the settings.
NAMES = [("cn", "device"), ("dn", "CN=device"), ("san", "seven.fleet.example")]
OWN_TOPICS = """
[[rule]]
allow = true
topics = ["of/%u/#"]
"""


@case(*NAMES)
def the_name_in_a_certificate_is_the_users_name(context, setting, name):
    house = House(context, "required", more=f'[auth]\ncertificate_username = "{setting}"\n')
    rules = os.path.join(house.folder, "acl.toml")
    with open(rules, "w") as file:
        file.write(OWN_TOPICS)
    house.restart(f'[auth]\ncertificate_username = "{setting}"\nacl_file = "{rules}"\n')
    client = house.client("c", house.authority.issue("device", ALTERNATIVES))
    # What it calls itself does not count.
    client.paho.username_pw_set("somebody-else", "x")
    equal(client.connect().reason.value, 0)
    holds(f", username={name}," in house.broker.ask("ctl", "clients", "list"), name)
    codes = [client.publish(f"of/{user}/x", "x", 1)[0] for user in (name, "somebody-else")]
    equal(codes, [NO_SUBSCRIBERS, NOT_AUTHORIZED])


@case(*NAMES)
def the_name_in_a_certificate_is_the_client_id(context, setting, name):
    house = House(context, "optional", more=f'[auth]\ncertificate_client_id = "{setting}"\n')
    files = house.authority.issue("device", ALTERNATIVES)
    first = house.client("whatever", files)
    equal(first.connect().reason.value, 0)
    # Another one with the certificate is the same client, whatever it calls itself.
    nameless = house.client(None, files)
    told = nameless.connect()
    equal((told.reason.value, told.properties.AssignedClientIdentifier), (0, name))
    # paho reads the reason only where properties follow it.
    holds(first.ended()[0].value in (0, TAKEN_OVER), "taken over")
    without = house.client("without")
    equal(without.connect().reason.value, 0)
    listed = house.broker.ask("ctl", "clients", "list")
    wanted = [f"Client({id}, " for id in (name, house.context.client_id("without"))]
    holds(all(part in listed for part in wanted) and len(listed.splitlines()) == 2, listed)


@case()
def a_certificate_is_one_source_of_a_chain(context):
    more = '[auth]\ncertificate_username = "cn"\nchain = "certificate,users"\n'
    house = House(context, "optional", more=more)
    house.broker.ask("ctl", "users", "add", "alice", "secret")

    def reason(files, *credentials):
        client = house.client("c", files)
        if credentials:
            client.paho.username_pw_set(*credentials)
        return client.connect().reason.value

    known = house.authority.issue("device")
    equal([reason(known), reason(known, "alice", "wrong")], [0, 0])
    equal([reason(None, "alice", "secret"), reason(None, "alice", "wrong")], [0, BAD_PASSWORD])
    equal([reason(None), reason(None, "device", "")], [BAD_PASSWORD, BAD_PASSWORD])


@case()
def a_listener_asks_for_more_or_for_nothing(context):
    """One broker, three doors: as everywhere, only the known, everybody."""
    house = House(context, "optional", more='[auth]\ncertificate_username = "cn"\n')
    doors = "".join(
        f'[[listener]]\nurl = "{scheme}://127.0.0.1:0"\nauthentication = "{setting}"\n'
        for scheme, setting in (("tcp", "inherit"), ("ws", "none"))
    )
    strict = '[[listener]]\nurl = "tls://127.0.0.1:0"\nauthentication = "required"\n'
    strict += 'client_certificates = "optional"\n'
    house.restart('[auth]\nallow_anonymous = "true"\ncertificate_username = "cn"\n', doors + strict)

    def reason(scheme, files=None, *credentials):
        client = house.client("c", files) if scheme == "tls" else Client(house.context, "5", "c", over=scheme)
        if credentials:
            client.paho.username_pw_set(*credentials)
        return client.connect().reason.value

    equal([reason("tcp"), reason("ws"), reason("tls")], [0, 0, BAD_PASSWORD])
    equal(reason("tls", house.authority.issue("device")), 0)
    # A name that nobody knows is a mere claim where nobody is asked.
    claim = [reason(scheme, None, "alice", "x") for scheme in ("tcp", "ws", "tls")]
    equal(claim, [BAD_PASSWORD, 0, BAD_PASSWORD])

