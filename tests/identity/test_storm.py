"""Everybody comes back at once: what was verified once costs neither a query nor a hash."""

import threading

import bcrypt
from fleet import Fleet, cpu_seconds, part
from postgres import quoted
from rig import Rig
from suite import case, equal, holds
from test_changes import slow_user, until

CLIENTS = 200
# Every hash takes a while, so that many wait; not as long as those of a real table.
COST = 6


def fill(postgres, count, cost):
    """`count` users whose password is `p`. They share a hash, which the broker does not know: each
    has a salt of its own beside it, which bcrypt does not look at."""
    stored = bcrypt.hashpw(b"p", bcrypt.gensalt(cost)).decode()
    postgres.sql(
        "INSERT INTO mqtt_user (username, password, salt) "
        f"SELECT 'u' || i, {quoted(stored)}, 's' || i FROM generate_series(0, {count - 1}) i"
    )


def run(postgres, rig, fleet, within):
    """One storm; what it cost."""
    before, statements = cpu_seconds(rig.process.pid), postgres.statements()
    seconds, took = fleet.storm(within)
    return {
        "seconds": round(seconds, 2),
        "attempts": fleet.attempts,
        "codes": fleet.codes,
        "cpu_s": round(cpu_seconds(rig.process.pid) - before, 2),
        "statements": postgres.statements() - statements,
        "median_s": round(part(took, 0.5), 3),
        "p99_s": round(part(took, 0.99), 3),
    }


@case()
def the_second_storm_costs_no_query(context):
    postgres = context.lab.postgres
    fill(postgres, CLIENTS, COST)
    postgres.log_statements()
    # Nothing else asks meanwhile.
    rig = Rig(context, password_hash="bcrypt", keepalive="60s").load()
    rig.wait_log("listening for changes")
    fleet = Fleet(rig.port, CLIENTS)
    context.callback(fleet.close)
    first = run(postgres, rig, fleet, 60)
    holds(first["statements"] >= CLIENTS, first)
    start = len(rig.log())
    fleet.close()
    second = run(postgres, rig, fleet, 60)
    equal((second["statements"], second["codes"]), (0, {0: CLIENTS}))
    equal(rig.log()[start:], "")
    print(f"       first {first}\n       second {second}", flush=True)


@case()
def the_anonymous_do_not_wait_for_hashes(context):
    """One thread that hashes, with seconds of work before it, and somebody who shows no password."""
    postgres = context.lab.postgres
    settings = '[auth]\nallow_anonymous = "true"\nthreads = 1\ndeadline_s = 30\n'
    for number in range(12):
        slow_user(postgres, f"u{number}", "p")
    rig = Rig(context, password_hash="bcrypt", settings=settings).load()
    codes = []
    crowd = [
        threading.Thread(target=lambda name=f"u{number}": codes.append(rig.code(name, "p")))
        for number in range(12)
    ]
    for client in crowd:
        client.start()
    until(lambda: rig.status()["node"]["identity"]["waiting"] > 8, "a crowd")
    client = rig.client()
    waiting = rig.status()["node"]["identity"]["waiting"]
    equal(client.code, 0)
    holds(client.took < 0.2 and waiting > 2, (client.took, waiting))
    for client in crowd:
        client.join()
    equal(codes, [0] * 12)
