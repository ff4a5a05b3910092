"""A mosquitto that is a bridge to the broker. It comes with bit 0x80 in the protocol level, and
without once it is refused in the words of MQTT 3."""

import getpass
import os
import subprocess
import tempfile

from mosquitto import Subscriber, publish
from suite import case, equal

CONFIG = """\
listener 0 {socket}
allow_anonymous true
user {user}
connection up
address 127.0.0.1:{port}
bridge_protocol_version mqttv{version}
remote_clientid {client_id}
restart_timeout 1
notifications_local_only true
notification_topic state
topic {there} out 1
topic {back} in 1
"""


class Bridge:
    """A mosquitto of its own that listens on a unix socket alone."""

    def __init__(self, context, version):
        folder = context.enter_context(tempfile.TemporaryDirectory(prefix="ringmq-bridge-"))
        self.socket = f"{folder}/local"
        with open(f"{folder}/conf", "w") as config:
            names = {"user": getpass.getuser(), "client_id": context.client_id("bridge"), "port": context.broker.port}
            topics = {"there": context.topic("there"), "back": context.topic("back")}
            text = CONFIG.format(socket=self.socket, version=version, **names, **topics)
            config.write(text)
        self.process = subprocess.Popen(
            ["mosquitto", "-c", f"{folder}/conf"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"},
        )
        context.callback(self.kill)
        for line in self.process.stdout:
            if "running" in line:
                return
        raise AssertionError("mosquitto does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@case(("31",), ("311",), ("50",))
def a_bridge_comes_up_and_carries_both_ways(context, version):
    there, back = context.topic("there"), context.topic("back")
    remote = Subscriber(context, "3.1.1", filters=[there], qos=1)
    bridge = Bridge(context, version)
    local = ["--unix", bridge.socket]
    state = Subscriber(context, "3.1.1", *local, filters=["state"])
    # Retained: 0 until it is up, which takes it two attempts.
    while state.next()["payload"] != "1":
        pass
    publish(context, "3.1.1", there, "out", *local, qos=1)
    equal(remote.next()["payload"], "out")
    at_home = Subscriber(context, "3.1.1", *local, filters=[back], qos=1)
    publish(context, "3.1.1", back, "in", qos=1)
    equal(at_home.next()["payload"], "in")
