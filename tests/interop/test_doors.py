"""What curl and openssl see at each port, and paho over each."""

import os
import subprocess

from client import Client
from suite import PATIENCE_S, case, equal, holds

ON_MQTT = "this port speaks MQTT, not HTTP"
ON_TLS = "this port speaks TLS (mqtts, or wss): plain HTTP is not served here"
ON_WS = (
    "this port speaks MQTT over WebSocket at /mqtt: "
    "the request does not ask for an upgrade to websocket"
)
UPGRADE = [
    *("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13"),
    *("-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "-H", "Sec-WebSocket-Protocol: mqtt"),
]


def curl(*words):
    """What curl prints, head of the answer included, and its exit status."""
    command = ["curl", "--silent", "--show-error", "--include", "--insecure", "--noproxy", "*"]
    done = subprocess.run(
        [*command, "--max-time", str(PATIENCE_S), *words], capture_output=True, text=True
    )
    return done.stdout + done.stderr, done.returncode


@case(
    ("http", "tcp", ON_MQTT, "http_on_mqtt"),
    ("http", "tls", ON_TLS, "http_on_tls"),
    ("https", "tls", ON_MQTT, "http_on_mqtt"),
    ("http", "ws", ON_WS, "http_not_websocket"),
    ("http", "wss", ON_TLS, "http_on_tls"),
    ("https", "wss", ON_WS, "http_not_websocket"),
)
def curl_is_told_what_a_port_speaks(context, asked, scheme, answer, reason):
    before = context.broker.refused(reason)
    url = f"{asked}://127.0.0.1:{context.broker.port_of(scheme)}/"
    said, status = curl("--no-alpn", url)
    equal(status, 0)
    head, _, body = said.partition("\n\n")
    equal((head.split(" ")[1], body), ("400", answer + "\n"))
    equal(context.broker.refused(reason), before + 1)


@case()
def a_protocol_name_that_is_not_spoken_ends_the_handshake(context):
    before = context.broker.refused("tls_incompatible")
    said, status = curl(f"https://127.0.0.1:{context.broker.port_of('tls')}/")
    holds("no application protocol" in said and status == 35, f"{status}: {said}")
    equal(context.broker.refused("tls_incompatible"), before + 1)


@case(("tcp", "tls_on_mqtt"), ("ws", "tls_on_websocket"))
def curl_by_tls_where_there_is_none_is_counted(context, scheme, reason):
    before = context.broker.refused(reason)
    said, status = curl(f"https://127.0.0.1:{context.broker.port_of(scheme)}/")
    holds(status == 35, f"{status}: {said}")
    context.broker.await_status(
        "counted", lambda _: context.broker.refused(reason) == before + 1
    )


@case(("ws", "http"), ("wss", "https"))
def curl_is_given_a_websocket_where_it_asks_for_one(context, scheme, asked):
    url = f"{asked}://127.0.0.1:{context.broker.port_of(scheme)}/mqtt"
    # Nothing ends it but the time that it is given.
    said, status = curl("--http1.1", *UPGRADE, "--max-time", "0.5", url)
    equal(status, 28)
    holds(said.startswith("HTTP/1.1 101 Switching Protocols"), said)
    holds("\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in said, said)
    holds("\nSec-WebSocket-Protocol: mqtt\n" in said, said)
    elsewhere, _ = curl("--http1.1", *UPGRADE, url + "/other")
    holds("404 Not Found" in elsewhere and "is at /mqtt" in elsewhere, elsewhere)


@case()
def a_flood_of_headers_is_cut_off(context):
    url = f"http://127.0.0.1:{context.broker.port_of('ws')}/mqtt"
    before = context.broker.refused("http_too_large")
    many = [word for number in range(200) for word in ("-H", f"H{number}: x")]
    for words in (["-H", f"Cookie: {'x' * 100_000}"], many):
        said, _ = curl(*UPGRADE, *words, url)
        holds("431" in said.partition("\n")[0] or "reset" in said, said[:200])
    equal(context.broker.refused("http_too_large"), before + 2)


class OpenSsl:
    """`openssl s_client`, which prints what it sees until its input ends."""

    def __init__(self, context, *words):
        where = f"127.0.0.1:{context.broker.port_of('tls')}"
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", where, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        context.callback(self.process.kill)
        self.said = ""

    def until(self, part):
        for line in self.process.stdout:
            self.said += line
            if part in line:
                return
        raise AssertionError(f"no `{part}` in:\n{self.said}")

    def end(self):
        said, _ = self.process.communicate("Q\n", PATIENCE_S)
        self.said += said


@case(("tickets",), ("ids", "-no_ticket"))
def openssl_resumes_sessions_of_tls_1_2(context, by, *options):
    before = context.broker.status()["handshakes"]
    client = OpenSsl(context, "-tls1_2", "-reconnect", *options)
    client.end()
    equal((client.said.count("New, TLSv1.2"), client.said.count("Reused, TLSv1.2")), (1, 5))
    equal("TLS session ticket:" in client.said, by == "tickets")
    counted = {"full": before["full"] + 1, "resumed": before["resumed"] + 5}
    context.broker.await_status("counted", lambda status: status["handshakes"] == counted)


@case()
def openssl_resumes_a_session_of_tls_1_3(context):
    before = context.broker.status()["handshakes"]
    path = os.path.join(context.broker.folder, context.name)
    first = OpenSsl(context, "-tls1_3", "-alpn", "mqtt", "-sess_out", path)
    first.until("New Session Ticket arrived")
    first.end()
    holds("New, TLSv1.3" in first.said and "ALPN protocol: mqtt" in first.said, first.said)
    again = OpenSsl(context, "-tls1_3", "-alpn", "mqtt", "-sess_in", path)
    again.until("New Session Ticket arrived")
    again.end()
    holds("Reused, TLSv1.3" in again.said, again.said)
    counted = {"full": before["full"] + 1, "resumed": before["resumed"] + 1}
    context.broker.await_status("counted", lambda status: status["handshakes"] == counted)


@case(("tls", "3.1.1"), ("tls", "5"), ("ws", "3.1.1"), ("ws", "5"), ("wss", "3.1"), ("wss", "5"))
def paho_verifies_the_certificate_that_the_broker_made(context, scheme, version):
    own = f"{context.broker.folder}/data/certificates/own.pem"
    clients = [Client(context, version, role, over=scheme) for role in ("one", "other")]
    for client in clients:
        if scheme != "ws":
            client.paho.tls_set(ca_certs=own)
        equal(client.connect().reason.value, 0)
    for qos in (0, 1, 2):
        topic = context.topic(f"q{qos}")
        equal(clients[0].subscribe(topic, qos), qos)
        equal(clients[1].publish(topic, "x" * 20_000, qos)[0], 0)
        equal(len(clients[0].next().payload), 20_000)
