"""paho-mqtt for Python, what holds in 3.1.1 and 5.0 alike."""

import itertools

from client import Client
from suite import case, equal, holds

VERSIONS = [("3.1",), ("3.1.1",), ("5",)]
VERSION_QOS = list(itertools.product(["3.1", "3.1.1", "5"], [0, 1, 2]))


def persistent(context, version, role, **options):
    """A client whose session outlives its connection, connected; and what CONNACK said."""
    client = Client(context, version, role, clean_session=False)
    return client, reconnect(client, **options)


def reconnect(client, **options):
    if client.version == "5":
        return client.connect(clean_start=False, SessionExpiryInterval=3600, **options)
    return client.connect()


@case(*VERSION_QOS)
def messages_flow_both_ways(context, version, qos):
    ours, theirs = context.topic("ours"), context.topic("theirs")
    one, other = Client(context, version, "one"), Client(context, version, "other")
    one.connect()
    other.connect()
    equal(one.subscribe(theirs, qos), qos)
    equal(other.subscribe(ours, qos), qos)
    for number in range(10):
        equal(one.publish(ours, f"a{number}", qos)[0], 0)
        equal(other.publish(theirs, f"b{number}", qos)[0], 0)
    for client, letter in [(one, "b"), (other, "a")]:
        messages = [client.next() for _ in range(10)]
        equal([m.payload.decode() for m in messages], [f"{letter}{n}" for n in range(10)])
        equal({m.qos for m in messages}, {qos})
        equal({m.retain or m.dup for m in messages}, {False})


@case(*VERSION_QOS)
def five_hundred_in_flight_arrive_once_and_in_order(context, version, qos):
    topic = context.topic()
    sender, receiver = Client(context, version, "sender"), Client(context, version, "receiver")
    sender.paho.max_inflight_messages_set(200)
    sender.connect()
    receiver.connect()
    receiver.subscribe(topic, qos)
    for number in range(500):
        sender.send(topic, str(number), qos)
    equal(receiver.payloads(500), [str(number) for number in range(500)])
    sender.publish(topic, "end", qos)
    equal(receiver.payloads(1), ["end"])


@case(*VERSIONS)
def a_session_survives_a_lost_connection(context, version):
    topic = context.topic()
    sender = Client(context, version, "sender")
    sender.connect()
    receiver, connected = persistent(context, version, "receiver")
    equal(connected.session_present, False)
    receiver.subscribe(topic, 2)
    receiver.cut()
    for number in range(30):
        sender.publish(topic, str(number), 1 + number % 2)
    back, connected = persistent(context, version, "receiver")
    equal(connected.session_present, version != "3.1")
    messages = [back.next() for _ in range(30)]
    # Paho gives a QoS 2 message on only at its PUBREL: order holds in each QoS.
    for qos in (1, 2):
        found = [int(m.payload) for m in messages if m.qos == qos]
        equal(found, list(range(qos - 1, 30, 2)))


@case(("3.1.1",), ("5",))
def what_was_not_acknowledged_comes_again(context, version):
    topic = context.topic()
    sender = Client(context, version, "sender")
    sender.connect()
    receiver = Client(context, version, "receiver", manual_ack=True, clean_session=False)
    reconnect(receiver)
    receiver.subscribe(topic, 1)
    for number in range(5):
        sender.publish(topic, str(number), 1)
    first = [receiver.next() for _ in range(5)]
    receiver.ack(first[0])
    receiver.ack(first[1])
    # The acknowledgements went before this, on the same connection.
    receiver.subscribe(context.topic("order"), 0)
    receiver.cut()
    back, connected = persistent(context, version, "receiver")
    equal(connected.session_present, True)
    again = [back.next() for _ in range(3)]
    equal([m.payload.decode() for m in again], ["2", "3", "4"])
    equal({m.dup for m in again}, {True})


@case(("3.1.1",), ("5",))
def a_clean_start_ends_the_session(context, version):
    topic = context.topic()
    receiver, _ = persistent(context, version, "receiver")
    receiver.subscribe(topic, 1)
    receiver.disconnect()
    clean = Client(context, version, "receiver")
    equal(clean.connect().session_present, False)
    clean.disconnect()
    _, connected = persistent(context, version, "receiver")
    equal(connected.session_present, False)


@case(*VERSIONS)
def a_second_connection_takes_the_session_over(context, version):
    topic = context.topic()
    first, _ = persistent(context, version, "same")
    first.subscribe(topic, 1)
    second, connected = persistent(context, version, "same")
    equal(connected.session_present, version != "3.1")
    reason, _ = first.ended()
    if version == "5":
        # Paho reads a reason only from a DISCONNECT of three bytes or more.
        holds(reason.value in (0, 0x8E), f"reason {reason}")
    second.publish(topic, "x", 1)
    equal(second.payloads(1), ["x"])


@case(*VERSIONS)
def a_will_comes_when_the_connection_is_cut(context, version):
    topic = context.topic("will")
    watcher, dies = Client(context, version, "watcher"), Client(context, version, "dies")
    watcher.connect()
    watcher.subscribe(topic, 2)
    dies.will(topic, "gone", qos=2)
    dies.connect()
    dies.cut()
    message = watcher.next()
    equal((message.payload, message.qos, message.retain), (b"gone", 2, False))


@case(*VERSIONS)
def a_silent_client_is_cut_off_and_its_will_comes(context, version):
    topic = context.topic("will")
    watcher, silent = Client(context, version, "watcher"), Client(context, version, "silent")
    watcher.connect()
    watcher.subscribe(topic)
    silent.will(topic, "silent")
    # Paho's loop, stopped, sends no PINGREQ: the broker waits one and a half of these seconds.
    silent.connect(keep_alive_s=1)
    silent.paho.loop_stop()
    equal(watcher.payloads(1), ["silent"])


@case(*VERSIONS)
def after_unsubscribing_nothing_comes(context, version):
    topic = context.topic()
    client = Client(context, version, "client")
    client.connect()
    client.subscribe(topic, 1)
    client.subscribe(context.topic("end"), 1)
    client.unsubscribe(topic)
    client.publish(topic, "x", 1)
    client.publish(context.topic("end"), "end", 1)
    equal(client.payloads(1), ["end"])


@case(*VERSIONS)
def two_wildcards_of_one_client_make_no_loss(context, version):
    client = Client(context, version, "client")
    client.connect()
    client.subscribe(context.topic("+/b"), 1)
    client.subscribe(context.topic("a/#"), 2)
    client.publish(context.topic("a/b"), "x", 2)
    client.publish(context.topic("z/b"), "end", 2)
    messages = [client.next()]
    while messages[-1].payload != b"end":
        messages.append(client.next())
    equal({m.payload for m in messages[:-1]}, {b"x"})
    holds(len(messages) <= 3, "more copies than subscriptions")
    equal(max(m.qos for m in messages[:-1]), 2)


@case(("3.1.1",), ("5",))
def a_retained_message_meets_a_wildcard(context, version):
    client = Client(context, version, "client")
    client.connect()
    for number in range(20):
        client.publish(context.topic(f"kept/{number}"), str(number), 1, retain=True)
    client.subscribe(context.topic("kept/#"), 1)
    messages = [client.next() for _ in range(20)]
    equal(sorted(int(m.payload) for m in messages), list(range(20)))
    equal({m.retain for m in messages}, {True})
    for number in range(20):
        client.publish(context.topic(f"kept/{number}"), "", 1, retain=True)
        equal(client.next().payload, b"")
    client.unsubscribe(context.topic("kept/#"))
    client.subscribe(context.topic("#"), 1)
    client.publish(context.topic("end"), "end", 1)
    equal(client.payloads(1), ["end"])


@case(("3.1.1",), ("5",))
def a_filter_that_is_wrong_is_refused_alone(context, version):
    client = Client(context, version, "client")
    client.connect()
    # Paho checks filters itself, so the wrong one goes around its check.
    client.paho._filter_wildcard_len_check = lambda _filter: 0
    equal(client.subscribe("a/#/b", 1), 0x8F if version == "5" else 0x80)
    equal(client.subscribe(context.topic(), 1), 1)


@case(("3.1.1",), ("5",))
def an_empty_client_id_is_given_one(context, version):
    topic = context.topic()
    client = Client(context, version, "")
    connected = client.connect()
    equal(connected.reason.value, 0)
    if version == "5":
        holds(connected.properties.AssignedClientIdentifier, "no assigned client id")
    client.subscribe(topic)
    client.publish(topic, "x")
    equal(client.payloads(1), ["x"])
