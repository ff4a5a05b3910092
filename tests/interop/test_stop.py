"""What clients see when the broker is stopped: a broker of its own for each test."""

import signal

from broker import Broker
from client import Client
from mosquitto import Subscriber
from suite import CASES, Context, case, equal, holds


def own_broker(context):
    """A context on another broker, which the test may stop."""
    holds(not context.broker.is_foreign, "needs a broker that it can start")
    broker = context.enter_context(Broker(context.broker.binary, context.broker.shards))
    return context.enter_context(Context(broker, CASES[0]))


@case(("SIGTERM",), ("SIGINT",))
def a_v5_client_is_told_that_the_broker_stops(context, name):
    own = own_broker(context)
    new = Subscriber(own, "5", filters=["a"])
    paho = Client(own, "5", "paho")
    paho.connect()
    old = Client(own, "3.1.1", "old")
    old.connect()
    equal(own.broker.stop(signal.Signals[name]), 0)
    new.wait_for_note("Received DISCONNECT (139)")
    paho.ended()
    old.ended()


@case()
def the_port_is_free_after_the_end(context):
    own = own_broker(context)
    client = Client(own, "5", "client")
    client.connect()
    equal(own.broker.stop(), 0)
    client.ended()
    again = Client(own, "5", "again")
    try:
        again.connect()
    except ConnectionRefusedError:
        return
    raise AssertionError("somebody still listens")
