"""paho-mqtt for Python, what MQTT 5.0 does over time: expiry, delays, windows, sharing."""

import time

from client import Client
from suite import case, equal, holds
from test_paho_v5 import pair


@case()
def a_session_ends_when_its_expiry_is_over(context):
    topic = context.topic("will")
    watcher, client = Client(context, "5", "watcher"), Client(context, "5", "client")
    watcher.connect()
    watcher.subscribe(topic)
    # The end of a session publishes a will that still waits: that is the event to await.
    client.will(topic, "session over", WillDelayInterval=3600)
    client.connect(clean_start=False, SessionExpiryInterval=1)
    began = time.monotonic()
    client.cut()
    equal(watcher.payloads(1), ["session over"])
    holds(time.monotonic() - began > 0.9, "the session ended too early")
    back = Client(context, "5", "client")
    equal(back.connect(clean_start=False).session_present, False)


@case()
def disconnect_changes_the_expiry(context):
    client = Client(context, "5", "client")
    client.connect(clean_start=False, SessionExpiryInterval=3600)
    client.disconnect(SessionExpiryInterval=0)
    back = Client(context, "5", "client")
    equal(back.connect(clean_start=False).session_present, False)


@case()
def a_will_waits_for_its_delay(context):
    topic = context.topic("will")
    watcher, dies = Client(context, "5", "watcher"), Client(context, "5", "dies")
    watcher.connect()
    watcher.subscribe(topic, 1)
    dies.will(topic, "gone", qos=1, WillDelayInterval=1, UserProperty=[("a", "b")])
    dies.connect(SessionExpiryInterval=3600)
    began = time.monotonic()
    dies.cut()
    message = watcher.next()
    equal((message.payload, message.properties.UserProperty), (b"gone", [("a", "b")]))
    holds(time.monotonic() - began > 0.9, "the will came too early")


@case()
def a_return_in_time_takes_the_will_back(context):
    topic = context.topic("will")
    watcher, dies = Client(context, "5", "watcher"), Client(context, "5", "dies")
    watcher.connect()
    watcher.subscribe(topic, 1)
    dies.will(topic, "gone", qos=1, WillDelayInterval=1)
    dies.connect(clean_start=False, SessionExpiryInterval=3600)
    dies.cut()
    back = Client(context, "5", "dies")
    equal(back.connect(clean_start=False, SessionExpiryInterval=3600).session_present, True)
    # A will of another client with the same delay, started later, comes when the first is due.
    marker = Client(context, "5", "marker")
    marker.will(topic, "marker", qos=1, WillDelayInterval=1)
    marker.connect(SessionExpiryInterval=3600)
    marker.cut()
    equal(watcher.payloads(1), ["marker"])


@case((1,), (2,))
def receive_maximum_limits_what_is_in_flight(context, qos):
    topic, marker = context.topic(), context.topic("marker")
    sender = Client(context, "5", "sender")
    receiver = Client(context, "5", "receiver", manual_ack=True)
    sender.connect()
    receiver.connect(ReceiveMaximum=2)
    receiver.subscribe(topic, qos)
    receiver.subscribe(marker, 0)
    for number in range(6):
        sender.publish(topic, str(number), qos)
    sender.publish(marker, "marker", 0)
    # QoS 0 needs no place in the window, so the marker passes what waits.
    window = sorted((receiver.next() for _ in range(3)), key=lambda message: message.payload)
    equal([m.payload for m in window], [b"0", b"1", b"marker"])
    for _ in range(2):
        receiver.subscribe(marker, 0)
    holds(receiver.messages.empty(), "more than the receive maximum")
    waiting = window[:2]
    for number in range(2, 6):
        receiver.ack(waiting.pop(0))
        waiting.append(receiver.next())
        equal(waiting[-1].payload.decode(), str(number))


@case()
def what_is_larger_than_a_client_takes_is_left_out(context):
    topic = context.topic()
    sender, receiver = pair(context, MaximumPacketSize=200)
    receiver.subscribe(topic, 1)
    sender.publish(topic, "x" * 1000, 1)
    sender.publish(topic, "small", 1)
    equal(receiver.payloads(1), ["small"])


@case()
def a_packet_larger_than_the_broker_takes_ends_the_connection(context):
    client = Client(context, "5", "client")
    maximum = client.connect().properties.json().get("MaximumPacketSize")
    holds(maximum is not None, "the broker takes packets of any size")
    client.send(context.topic(), b"x" * maximum, 0)
    reason, _props = client.ended()
    equal(reason.value, 0x95)


@case()
def message_expiry_counts_down_and_ends(context):
    topic = context.topic()
    sender, receiver = pair(context, SessionExpiryInterval=3600)
    receiver.subscribe(topic, 1)
    receiver.disconnect()
    sender.publish(topic, "short", 1, MessageExpiryInterval=1)
    sender.publish(topic, "long", 1, MessageExpiryInterval=60)
    sender.publish(topic, "for ever", 1)
    wait_for_a_will(context, delay_s=2)
    back = Client(context, "5", "receiver")
    back.connect(clean_start=False, SessionExpiryInterval=3600)
    message = back.next()
    equal(message.payload, b"long")
    left = message.properties.MessageExpiryInterval
    holds(50 <= left <= 59, f"{left} s are left of 60")
    message = back.next()
    equal(message.payload, b"for ever")
    holds(not hasattr(message.properties, "MessageExpiryInterval"), "an expiry from nowhere")


def wait_for_a_will(context, delay_s):
    """Lets the broker's own clock pass `delay_s` seconds, by a will that comes after them."""
    topic = context.topic("clock")
    watcher, dies = Client(context, "5", "clock"), Client(context, "5", "tick")
    watcher.connect()
    watcher.subscribe(topic)
    dies.will(topic, "now", WillDelayInterval=delay_s)
    dies.connect(SessionExpiryInterval=3600)
    dies.cut()
    equal(watcher.payloads(1), ["now"])


@case()
def a_shared_message_goes_to_another_when_its_member_leaves(context):
    topic = context.topic()
    name = f"$share/group/{topic}"
    sender = Client(context, "5", "sender")
    holder = Client(context, "5", "holder", manual_ack=True)
    sender.connect()
    holder.connect()
    holder.subscribe(name, 1)
    sender.publish(topic, "held", 1)
    equal(holder.next().payload, b"held")
    heir = Client(context, "5", "heir")
    heir.connect()
    heir.subscribe(name, 1)
    holder.cut()
    equal(heir.payloads(1), ["held"])


@case((2,), (5,))
def a_group_spreads_over_its_members(context, count):
    topic = context.topic()
    sender = Client(context, "5", "sender")
    sender.connect()
    members = [Client(context, "5", f"member{number}") for number in range(count)]
    for member in members:
        member.connect()
        member.subscribe(f"$share/group/{topic}", 1)
        # One queue for all, with who it came to.
        member.paho.on_message = lambda _c, _u, message, member=member: members[0].messages.put(
            (member, message.payload)
        )
    for number in range(20 * count):
        sender.publish(topic, str(number), 1)
    found = [members[0].next() for _ in range(20 * count)]
    equal(sorted(int(payload) for _, payload in found), list(range(20 * count)))
    for member in members:
        share = sum(1 for who, _ in found if who is member)
        holds(10 <= share <= 30, f"one of {count} members got {share} of {20 * count}")


@case()
def a_retained_message_expires(context):
    topic = context.topic()
    client = Client(context, "5", "client")
    client.connect()
    client.publish(context.topic("short"), "x", 1, retain=True, MessageExpiryInterval=1)
    client.publish(context.topic("long"), "y", 1, retain=True, MessageExpiryInterval=60)
    wait_for_a_will(context, delay_s=2)
    client.subscribe(f"{topic}/#", 1)
    client.publish(context.topic("end"), "end", 1)
    # Two topics, so no order between them is promised: the retained one may live on another shard.
    equal(sorted(client.payloads(2)), ["end", "y"])
    client.publish(context.topic("long"), "", 1, retain=True)
