"""A pgbouncer in transaction mode between ringmq and its server."""

import threading

from postgres import PgBouncer
from rig import Rig
from suite import case, equal, holds

NO_NOTIFY = "a pooler passes no notifications on"


def begin(context, **keys):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) SELECT 'u' || i, 'p' FROM generate_series(0, 99) i")
    postgres.sql("INSERT INTO mqtt_acl (allow, username, access, topic) VALUES (1, '$all', 3, 'of/%u/#')")
    bouncer = PgBouncer(context, postgres)
    keys = {"prepared": "false", "pool": 8} | keys
    return postgres, bouncer, Rig(context, server=f"127.0.0.1:{bouncer.port}", **keys)


@case()
def many_at_once(context):
    postgres, bouncer, rig = begin(context)
    said, status = rig.ctl("plugins", "load", rig.plugin)
    holds(status == 0 and NO_NOTIFY in said, said)
    codes = {}

    def connect(user, password):
        codes[user, password] = rig.code(user, password)

    threads = [
        threading.Thread(target=connect, args=(f"u{i}", password))
        for i in range(100)
        for password in ("p", "wrong")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = {who: code for who, code in codes.items() if code != (0 if who[1] == "p" else 4)}
    equal((len(codes), wrong), (200, {}))
    client = rig.client("u1", "p", v5=True)
    equal([client.publish("of/u1/x"), client.publish("of/u2/x")], [0x10, 0x87])
    # They have come by the connections of the pooler, and by no more.
    used = postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mqtt'")
    holds(1 <= int(used) <= bouncer.SERVER_CONNECTIONS, used)
    # It comes back as a server does.
    bouncer.stop()
    rig.wait_code(3, "u2", "wrong", within=8)
    client.ping()
    bouncer.start()
    rig.wait_code(4, "u2", "wrong", within=8)
    equal(rig.code("u3", "p", v5=True), 0)


@case((None,), ("true",))
def changes_come_from_the_server_itself(context, mirror):
    postgres, _, rig = begin(
        context, notify_server=f"127.0.0.1:{context.lab.postgres.port}", mirror=mirror
    )
    start = len(rig.log())
    rig.load()
    rig.wait_log("listening for changes", start)
    if mirror:
        rig.wait_log("mirrored 100 users", start)
    client, stays = rig.client("u1", "p", v5=True), rig.client("u2", "p")
    postgres.sql("DELETE FROM mqtt_user WHERE username = 'u1'")
    equal(client.wait_end(1), 0x87)
    stays.ping()
    equal([rig.code("u1", "p"), rig.code("u2", "p")], [4, 0])


@case()
def a_mirror_without_notifications_only_confirms(context):
    postgres, _, rig = begin(context, mirror="true", mirror_refresh="1s", settings="[auth]\nmemo_s = 0\n")
    said, _ = rig.ctl("plugins", "load", rig.plugin)
    holds(NO_NOTIFY in said, said)
    rig.wait_log("mirrored 100 users")
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('new', 'p')")
    equal([rig.code("u1", "p"), rig.code("new", "p"), rig.code("nobody", "p")], [0, 0, 4])
    postgres.sql("DELETE FROM mqtt_user WHERE username = 'u1'")
    rig.wait_code(4, "u1", "p", within=5)


@case()
def prepared_statements_are_told_to_be_too_much(context):
    _, _, rig = begin(context, prepared="true")
    said, status = rig.ctl("plugins", "load", rig.plugin)
    holds(status == 0 and "unsupported startup parameter" in said, said)
    holds("auth.pgsql.prepared = false" in said, said)
    equal(rig.code("u1", "p"), 3)
