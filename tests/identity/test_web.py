"""A service over HTTP that says who comes in."""

import json
import time
import urllib.parse

from rig import Rig
from suite import case, equal, holds
from test_scram import add
from test_tokens import Service

RULES = [{"permission": "allow", "action": "publish", "topic": "a/#"}]


def verdict(said):
    """What the service of these tests says of what it is told."""
    match said.get("username"):
        case "u" if said["password"] == "p":
            return 200, json.dumps({"result": "allow", "acl": RULES})
        case "u":
            return 200, json.dumps({"result": "deny"})
        case "word":
            return 200, "ok"
        case "ignored":
            return 200, "ignore"
        case "root":
            return 200, json.dumps({"result": "allow", "is_superuser": True, "acl": []})
        case "short":
            return 200, json.dumps({"expires_at": int(time.time()) + 2})
        case "broken":
            return 200, "{"
        case "down":
            return 503, ""
        case name if name.isdecimal():
            return int(name), json.dumps({"result": "allow"})
    return 401, ""


def as_json(_, body):
    return verdict(json.loads(body))


def as_form(handler, body):
    text = body.decode() or handler.path.split("?", 1)[1]
    return verdict(dict(urllib.parse.parse_qsl(text, keep_blank_values=True)))


@case(("post", "json"), ("post", "x-www-form-urlencoded"), ("get", "json"))
def it_decides(context, method, form):
    answer = as_json if (method, form) == ("post", "json") else as_form
    service = Service(context, answer)
    rig = Rig(
        context,
        "auth_http",
        auth_req=service.url + "auth",
        auth_req__method=method,
        auth_req__content_type=form,
    ).load()
    equal([rig.code("u", "p"), rig.code("u", "x"), rig.code("nobody", "p")], [0, 4, 4])
    equal([rig.code("word", "x"), rig.code("ignored", "x"), rig.code()], [0, 4, 4])
    equal(rig.code("u&username=root", "p&x=#"), 4)
    client = rig.client("u", "p", v5=True)
    equal([client.publish("a/b"), client.publish("b")], [0x10, 0x87])
    equal(rig.client("root", "x", v5=True).publish("b"), 0x10)
    rig.client("short", "x").wait_end(6)
    # One connection after the other would be as many as questions.
    holds(service.asked >= 9 and service.connections <= 4, (service.asked, service.connections))


@case()
def what_is_no_answer_is_no_verdict(context):
    service = Service(context, as_json)
    rig = Rig(context, "auth_http", auth_req=service.url, timeout="1s").load()
    equal(rig.code("down", "x"), 3)
    rig.wait_code(0, "u", "p", within=5)
    equal(rig.code("broken", "x"), 3)
    rig.wait_code(0, "u", "p", within=5)
    service.answer = lambda *_: (time.sleep(3), (200, ""))[1]
    client = rig.client("u", "p")
    holds(client.code == 3 and client.took < 3, (client.code, client.took))
    service.answer = as_json
    rig.wait_code(0, "u", "p", within=5)


@case()
def each_status_has_its_meaning(context):
    service = Service(context, as_json)
    rig = Rig(context, "auth_http", auth_req=service.url, settings='[auth]\nchain = "http,users"\n').load()
    # Who is not known to the service may be known to the next.
    add(rig, "404", "p")
    for status, code in [("204", 0), ("299", 0), ("400", 4), ("403", 4), ("410", 4), ("422", 4)]:
        equal((status, rig.code(status, "p")), (status, code))
    equal([rig.code("404", "p"), rig.code("404", "x"), rig.code("401", "p")], [0, 4, 4])
    rig.wait_log("status 4.., taken for a user that the service does not know")
    for status in ("301", "405", "407", "429", "500"):
        equal((status, rig.code(status, "p")), (status, 3))
        # None is down for it.
        equal(rig.code("u", "p"), 0)


@case()
def who_has_a_password_and_no_name_is_not_anonymous(context):
    service = Service(context, lambda *_: (404, ""))
    anonymous = '[auth]\nallow_anonymous = "true"\n'
    rig = Rig(context, "auth_http", auth_req=service.url, settings=anonymous).load()
    equal([rig.code(v5=True), rig.code(None, "token", v5=True)], [0, 0x86])


@case()
def nobody_is_there(context):
    rig = Rig(context, "auth_http", auth_req="http://127.0.0.1:1/").load()
    equal([rig.code("u", "p"), rig.code("u", "p", v5=True)], [3, 0x88])
    rig.wait_log("cannot be asked")
