"""Access rules for everybody, from a file: listeners with a mountpoint, shared subscriptions, wills,
and what becomes of who is in when the file changes. No source of identities is set up."""

import os

from rig import Rig
from suite import case, equal, holds
from test_changes import until

DENIED, DENIED_V3 = 0x87, 5
LISTENERS = """
[[listener]]
url = "tcp://127.0.0.1:0"
mountpoint = "home/"

[[listener]]
url = "tcp://127.0.0.1:0"
"""
FILE = '[auth]\nacl_file = "etc/acl.conf"\n'


class House:
    """A broker with rules. A change of them is through when a topic is denied that is in it alone:
    on the probe's shard, so there is only one."""

    def __init__(self, context, *rules, settings=""):
        self.rig = Rig(context, settings=FILE + settings, shards=1, start=False)
        self.changes = 0
        self._write(rules)
        self.rig.start()
        self.probe = self.rig.client(v5=True)

    def change(self, *rules):
        self.changes += 1
        mark = f"mark/{self.changes}"
        self._write([f'{{deny, all, publish, ["{mark}"]}}.', *rules])
        equal(self.rig.ctl("reload")[1], 0)
        until(lambda: self.probe.publish(mark) == DENIED, "the rules")

    def _write(self, rules):
        with open(os.path.join(self.rig.folder, "etc/acl.conf"), "w") as file:
            file.write("\n".join([*rules, "{allow, all}.\n"]))


def deny(topic, action="pubsub"):
    return f'{{deny, all, {action}, ["{topic}"]}}.'


@case()
def below_a_mountpoint_they_are_about_what_its_clients_say(context):
    house = House(context, deny("secret/#"), deny("home/a/#"), settings=LISTENERS)
    inside, outside = house.rig.ports
    away = house.rig.client(client_id="away", stays=True, port=inside)
    equal([away.subscribe(name, 1) for name in ("a/#", "b/#", "secret/x", "#")], [1, 1, 0x80, 0x80])
    client = house.rig.client(v5=True, port=inside)
    equal([client.publish(topic) for topic in ("secret/x", "a/1", "home/a/1")], [DENIED, 0, DENIED])
    writer = house.rig.client(v5=True, port=outside)
    # From outside the same topics have other names, and other rules.
    topics = ("home/secret/x", "home/b/1", "home/a/2", "secret/x")
    equal([writer.publish(topic) for topic in topics], [0x10, 0, DENIED, DENIED])
    equal([away.wait_message()[0] for _ in range(2)], ["a/1", "b/1"])
    # What waits is looked at by the names that its receiver knows, too.
    away.disconnect()
    equal([client.publish(topic) for topic in ("a/3", "b/3")], [0, 0])
    house.change(deny("a/#"))
    back = house.rig.client(client_id="away", stays=True, port=inside)
    # Two were sent before and never acknowledged: what was begun is finished.
    equal([back.wait_message()[0] for _ in range(3)], ["a/1", "b/1", "b/3"])


@case()
def shares_are_subscriptions_to_their_filters(context):
    house = House(context, deny("secret/#", "subscribe"))
    member, other = house.rig.client(v5=True), house.rig.client(v5=True)
    filters = ["$share/g/secret/a", "$share/g/#", "$share/g/+/a", "$queue/secret/#", "$share/secret/a"]
    equal([member.subscribe(name, 1) for name in filters], [DENIED] * 4 + [1])
    equal([one.subscribe("$share/g/a/#", 1) for one in (member, other)], [1, 1])
    # Rules that change take them away, and nobody is dealt anything any more.
    house.change(deny("a/+", "subscribe"))
    equal([house.probe.publish(topic) for topic in ("a/2", "a")], [0x10, 0])
    equal(member.wait_message()[0], "a")
    house.change()
    equal(other.subscribe("$share/g/a/#", 1), 1)
    equal(house.probe.publish("a/3"), 0)
    equal(other.wait_message()[0], "a/3")


@case((True,), (False,))
def wills_are_publications(context, v5):
    house = House(context, deny("secret/#", "publish"))
    witness = house.rig.client(v5=True)
    equal(witness.subscribe("#"), 0)
    denied = DENIED if v5 else DENIED_V3
    equal(house.rig.code(v5=v5, will="secret/will"), denied)
    heard, changed = (house.rig.client(v5=v5, will=topic) for topic in ("will/1", "will/2"))
    equal([heard.code, changed.code], [0, 0])
    heard.close()
    equal(witness.wait_message(), ("will/1", "will"))
    # One that may not be published any more is not, however its client goes.
    house.change(deny("will/#", "publish"))
    gone = house.rig.client(v5=v5, will="free")
    changed.close()
    gone.close()
    equal(witness.wait_message(), ("free", "will"))


@case()
def a_file_that_nobody_named_is_not_read_and_told(context):
    rig = Rig(context, start=False)
    with open(os.path.join(rig.folder, "etc/acl.conf"), "w") as file:
        file.write("{deny, all}.\n")
    rig.start()
    rig.wait_log(r"WARN .*etc/acl.conf is not read: auth.acl_file names no file")
    client = rig.client(v5=True)
    holds(client.publish("a") != DENIED, "it was read")
