"""JSON Web Tokens, made by PyJWT and checked by the broker."""

import http.server
import json
import os
import threading
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rig import Rig
from suite import case, equal, holds

SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
MAKERS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS512": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def token(key, algorithm="HS256", kid=None, **claims):
    claims.setdefault("exp", int(time.time()) + 600)
    return jwt.encode(claims, key, algorithm, {"kid": kid} if kid else None)


def jwk(key, algorithm, kid):
    """The public half of a key, as a member of a key set."""
    maker = jwt.get_algorithm_by_name(algorithm)
    made = maker.to_jwk(key.public_key())
    return json.loads(made) | {"kid": kid, "use": "sig"}


def forged(whole):
    head, body, signature = whole.split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


class Service(http.server.ThreadingHTTPServer):
    """A service on this machine that answers what a test wants, and counts."""

    daemon_threads = True

    def __init__(self, context, answer):
        self.asked = 0
        self.connections = 0
        self.answer = answer
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        context.callback(self.server_close)
        context.callback(self.shutdown)

    def process_request(self, request, address):
        self.connections += 1
        super().process_request(request, address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = self.server.answer(self, body)
        answer = answer if isinstance(answer, bytes) else answer.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@case(("HS256",), ("HS384",), ("HS512",))
def a_secret(context, algorithm):
    rig = Rig(context, "auth_jwt", secret=SECRET).load()
    good = token(SECRET, algorithm, sub="dev")
    equal([rig.code("u", good), rig.code(None, None), rig.code("u", "p")], [0, 4, 4])
    for bad in [
        forged(good),
        token(SECRET + "x", algorithm),
        token(SECRET, algorithm, exp=int(time.time()) - 1),
        token(SECRET, algorithm, nbf=int(time.time()) + 100),
        jwt.encode({"sub": "dev"}, None, "none"),
    ]:
        equal((bad, rig.code("u", bad)), (bad, 4))


@case(*[(algorithm,) for algorithm in MAKERS])
def a_public_key(context, algorithm):
    key, other = MAKERS[algorithm](), MAKERS[algorithm]()
    rig = Rig(context, "auth_jwt", pubkey="key.pem")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with open(os.path.join(rig.folder, "key.pem"), "wb") as file:
        file.write(public)
    rig.load()
    good = token(key, algorithm)
    equal([rig.code("u", good), rig.code("u", forged(good))], [0, 4])
    equal(rig.code("u", token(other, algorithm)), 4)


@case()
def a_public_key_is_no_secret(context):
    """A token that is signed with the public key's text as if that were a secret."""
    import base64
    import hashlib
    import hmac

    key = MAKERS["RS256"]()
    rig = Rig(context, "auth_jwt", pubkey="key.pem")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with open(os.path.join(rig.folder, "key.pem"), "wb") as file:
        file.write(public)
    rig.load()
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")  # noqa: E731
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(b'{"sub":"x"}')
    signature = hmac.new(public, signed, hashlib.sha256).digest()
    equal(rig.code("u", signed + b"." + part(signature)), 4)


@case()
def key_sets_from_a_file(context):
    keys = {algorithm: MAKERS[algorithm]() for algorithm in ("RS256", "ES256", "EdDSA")}
    rig = Rig(context, "auth_jwt", jwks="jwks.json")
    with open(os.path.join(rig.folder, "jwks.json"), "w") as file:
        json.dump({"keys": [jwk(key, name, name) for name, key in keys.items()]}, file)
    rig.load()
    for name, key in keys.items():
        good = token(key, name, name)
        equal((name, rig.code("u", good), rig.code("u", forged(good))), (name, 0, 4))
        equal((name, rig.code("u", token(key, name))), (name, 0))
        wrong = "ES256" if name == "RS256" else "RS256"
        equal((name, rig.code("u", token(key, name, wrong))), (name, 4))


@case()
def key_sets_from_an_address(context):
    first, second = MAKERS["ES256"](), MAKERS["ES256"]()
    served = {"keys": [jwk(first, "ES256", "1")]}
    status = [500]
    service = Service(context, lambda *_: (status[0], json.dumps(served)))
    rig = Rig(context, "auth_jwt", jwks=service.url)
    said, code = rig.ctl("plugins", "load", rig.plugin)
    holds(code == 0 and "status 500" in said, said)
    # Without keys nobody can say whether a token is good.
    equal(rig.code("u", token(first, "ES256", "1")), 3)
    status[0] = 200
    rig.wait_code(0, "u", token(first, "ES256", "1"), within=8)
    # A key that nobody knew is looked for.
    served["keys"].append(jwk(second, "ES256", "2"))
    rig.wait_code(0, "u", token(second, "ES256", "2"), within=12)
    # Keys that are known outlive the service, and of one that is not nobody can say.
    status[0] = 503
    equal(rig.code("u", token(first, "ES256", "1")), 0)
    third = MAKERS["ES256"]()
    rig.wait_code(3, "u", token(third, "ES256", "3"), within=12)
    status[0] = 200
    rig.wait_code(4, "u", token(third, "ES256", "3"), within=8)


@case((True,), (False,))
def the_connection_ends_with_the_token(context, v5):
    rig = Rig(context, "auth_jwt", secret=SECRET).load()
    ends = time.time() + 2.5
    client = rig.client("u", token(SECRET, exp=int(ends)), v5=v5)
    equal(client.code, 0)
    reason = client.wait_end(6)
    holds(int(ends) - 0.2 <= time.time() <= ends + 1.5, time.time() - ends)
    if v5:
        holds(reason is not None and reason >= 0x80, reason)


@case()
def what_a_token_allows(context):
    rig = Rig(context, "auth_jwt", secret=SECRET).load()
    rules = [
        {"permission": "deny", "action": "publish", "topic": "a/secret"},
        {"permission": "allow", "action": "all", "topics": ["a/#", "of/%u", "by/%c"]},
    ]
    client = rig.client("u", token(SECRET, sub="dev", acl=rules), "me", v5=True)
    topics = ["a/b", "a/secret", "of/dev", "of/u", "by/me", "b"]
    equal([client.publish(topic) for topic in topics], [0x10, 0x87, 0x10, 0x87, 0x10, 0x87])
    equal([client.subscribe(name) for name in ("a/b", "a/#", "#")], [0, 0, 0x87])
    short = rig.client("u", token(SECRET, acl={"pub": ["x"], "sub": ["y/+"]}), v5=True)
    equal([short.publish("x"), short.publish("y/1"), short.subscribe("y/+")], [0x10, 0x87, 0])
    wrong = rig.client("u", token(SECRET, acl="everything"), v5=True)
    equal([wrong.code, wrong.publish("x"), wrong.subscribe("x")], [0, 0x87, 0x87])
    above = rig.client("u", token(SECRET, acl=[], is_superuser=True), v5=True)
    equal(above.publish("x"), 0x10)


@case()
def claims_issuer_and_audience(context):
    rig = Rig(
        context,
        "auth_jwt",
        secret=SECRET,
        claims="username:%u, device:%c",
        issuer="me",
        audience="us",
        exp_required="true",
    ).load()
    good = {"username": "u", "device": "c", "iss": "me", "aud": "us"}
    equal(rig.code("u", token(SECRET, **good), "c"), 0)
    for name, value in (("username", "v"), ("device", "d"), ("iss", "you"), ("aud", "them")):
        equal((name, rig.code("u", token(SECRET, **good | {name: value}), "c")), (name, 4))
        less = {other: of for other, of in good.items() if other != name}
        equal((name, rig.code("u", token(SECRET, **less), "c")), (name, 4))
    equal(rig.code("u", jwt.encode(good, SECRET, "HS256"), "c"), 4)


@case()
def who_shows_a_token_beside_a_database(context):
    """Everybody is looked at again, and whom no row is about stays."""
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    postgres.sql("INSERT INTO mqtt_acl (allow, username, access, topic) VALUES (1, '$all', 3, '#')")
    rig = Rig(context)
    rig.write("auth_jwt.conf", "jwt", secret=SECRET)
    start = len(rig.log())
    rig.load()
    equal(rig.ctl("plugins", "load", "emq_auth_jwt")[1], 0)
    rig.wait_log("listening for changes", start)
    of_row, of_token = rig.client("u", "p", v5=True), rig.client("u", token(SECRET), v5=True)
    equal([of_row.code, of_token.code], [0, 0x86])
    named = rig.client(None, token(SECRET, sub="dev"), v5=True)
    nameless = rig.client("other", token(SECRET), v5=True)
    equal([named.code, nameless.code], [0, 0])
    postgres.sql("UPDATE mqtt_acl SET topic = 'a'")
    deadline = time.monotonic() + 2
    while of_row.publish("b") != 0x87:
        holds(time.monotonic() < deadline, "the rule has not come")
    named.ping()
    nameless.ping()
    equal(rig.ctl("plugins", "unload", "emq_auth_jwt")[1], 0)
    postgres.sql("UPDATE mqtt_acl SET topic = 'b'")
    while of_row.publish("b") == 0x87:
        holds(time.monotonic() < deadline + 2, "the rule has not come")
    named.ping()
