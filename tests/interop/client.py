"""A paho-mqtt client whose callbacks become queues that a test waits on."""

import contextlib
import queue
import socket

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from suite import PATIENCE_S

PROTOCOLS = {"3.1": paho.MQTTv31, "3.1.1": paho.MQTTv311, "5": paho.MQTTv5}

__all__ = ["Client", "SubscribeOptions", "properties"]


def properties(packet, **values):
    """`properties("CONNECT", SessionExpiryInterval=60)`; nothing when there are no values."""
    made = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Connected:
    def __init__(self, flags, reason, props):
        self.session_present = flags.session_present
        self.reason = reason
        self.properties = props


class Client:
    def __init__(
        self, context, version, role, manual_ack=False, clean_session=True, over="tcp"
    ):
        self.version = version
        self.context = context
        self.over = over
        options = {} if version == "5" else {"clean_session": clean_session}
        if over in ("ws", "wss"):
            options["transport"] = "websockets"
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=context.client_id(role) if role else "",
            protocol=PROTOCOLS[version],
            manual_ack=manual_ack,
            reconnect_on_failure=False,
            **options,
        )
        self.connects, self.messages, self.ends = queue.Queue(), queue.Queue(), queue.Queue()
        self.subscribed, self.unsubscribed = queue.Queue(), queue.Queue()
        self.published = queue.Queue()
        self.paho.on_connect = lambda _c, _u, flags, reason, props: self.connects.put(
            Connected(flags, reason, props)
        )
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_disconnect = lambda _c, _u, _f, reason, props: self.ends.put((reason, props))
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, props: self.subscribed.put(reasons)
        self.paho.on_unsubscribe = lambda _c, _u, _m, reasons, props: self.unsubscribed.put(reasons)
        self.paho.on_publish = lambda _c, _u, mid, reason, props: self.published.put(
            (mid, reason, props)
        )
        context.callback(self.cut)

    # Connection

    def connect(self, clean_start=True, keep_alive_s=60, **connect_properties):
        """Connects, and returns what CONNACK said."""
        options = {}
        if self.version == "5":
            options["clean_start"] = clean_start
            options["properties"] = properties("CONNECT", **connect_properties)
        port = self.context.broker.port_of(self.over)
        self.paho.connect("127.0.0.1", port, keep_alive_s, **options)
        self.paho.loop_start()
        return self._take(self.connects, "CONNACK")

    def will(self, topic, payload, qos=0, retain=False, **will_properties):
        options = {}
        if self.version == "5":
            options["properties"] = properties("WILLMESSAGE", **will_properties)
        self.paho.will_set(topic, payload, qos, retain, **options)

    def disconnect(self, **disconnect_properties):
        """A normal end, waited for."""
        options = {}
        if self.version == "5":
            options["properties"] = properties("DISCONNECT", **disconnect_properties)
        self.paho.disconnect(**options)
        self._take(self.ends, "end of the connection")
        self.paho.loop_stop()

    def cut(self):
        """An end without a DISCONNECT, as a client that lost its power."""
        connection = self.paho.socket()
        if connection is not None:
            # Wakes paho's thread, which otherwise looks up once a second. Below TLS and WebSocket.
            with contextlib.suppress(OSError), socket.fromfd(
                connection.fileno(), socket.AF_INET, socket.SOCK_STREAM
            ) as bare:
                bare.shutdown(socket.SHUT_RDWR)
        self.paho.loop_stop()

    def ended(self):
        """Waits for the broker to end the connection; returns its reason and properties."""
        end = self._take(self.ends, "end of the connection")
        self.paho.loop_stop()
        return end

    # Subscriptions

    def subscribe(self, name, qos=0, options=None, identifier=None):
        """Subscribes, and returns the reason code as a number."""
        if self.version == "5":
            props = properties("SUBSCRIBE")
            if identifier is not None:
                props.SubscriptionIdentifier = identifier
            options = options or SubscribeOptions(qos=qos)
            self.paho.subscribe(name, options=options, properties=props)
        else:
            self.paho.subscribe(name, qos)
        return self._take(self.subscribed, "SUBACK")[0].value

    def unsubscribe(self, name):
        self.paho.unsubscribe(name)
        return self._take(self.unsubscribed, "UNSUBACK")

    # Messages

    def send(self, topic, payload, qos=0, retain=False, **publish_properties):
        """Publishes without waiting."""
        options = {}
        if self.version == "5":
            options["properties"] = properties("PUBLISH", **publish_properties)
        return self.paho.publish(topic, payload, qos, retain, **options)

    def publish(self, topic, payload, qos=0, retain=False, **publish_properties):
        """Publishes, waits until it is done, and returns the reason and properties of the ack."""
        self.send(topic, payload, qos, retain, **publish_properties)
        _mid, reason, props = self._take(self.published, "end of publishing")
        return reason.value, props

    def next(self):
        return self._take(self.messages, "message")

    def payloads(self, count):
        return [self.next().payload.decode() for _ in range(count)]

    def ack(self, message):
        self.paho.ack(message.mid, message.qos)

    def _take(self, source, what):
        try:
            return source.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"{self.context.name}: no {what} came") from None
