"""Users, access rules and bans as clients see them: a broker of its own for each test."""

import subprocess

from broker import Broker
from client import Client
from mosquitto import Subscriber
from suite import CASES, PATIENCE_S, Context, case, equal, holds

BAD_NAME_OR_PASSWORD, NOT_AUTHORIZED, BANNED = 0x86, 0x87, 0x8A


def own_broker(context):
    """A context on another broker, whose users the test may change."""
    holds(not context.broker.is_foreign, "needs a broker that it can start")
    broker = context.enter_context(Broker(context.broker.binary, context.broker.shards))
    return context.enter_context(Context(broker, CASES[0]))


def ctl(context, *words, stdin=""):
    command = [context.broker.binary, "ctl", *words, "--data", f"{context.broker.folder}/data"]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S
    )
    equal((done.returncode, done.stderr), (0, ""))
    return done.stdout.splitlines()


def named(context, version, role, name, password):
    client = Client(context, version, role)
    client.paho.username_pw_set(name, password)
    return client


def reason_of(client):
    return client.connect().reason.value


def mosquitto_pub(context, version, *options):
    where = ["-h", "127.0.0.1", "-p", str(context.broker.port), "-V", f"mqttv{version}"]
    done = subprocess.run(
        ["mosquitto_pub", *where, "-t", "t", "-m", "x", "-q", "1", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stderr


@case(("3.1.1", "311"), ("5", "5"))
def only_users_get_in_once_there_are_some(context, version, mosquitto_version):
    own = own_broker(context)
    equal(reason_of(Client(own, version, "before")), 0)
    equal(ctl(own, "users", "add", "alice", stdin="secret\n"), ["ok"])
    equal(ctl(own, "users", "list"), ["User(alice)"])
    refused = reason_of(Client(own, version, "nameless"))
    equal(refused, BAD_NAME_OR_PASSWORD)
    for name, password in [("alice", "Secret"), ("alice", ""), ("bob", "secret")]:
        equal(reason_of(named(own, version, "wrong", name, password)), BAD_NAME_OR_PASSWORD)
    equal(reason_of(named(own, version, "right", "alice", "secret")), 0)
    equal(mosquitto_pub(own, mosquitto_version, "-u", "alice", "-P", "secret"), (0, ""))
    status, said = mosquitto_pub(own, mosquitto_version, "-u", "alice", "-P", "no")
    holds(status != 0 and "ot authorized" in said or "ad user name" in said.lower(), said)


@case()
def a_deleted_user_is_cut_at_once_and_survives_no_restart(context):
    own = own_broker(context)
    ctl(own, "users", "add", "alice", "secret")
    ctl(own, "users", "add", "bob", "secret")
    alice, bob = (named(own, "5", name, name, "secret") for name in ["alice", "bob"])
    equal((reason_of(alice), reason_of(bob)), (0, 0))
    ctl(own, "users", "del", "alice")
    alice.ended()
    equal(reason_of(named(own, "5", "again", "alice", "secret")), BAD_NAME_OR_PASSWORD)
    equal(bob.publish("t", "x", 1)[0] in (0, 0x10), True)
    ctl(own, "users", "passwd", "bob", "other")
    bob.ended()
    equal(reason_of(named(own, "5", "bob", "bob", "secret")), BAD_NAME_OR_PASSWORD)
    equal(reason_of(named(own, "5", "bob", "bob", "other")), 0)


@case(("client", "role"), ("user", "alice"), ("address", "127.0.0.0/8"))
def a_ban_cuts_who_is_in_and_keeps_them_out(context, kind, value):
    own = own_broker(context)
    ctl(own, "users", "add", "alice", "secret")
    who = ["-u", "alice", "-P", "secret", "-i", own.client_id("role")]
    client = Subscriber(own, "5", *who, filters=["a"])
    value = own.client_id("role") if kind == "client" else value
    ctl(own, "ban", "add", kind, value, "--for", "1h", "--reason", "test")
    # Administrative action: DISCONNECT has no code for a ban.
    client.wait_for_note("Received DISCONNECT (152)")
    equal(reason_of(named(own, "5", "role", "alice", "secret")), BANNED)
    (listed,) = ctl(own, "ban", "list")
    # A second may have passed.
    listed = listed.replace("59m 59s", "1h")
    equal(listed, f"Ban({kind} {value}, for 1h, test)")
    ctl(own, "ban", "del", kind, value)
    equal(reason_of(named(own, "5", "role", "alice", "secret")), 0)


@case()
def rules_of_emqttd_hold_and_change_at_once(context):
    own = own_broker(context)
    folder = own.broker.folder
    with open(f"{folder}/acl.conf", "w") as file:
        file.write('{allow, {user, "alice"}, pubsub, ["home/%u/#"]}.\n')
    own.broker.stop()
    own.broker.start(["--config", write_config(folder)], folder)
    ctl(own, "users", "add", "alice", "secret")
    ctl(own, "users", "add", "root", "secret", "--superuser")
    alice = named(own, "5", "alice", "alice", "secret")
    equal(reason_of(alice), 0)
    equal(alice.publish("home/alice/x", "x", 1)[0] in (0, 0x10), True)
    equal(alice.publish("home/bob/x", "x", 1)[0], NOT_AUTHORIZED)
    equal(alice.subscribe("home/alice/#", 1), 1)
    equal(alice.subscribe("home/+/x", 1), NOT_AUTHORIZED)
    root = named(own, "5", "root", "root", "secret")
    equal(reason_of(root), 0)
    equal(root.subscribe("#", 1), 1)
    with open(f"{folder}/acl.conf", "w") as file:
        file.write('{allow, {user, "alice"}, publish, ["home/bob/#"]}.\n')
    ctl(own, "acl", "reload")
    equal(alice.publish("home/bob/x", "x", 1)[0] in (0, 0x10), True)
    equal(alice.publish("home/alice/x", "x", 1)[0], NOT_AUTHORIZED)


def write_config(folder):
    with open(f"{folder}/ringmq.toml", "w") as file:
        file.write(f'[auth]\nacl_file = "{folder}/acl.conf"\n')
    return f"{folder}/ringmq.toml"
