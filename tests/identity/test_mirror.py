"""The users in memory: who connects costs no query, and an outage goes unnoticed."""

from rig import Rig
from suite import case, equal, holds


def begin(context, **keys):
    postgres = context.lab.postgres
    postgres.sql(
        "INSERT INTO mqtt_user (username, password, salt) "
        "SELECT 'u' || i, encode(sha256(('salt' || i || 'p' || i)::bytea), 'hex'), 'salt' || i "
        "FROM generate_series(1, 5000) i"
    )
    postgres.sql("INSERT INTO mqtt_acl (allow, username, access, topic) VALUES (1, 'u7', 3, 'a/#')")
    rig = Rig(context, mirror="true", password_hash="salt,sha256", **keys)
    start = len(rig.log())
    rig.load()
    rig.wait_log("mirrored 5000 users in [0-9]+ bytes, and 1 rules", start)
    return postgres, rig


def asked(rig):
    """How often the database was asked for a client, as the list of plug-ins says."""
    listed, _ = rig.ctl("plugins", "list")
    line = next(line for line in listed.splitlines() if "emq_auth_pgsql" in line)
    return int(line.split(" queries")[0].rsplit(" ", 1)[1])


@case()
def nobody_costs_a_query(context):
    _, rig = begin(context)
    before = asked(rig)
    equal([rig.code(f"u{i}", f"p{i}") for i in (1, 7, 5000)], [0, 0, 0])
    equal([rig.code("u1", "p2"), rig.code("nobody", "p"), rig.code("u1")], [4, 4, 4])
    equal(asked(rig), before)
    client = rig.client("u7", "p7", v5=True)
    equal([client.publish("a/b"), client.publish("b")], [0x10, 0x87])
    listed, _ = rig.ctl("plugins", "list")
    holds("mirror live: 5000 users in " in listed and ", 1 rules" in listed, listed)


@case(("kill",), ("pause",))
def an_outage_goes_unnoticed(context, how):
    postgres, rig = begin(context, keepalive="1s")
    getattr(postgres, how)()
    if how == "pause":
        context.callback(postgres.resume)
    for _ in range(3):
        equal([rig.code(f"u{i}", f"p{i}") for i in (1, 7, 5000)], [0, 0, 0])
    # Whether this is right only the database knows, and it cannot be asked.
    rig.wait_code(3, "u1", "wrong", within=10)
    equal(rig.code("nobody", "p"), 3)
    if how == "pause":
        postgres.resume()
    else:
        postgres.start()
    rig.wait_code(4, "u1", "wrong", within=10)


@case()
def without_triggers_it_is_read_again(context):
    postgres = context.lab.postgres
    postgres.reset()
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('v', 'p')")
    rig = Rig(context, mirror="true", mirror_refresh="1s", settings="[auth]\nmemo_s = 0\n")
    rig.load()
    rig.wait_log("mirrored 2 users")
    equal([rig.code("u", "p"), rig.code("nobody", "p")], [0, 4])
    # New users and passwords are asked for at once, what is gone goes with the next reading.
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('w', 'p')")
    postgres.sql("UPDATE mqtt_user SET password = 'q' WHERE username = 'u'")
    equal([rig.code("w", "p"), rig.code("u", "q")], [0, 0])
    postgres.sql("DELETE FROM mqtt_user WHERE username = 'v'")
    rig.wait_code(4, "v", "p", within=5)


@case()
def a_table_that_nobody_tells_of_is_read_anew(context):
    """Both tables have their triggers, and the mirror looks at a third one."""
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('v', 'p')")
    postgres.sql("CREATE TABLE tenants AS SELECT username, true AS pays FROM mqtt_user")
    postgres.sql("GRANT ALL ON tenants TO mqtt")
    paying = "from mqtt_user join tenants using (username) where pays"
    rig = Rig(
        context,
        mirror="true",
        mirror_refresh="1s",
        auth_query=f"select password, salt {paying} and username = '%u'",
        mirror_query=f"select username, password, salt, is_superuser {paying}",
        settings="[auth]\nmemo_s = 1\n",
    ).load()
    rig.wait_log("reads public.tenants, of which no trigger tells")
    rig.wait_log("mirrored 2 users")
    client = rig.client("u", "p")
    equal([client.code, rig.code("v", "p")], [0, 0])
    postgres.sql("UPDATE tenants SET pays = false WHERE username = 'u'")
    client.wait_end(5)
    rig.wait_code(4, "u", "p", within=5)
    equal(rig.code("v", "p"), 0)
