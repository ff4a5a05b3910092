"""mosquitto_pub, mosquitto_sub and mosquitto_rr."""

import itertools
import queue
import subprocess

from mosquitto import Subscriber, options_for, publish, publish_lines, run
from suite import PATIENCE_S, case, equal, holds

VERSIONS = [("3.1",), ("3.1.1",), ("5",)]
VERSION_QOS = list(itertools.product(["3.1", "3.1.1", "5"], [0, 1, 2]))
SHARING = [("3.1.1", "$share/group/"), ("5", "$share/group/"), ("3.1.1", "$queue/")]


@case(*VERSION_QOS)
def a_message_arrives_with_its_qos(context, version, qos):
    topic = context.topic("a/b")
    subscriber = Subscriber(context, version, filters=[topic], qos=2)
    publish(context, version, topic, "héllo", qos=qos)
    message = subscriber.next()
    equal((message["topic"], message["payload"]), (topic, "héllo"))
    equal((message["qos"], message["retain"]), (qos, 0))


@case(("3.1", "5"), ("5", "3.1"), ("3.1.1", "5"), ("5", "3.1.1"))
def versions_talk_to_each_other(context, from_version, to_version):
    topic = context.topic()
    subscriber = Subscriber(context, to_version, filters=[topic], qos=2)
    options = ["-D", "publish", "user-property", "a", "b"] if from_version == "5" else []
    publish(context, from_version, topic, "x", *options, qos=2)
    message = subscriber.next()
    equal((message["payload"], message["qos"]), ("x", 2))


@case(*VERSIONS)
def the_subscription_limits_the_qos(context, version):
    topic = context.topic()
    low = Subscriber(context, version, filters=[topic], qos=0)
    middle = Subscriber(context, version, filters=[topic], qos=1)
    publish(context, version, topic, "x", qos=2)
    equal((low.next()["qos"], middle.next()["qos"]), (0, 1))


@case(*VERSIONS)
def wildcards_match_as_the_standard_says(context, version):
    plus = Subscriber(context, version, filters=[context.topic("+/b")])
    hash_ = Subscriber(context, version, filters=[context.topic("a/#")])
    for rest in ["a/b", "a", "a/b/c", "x/b", "x/c"]:
        publish(context, version, context.topic(rest), rest)
    publish(context, version, context.topic("a/b"), "end")
    equal(plus.payloads(3), ["a/b", "x/b", "end"])
    equal(hash_.payloads(4), ["a/b", "a", "a/b/c", "end"])


@case(*VERSIONS)
def a_retained_message_is_kept_replaced_and_cleared(context, version):
    topic = context.topic("kept")
    publish(context, version, topic, "first", "-r", qos=1)
    publish(context, version, topic, "second", "-r", qos=1)
    late = Subscriber(context, version, filters=[context.topic("#")], qos=1)
    message = late.next()
    equal((message["payload"], message["retain"], message["qos"]), ("second", 1, 1))
    publish(context, version, topic, "live", "-r")
    message = late.next()
    equal((message["payload"], message["retain"]), ("live", 0))
    publish(context, version, topic, None, "-r")
    after = Subscriber(context, version, filters=[context.topic("#")])
    publish(context, version, topic, "marker")
    equal(after.next()["payload"], "marker")


@case(*VERSIONS)
def a_will_is_published_when_the_client_vanishes(context, version):
    topic = context.topic("will")
    watcher = Subscriber(context, version, filters=[topic], qos=1)
    will = ["--will-topic", topic, "--will-payload", "gone", "--will-qos", "1", "--will-retain"]
    Subscriber(context, version, *will, filters=[context.topic("x")]).kill()
    message = watcher.next()
    equal((message["payload"], message["qos"]), ("gone", 1))
    late = Subscriber(context, version, filters=[topic], qos=1)
    message = late.next()
    equal((message["payload"], message["retain"]), ("gone", 1))
    publish(context, version, topic, None, "-r")


@case(*VERSIONS)
def a_will_is_dropped_when_the_client_says_goodbye(context, version):
    topic = context.topic("will")
    watcher = Subscriber(context, version, filters=[topic])
    will = ["--will-topic", topic, "--will-payload", "gone"]
    run(context, "mosquitto_sub", version, *will, "-t", context.topic("x"), "-E")
    publish(context, version, topic, "marker")
    equal(watcher.next()["payload"], "marker")


@case()
def a_v5_client_may_ask_for_its_will_in_disconnect(context):
    topic = context.topic("will")
    watcher = Subscriber(context, "5", filters=[topic])
    will = ["--will-topic", topic, "--will-payload", "gone"]
    # On SIGTERM mosquitto_sub says DISCONNECT with reason 0x04, with will.
    Subscriber(context, "5", *will, filters=[context.topic("x")]).end()
    equal(watcher.next()["payload"], "gone")


@case(*VERSIONS)
def a_session_keeps_messages_while_its_client_is_away(context, version):
    topic = context.topic("queue")
    name = ["-i", context.client_id("s"), "-c"]
    run(context, "mosquitto_sub", version, *name, "-q", "1", "-t", topic, "-E")
    wanted = [f"message {number}" for number in range(20)]
    publish_lines(context, version, topic, wanted, qos=1)
    back = Subscriber(context, version, *name, filters=[topic], qos=1)
    equal(back.payloads(20), wanted)


@case(*VERSIONS)
def a_clean_start_forgets_the_session(context, version):
    topic = context.topic("queue")
    name = ["-i", context.client_id("s")]
    run(context, "mosquitto_sub", version, *name, "-c", "-q", "1", "-t", topic, "-E")
    publish(context, version, topic, "forgotten", qos=1)
    back = Subscriber(context, version, *name, filters=[topic], qos=1)
    publish(context, version, topic, "marker", qos=1)
    equal(back.next()["payload"], "marker")


@case(*SHARING)
def a_shared_subscription_spreads_its_messages(context, version, prefix):
    topic = context.topic("shared")
    members = [Subscriber(context, version, filters=[prefix + topic], qos=1) for _ in range(2)]
    parts = take_from(members, 40, lambda: publish_lines(context, version, topic, range(40), qos=1))
    equal(sorted(parts[0] + parts[1]), list(range(40)))
    for part in parts:
        equal(part, sorted(part))
        holds(10 <= len(part) <= 30, f"uneven: {parts}")


def take_from(members, count, publish_all):
    """`count` numbers from all members together, a list for each member."""
    arrived = queue.Queue()
    parts = [[] for _ in members]
    for member, part in zip(members, parts):
        member.deliver = lambda message, part=part: arrived.put((part, message))
    publish_all()
    for _ in range(count):
        part, message = arrived.get(timeout=PATIENCE_S)
        part.append(int(message["payload"]))
    return parts


@case(("$share/group/",), ("$queue/",))
def a_shared_subscription_goes_on_with_those_who_stay(context, prefix):
    topic = context.topic("shared")
    leaves = Subscriber(context, "5", filters=[prefix + topic], qos=1)
    stays = Subscriber(context, "5", filters=[prefix + topic], qos=1)
    leaves.end()
    publish_lines(context, "5", topic, range(10), qos=1)
    equal(stays.payloads(10), [str(number) for number in range(10)])


@case()
def properties_are_passed_on(context):
    topic = context.topic()
    subscriber = Subscriber(context, "5", filters=[topic], qos=2)
    properties = [
        ("payload-format-indicator", "1"),
        ("content-type", "text/plain"),
        ("response-topic", "answers/here"),
        ("correlation-data", "42"),
        ("message-expiry-interval", "100"),
        ("user-property", "first", "1"),
        ("user-property", "second", "2"),
        ("user-property", "first", "3"),
    ]
    options = [word for words in properties for word in ("-D", "publish", *words)]
    publish(context, "5", topic, "text", *options, qos=2)
    subscriber.next()
    told = run_with_properties(context, topic, options)
    equal(told["content"], "text/plain")
    equal(told["response"], "answers/here")
    equal(told["correlation"], "42")
    equal(told["format"], "1")
    equal(told["user"], "first:1 second:2 first:3")
    holds(98 <= int(told["expiry"]) <= 100, f"expiry {told['expiry']}")


def run_with_properties(context, topic, options):
    """The properties of a retained message, as mosquitto_sub's format codes tell them."""
    publish(context, "5", topic, "text", "-r", *options, qos=1)
    shape = "content=%C|response=%R|correlation=%D|format=%F|expiry=%E|user=%P"
    line = run(context, "mosquitto_sub", "5", "-t", topic, "-C", "1", "-F", shape)
    publish(context, "5", topic, None, "-r")
    return dict(part.split("=", 1) for part in line.strip().split("|"))


@case()
def retain_as_published_keeps_the_flag(context):
    topic = context.topic()
    keeps = Subscriber(context, "5", "--retain-as-published", filters=[topic], qos=1)
    clears = Subscriber(context, "5", filters=[topic], qos=1)
    publish(context, "5", topic, "x", "-r", qos=1)
    equal((keeps.next()["retain"], clears.next()["retain"]), (1, 0))


@case(("3.1.1",), ("5",))
def a_request_is_answered(context, version):
    request, response = context.topic("request"), context.topic("response")
    server = Subscriber(context, version, filters=[request], qos=1)
    asks = context.enter_context(Asker(context, version, request, response))
    equal(server.next()["payload"], "question")
    publish(context, version, response, "answer", qos=1)
    equal(asks.answer(), "answer\n")


class Asker:
    """mosquitto_rr: publishes a request once it is subscribed to the response."""

    def __init__(self, context, version, request, response):
        self.process = subprocess.Popen(
            ["mosquitto_rr", *options_for(context, version), "-q", "1", "-W", "10"]
            + ["-t", request, "-e", response, "-m", "question"],
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def answer(self):
        return self.process.communicate(timeout=15)[0]

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@case(*VERSION_QOS)
def a_thousand_messages_arrive_in_order(context, version, qos):
    topic = context.topic()
    subscriber = Subscriber(context, version, filters=[topic], qos=2)
    publish_lines(context, version, topic, range(1000), qos=qos)
    equal(subscriber.payloads(1000), [str(number) for number in range(1000)])


@case(("3.1.1",), ("5",))
def a_large_message_arrives_whole(context, version):
    topic = context.topic()
    text = "0123456789" * 10_000
    subscriber = Subscriber(context, version, filters=[topic], qos=2)
    publish(context, version, topic, text, qos=2)
    equal(subscriber.next()["payload"], text)


@case(("3.1.1",), ("5",))
def the_broker_tells_of_itself_but_not_to_a_leading_wildcard(context, version):
    system = Subscriber(context, version, filters=["$SYS/#"])
    holds(system.next()["topic"].startswith("$SYS/brokers"), "no $SYS/brokers topic")
    everything = Subscriber(context, version, "-R", filters=["#"])
    publish(context, version, context.topic(), "marker")
    topic = everything.next()["topic"]
    holds(not topic.startswith("$"), f"`#` matched {topic}")
