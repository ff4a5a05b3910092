"""What `ringmq status` says of sources that are down, and of who waits for them."""

import re
import threading

from rig import Rig
from suite import case, equal, holds
from test_changes import until


def source(rig):
    identity = rig.status()["node"]["identity"]
    return next(found for found in identity["sources"] if found["name"] == "postgres"), identity


@case()
def since_when_and_how_many(context):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    rig = Rig(context, settings="[auth]\nthreads = 1\n").load()
    equal(rig.code("u", "p"), 0)
    found, identity = source(rig)
    equal((found["down_s"], found["why"], identity["waiting"]), (None, "", 0))
    holds(identity["remembered"] == 1, identity)
    postgres.pause()
    context.callback(postgres.resume)
    # One is asked for, the others wait behind it.
    clients = [threading.Thread(target=rig.code, args=(f"w{i}", "p")) for i in range(8)]
    for client in clients:
        client.start()
    until(lambda: source(rig)[1]["waiting"] == len(clients), "those who wait")
    said, _ = rig.ctl("status")
    holds(re.search(r"\b8 waiting, 0 too late, 1 remembered", said), said)
    for client in clients:
        client.join()
    found, identity = source(rig)
    holds(found["down_s"] is not None and found["why"], found)
    equal(identity["waiting"], 0)
    said, _ = rig.ctl("status")
    holds(re.search(r"identities +postgres, down for .*: no answer", said), said)
    postgres.resume()
    rig.wait_code(0, "u", "p")
    rig.wait_code(4, "u", "wrong", within=8)
    found, _ = source(rig)
    equal((found["down_s"], found["why"]), (None, ""))


@case()
def a_source_that_the_chain_does_not_name(context):
    rig = Rig(context, settings='[auth]\nchain = "users"\n')
    said, _ = rig.ctl("plugins", "load", rig.plugin)
    holds("warning: auth.chain does not name postgres, so it is not asked" in said, said)


@case()
def a_source_that_never_was_there(context):
    rig = Rig(context, server="127.0.0.1:1")
    rig.ctl("plugins", "load", rig.plugin)
    equal(rig.code("u", "p"), 3)
    found, _ = source(rig)
    holds(found["down_s"] is not None and "refused" in found["why"], found)
