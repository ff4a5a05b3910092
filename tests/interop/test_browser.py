"""A page in Chromium that publishes and receives by MQTT.js, over ws and wss."""

import urllib.parse

from broker import Broker
from browser import Chromium, Site
from client import Client
from suite import CASES, Context, case, equal, holds


def page(site, url, topic):
    words = "&".join(urllib.parse.quote(word, safe="") for word in (url, topic))
    return f"{site.origin}/page.html?{words}"


def flow(context, site, scheme):
    """The page hears itself and paho, and paho hears the page."""
    topic = context.topic()
    paho = Client(context, "5", "paho")
    paho.connect()
    paho.subscribe(f"{topic}/page", 2)
    Chromium(context, page(site, context.broker.url_of(scheme), topic), context.broker.folder)
    equal(site.next(), "subscribed")
    equal(site.next(), "received its own")
    equal([len(paho.next().payload) for _ in range(3)], [26_000] * 3)
    equal(paho.publish(f"{topic}/paho", "to a page", 1)[0], 0)
    equal(site.next(), [f"{topic}/paho", "to a page", 1])
    # In which order the page hears of these is its own affair.
    equal({site.next(), site.next()}, {"closed", "ended"})


@case(("ws",), ("wss",))
def a_page_publishes_and_receives(context, scheme):
    flow(context, Site(context), scheme)


@case()
def only_pages_of_known_origins_get_in(context):
    holds(not context.broker.is_foreign, "needs a broker that it can start")
    known, unknown = Site(context), Site(context)
    broker = Broker(context.broker.binary, context.broker.shards)
    context.callback(broker.end)
    doors = '[[listener]]\nurl = "tcp://127.0.0.1:0"\n[[listener]]\nurl = "ws://127.0.0.1:0"\n'
    broker.start(listeners=f'{doors}websocket_origins = ["{known.origin}"]\n')
    own = context.enter_context(Context(broker, CASES[0]))
    stranger = own.enter_context(Context(broker, CASES[0]))
    Chromium(stranger, page(unknown, broker.url_of("ws"), "t"), broker.folder)
    told = unknown.next()
    holds(told == "closed" or told.startswith("error: "), f"the stranger's page: {told}")
    equal(broker.refused("http_origin"), 1)
    stranger.close()
    flow(own, known, "ws")
