"""paho-mqtt for Python, what only MQTT 5.0 has: properties, options, reasons."""

from client import Client, SubscribeOptions
from suite import case, equal, holds


def pair(context, **connect_properties):
    """A sender, and a receiver with the properties given; both connected."""
    sender, receiver = Client(context, "5", "sender"), Client(context, "5", "receiver")
    sender.connect()
    receiver.connect(**connect_properties)
    return sender, receiver


@case()
def connack_tells_what_the_broker_does(context):
    client = Client(context, "5", "client")
    told = client.connect().properties.json()
    holds(told.get("ReceiveMaximum", 65_535) > 0, "receive maximum")
    holds(told.get("MaximumPacketSize", 1) > 0, "maximum packet size")
    for feature in ["RetainAvailable", "WildcardSubscriptionAvailable"]:
        equal(told.get(feature, 1), 1)
    for feature in ["SubscriptionIdentifierAvailable", "SharedSubscriptionAvailable"]:
        equal(told.get(feature, 1), 1)
    equal(told.get("MaximumQoS", 2), 2)


@case()
def user_properties_keep_their_order(context):
    topic = context.topic()
    sender, receiver = pair(context)
    receiver.subscribe(topic, 1)
    wanted = [("b", "1"), ("a", "2"), ("b", "3"), ("", ""), ("é", "ü")]
    sender.publish(topic, "x", 1, UserProperty=wanted)
    equal(receiver.next().properties.UserProperty, wanted)


@case()
def a_request_is_answered_with_its_correlation(context):
    request, answers = context.topic("request"), context.topic("answers")
    asks, server = pair(context)
    server.subscribe(request, 1)
    asks.connects.queue.clear()
    asks.subscribe(answers, 1)
    asks.publish(request, "2+2", 1, ResponseTopic=answers, CorrelationData=b"\x00\x01\xff")
    got = server.next()
    equal(got.properties.ResponseTopic, answers)
    correlation = got.properties.CorrelationData
    server.publish(got.properties.ResponseTopic, "4", 1, CorrelationData=correlation)
    answer = asks.next()
    equal((answer.payload, answer.properties.CorrelationData), (b"4", b"\x00\x01\xff"))


@case()
def content_type_and_payload_format_are_passed_on(context):
    topic = context.topic()
    sender, receiver = pair(context)
    receiver.subscribe(topic, 1)
    sender.publish(topic, "{}", 1, ContentType="application/json", PayloadFormatIndicator=1)
    told = receiver.next().properties
    equal((told.ContentType, told.PayloadFormatIndicator), ("application/json", 1))


@case()
def a_client_sends_with_topic_aliases(context):
    topic, other = context.topic("long/name"), context.topic("other")
    sender, receiver = Client(context, "5", "sender"), Client(context, "5", "receiver")
    maximum = getattr(sender.connect().properties, "TopicAliasMaximum", 0)
    holds(maximum >= 2, "the broker takes no aliases")
    receiver.connect()
    receiver.subscribe(context.topic("#"), 1)
    sender.publish(topic, "1", 1, TopicAlias=1)
    sender.publish("", "2", 1, TopicAlias=1)
    sender.publish(other, "3", 1, TopicAlias=1)
    sender.publish("", "4", 1, TopicAlias=1)
    found = [(m.topic, m.payload) for m in (receiver.next() for _ in range(4))]
    equal(found, [(topic, b"1"), (topic, b"2"), (other, b"3"), (other, b"4")])


@case()
def the_broker_keeps_to_the_aliases_of_a_client(context):
    sender, receiver = pair(context, TopicAliasMaximum=2)
    receiver.subscribe(context.topic("#"), 1)
    names = [context.topic(str(number % 4)) for number in range(20)]
    for name in names:
        sender.publish(name, "x", 1)
    aliases, found = {}, []
    for _ in names:
        message = receiver.next()
        alias = getattr(message.properties, "TopicAlias", None)
        if alias is not None:
            holds(1 <= alias <= 2, f"alias {alias}")
            if message.topic:
                aliases[alias] = message.topic
        found.append(message.topic or aliases[alias])
    equal(found, names)


@case()
def an_alias_over_the_maximum_ends_the_connection(context):
    client = Client(context, "5", "client")
    maximum = getattr(client.connect().properties, "TopicAliasMaximum", 0)
    client.send(context.topic(), "x", 1, TopicAlias=maximum + 1)
    reason, props = client.ended()
    equal(reason.value, 0x94)
    holds(getattr(props, "ReasonString", ""), "no reason string")


@case()
def subscription_identifiers_come_back(context):
    sender, receiver = pair(context)
    receiver.subscribe(context.topic("a"), 1, identifier=7)
    receiver.subscribe(context.topic("b/#"), 1, identifier=268_435_455)
    sender.publish(context.topic("a"), "1", 1)
    sender.publish(context.topic("b/c"), "2", 1)
    found = [receiver.next().properties.SubscriptionIdentifier for _ in range(2)]
    equal(found, [[7], [268_435_455]])


@case()
def identifiers_of_overlapping_subscriptions_all_come_back(context):
    sender, receiver = pair(context)
    receiver.subscribe(context.topic("a/#"), 1, identifier=1)
    receiver.subscribe(context.topic("+/b"), 1, identifier=2)
    sender.publish(context.topic("a/b"), "x", 1)
    sender.publish(context.topic("a/end"), "end", 1)
    told = []
    while (message := receiver.next()).payload != b"end":
        told += message.properties.SubscriptionIdentifier
    equal(sorted(told), [1, 2])


@case()
def no_local_keeps_ones_own_messages_away(context):
    topic = context.topic()
    sender, receiver = pair(context)
    receiver.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True))
    receiver.publish(topic, "own", 1)
    sender.publish(topic, "other", 1)
    equal(receiver.payloads(1), ["other"])


@case((False,), (True,))
def retain_as_published_is_respected(context, as_published):
    topic = context.topic()
    sender, receiver = pair(context)
    options = SubscribeOptions(qos=1, retainAsPublished=as_published)
    receiver.subscribe(topic, options=options)
    sender.publish(topic, "x", 1, retain=True)
    equal(receiver.next().retain, as_published)
    sender.publish(topic, "", 1, retain=True)


@case((0, [True, True]), (1, [True, False]), (2, [False, False]))
def retain_handling_is_respected(context, handling, wanted):
    topic = context.topic()
    sender, receiver = pair(context)
    sender.publish(topic, "kept", 1, retain=True)
    options = SubscribeOptions(qos=1, retainHandling=handling)
    for comes in wanted:
        receiver.subscribe(topic, options=options)
        sender.publish(topic, "marker", 1)
        # In either order: the one comes from the topic's owner, the other from its publisher.
        equal(sorted(receiver.payloads(1 + comes)), ["kept", "marker"] if comes else ["marker"])
    sender.publish(topic, "", 1, retain=True)


@case()
def reasons_tell_of_nobody_and_nothing(context):
    client = Client(context, "5", "client")
    client.connect()
    equal(client.publish(context.topic(), "x", 1)[0], 0x10)
    equal(client.unsubscribe(context.topic())[0].value, 0x11)
    client.subscribe(context.topic(), 1)
    equal(client.unsubscribe(context.topic())[0].value, 0)


@case()
def no_problem_information_means_no_reason_string(context):
    client = Client(context, "5", "client")
    client.connect(RequestProblemInformation=0)
    code, props = client.publish(context.topic(), "x", 1)
    equal(code, 0x10)
    holds(not hasattr(props, "ReasonString"), "a reason string on PUBACK")
