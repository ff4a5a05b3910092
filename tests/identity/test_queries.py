"""What is put into queries, and what comes out of tables: names of all kinds, access rules."""

import threading

from postgres import quoted
from rig import QUERIES, Rig
from suite import case, equal, holds

ATTACKS = [
    "' or '1'='1",
    "' or 1=1 --",
    "'; drop table mqtt_user; --",
    "u' union select 'x' --",
    "\\'; select pg_sleep(5); --",
    "$1",
    "%u",
    "'%u'",
    "u\\",
    '"',
    "u/*",
    "ü'--",
]


@case((True,), (False,))
def names_are_never_part_of_the_statement(context, prepared):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    for attack in ATTACKS:
        postgres.sql(
            f"INSERT INTO mqtt_user (username, password) VALUES ({quoted(attack)}, 'of attacker')"
        )
    rig = Rig(
        context,
        prepared=str(prepared).lower(),
        notify=str(prepared).lower(),
        auth_query="select password from mqtt_user where username = '%u' and '%c' <> '%u' limit 1",
    ).load()
    for attack in ATTACKS:
        # Nobody comes in by a trick, and whoever is called so comes in.
        equal((attack, rig.code(attack, "p", client_id="c")), (attack, 4))
        equal((attack, rig.code("u", attack, client_id=attack)), (attack, 4))
        equal((attack, rig.code(attack, "of attacker", client_id="c")), (attack, 0))
        equal((attack, rig.code("u", "p", client_id=attack)), (attack, 0))
    equal(postgres.sql("SELECT count(*) FROM mqtt_user"), str(len(ATTACKS) + 1))


@case()
def long_names(context):
    postgres = context.lab.postgres
    postgres.sql("ALTER TABLE mqtt_user ALTER username TYPE text, ALTER password TYPE text")
    name, password = "n" * 10_000, "p" * 10_000
    postgres.sql(f"INSERT INTO mqtt_user (username, password) VALUES ('{name}', '{password}')")
    rig = Rig(context).load()
    equal([rig.code(name, password), rig.code(name, password[1:]), rig.code(name[1:], "p")], [0, 4, 4])
    # As long as MQTT can say.
    equal(rig.code("m" * 65_535, "p" * 65_535), 4)
    equal(rig.code(name, password), 0)


@case()
def long_client_ids(context):
    """Bound and matched as any other, where they are let through at all."""
    postgres = context.lab.postgres
    postgres.sql("ALTER TABLE mqtt_acl ALTER clientid TYPE text, ALTER topic TYPE text")
    name = "c" * 10_000
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    postgres.sql(
        "INSERT INTO mqtt_acl (allow, clientid, access, topic) "
        f"VALUES (1, '{name}', 2, 'by/%c'), (1, '{name[1:]}', 2, 'of/%c')"
    )
    rig = Rig(context, settings="[mqtt]\nclient_id_bytes_max = 10000\n").load()
    client = rig.client("u", "p", name, v5=True)
    equal([client.code, rig.code("u", "x", name), rig.code("u", "p", name + "c")], [0, 4, 2])
    equal([client.publish(f"by/{name}"), client.publish(f"of/{name}")], [0x10, 0x87])
    shorter = rig.client("u", "p", name[1:], v5=True)
    equal([shorter.publish(f"by/{name}"), shorter.publish(f"of/{name[1:]}")], [0x87, 0x10])
    # As it is delivered: refused for its length, and nobody is asked.
    postgres.log_statements()
    rig = Rig(context).load()
    rig.wait_log("listening for changes")
    before = postgres.statements()
    equal([rig.code("u", "p", name), rig.code("u", "p", name, v5=True)], [2, 0x85])
    equal(postgres.statements(), before)


@case()
def as_many_questions_at_once_as_threads(context):
    """The flag goes before the file, and says how many connections are ever in use."""
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    query = "select password from mqtt_user where username = '%u' and pg_sleep(1) is not null"
    settings = "[auth]\nthreads = 4\ndeadline_s = 30\n"
    flags = ["--auth-threads", "2"]
    rig = Rig(
        context, settings=settings, flags=flags, auth_query=query, super_query=None, acl_query=None
    ).load()
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    codes = []
    clients = [
        # Each has another password, or one question would be enough.
        threading.Thread(target=lambda i=i: codes.append(rig.code("u", "p" * i)))
        for i in range(1, 7)
    ]
    for client in clients:
        client.start()
    most = 0
    while any(client.is_alive() for client in clients):
        most = max(most, int(postgres.sql(asked)))
    equal((most, sorted(codes)), (2, [0, 4, 4, 4, 4, 4]))


@case()
def a_column_of_another_type_is_no_outage(context):
    postgres = context.lab.postgres
    postgres.sql("CREATE TABLE meters (serial bigint, secret text, address inet)")
    postgres.sql("INSERT INTO meters VALUES (7, 'p', '127.0.0.1'), (8, 'p', '10.0.0.1')")
    postgres.sql("GRANT SELECT ON meters TO mqtt")
    rig = Rig(
        context,
        auth_query="select secret from meters where serial = '%u' and address >>= '%a'",
        super_query=None,
        acl_query=None,
    ).load()
    equal([rig.code("7", "p"), rig.code("8", "p"), rig.code("seven", "p"), rig.code("7", "p")], [0, 4, 4, 0])


@case((True,), (False,))
def access_rules(context, mirrored):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('v', 'p')")
    postgres.sql("INSERT INTO mqtt_user VALUES (DEFAULT, true, 'root', 'p')")
    postgres.sql(
        """INSERT INTO mqtt_acl (allow, ipaddr, username, clientid, access, topic) VALUES
        (0, NULL, '$all', NULL, 3, 'secret/#'),
        (1, NULL, '$all', NULL, 1, 'eq #'),
        (0, NULL, '$all', NULL, 1, '$SYS/#'),
        (1, NULL, 'u', NULL, 3, 'of/%u/#'),
        (1, NULL, NULL, 'dev', 2, 'by/%c'),
        (1, '127.0.0.1', 'v', NULL, 2, 'here'),
        (1, '10.0.0.1', 'v', NULL, 2, 'there'),
        (1, NULL, 'u', 'dev', 2, 'both')"""
    )
    rig = Rig(context, mirror=str(mirrored).lower())
    start = len(rig.log())
    rig.load()
    if mirrored:
        rig.wait_log("mirrored 3 users", start)
    found = {}
    for user, client_id in (("u", "x"), ("u", "dev"), ("v", "x"), ("root", "x")):
        client = rig.client(user, "p", client_id, v5=True)
        equal(client.code, 0)
        topics = ["of/u/1", "of/v/1", "by/dev", "here", "there", "both", "secret/a", "free"]
        may = [topic for topic in topics if client.publish(topic) in (0, 0x10)]
        filters = ["of/u/+", "secret/a", "+/a", "#", "$SYS/a", "free"]
        may += [f"sub {name}" for name in filters if client.subscribe(name) < 3]
        found[user, client_id] = may
        client.close()
    every = ["of/u/1", "of/v/1", "by/dev", "here", "there", "both", "secret/a", "free"]
    every += ["sub of/u/+", "sub secret/a", "sub +/a", "sub #", "sub $SYS/a", "sub free"]
    equal(found["u", "x"], ["of/u/1", "sub of/u/+"])
    equal(found["u", "dev"], ["of/u/1", "by/dev", "both", "sub of/u/+"])
    equal(found["v", "x"], ["here"])
    equal(found["root", "x"], every)


@case()
def a_row_that_cannot_be_read_denies(context):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('v', 'p')")
    postgres.sql(
        """INSERT INTO mqtt_acl (allow, username, access, topic) VALUES
        (1, 'u', 3, '#'), (7, 'u', 3, 'a'), (1, 'v', 3, '#')"""
    )
    rig = Rig(context).load()
    equal([rig.client(user, "p", v5=True).publish("a") for user in "uv"], [0x87, 0x10])
    rig.wait_log(r"row 2: allow is `7`, not 1 or 0")


@case()
def without_rules_of_its_own(context):
    context.lab.postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    rig = Rig(context, acl_query=None, super_query=None).load()
    client = rig.client("u", "p", v5=True)
    equal([client.publish("a"), client.subscribe("#")], [0x10, 0])


@case()
def tls_to_the_server(context):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    rig = Rig(context, ssl="true", ssl_opts__cacertfile=postgres.ca).load()
    equal([rig.code("u", "p"), rig.code("u", "x")], [0, 4])
    used = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
    equal(postgres.sql(used + "WHERE application_name = 'ringmq'"), "t")
    believing = Rig(context, ssl="true", ssl_opts__verify="verify_none").load()
    equal(believing.code("u", "p"), 0)
    doubting = Rig(context, ssl="true")
    said, status = doubting.ctl("plugins", "load", doubting.plugin)
    holds(status == 0 and "certificate" in said, said)
    equal(doubting.code("u", "p"), 3)


@case()
def a_certificate_for_the_server(context):
    """One that it demands, beside the password: no other's, and not none."""
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")

    def rig(name):
        shown = name and {
            "ssl_opts__certfile": f"{postgres.data}/{name}.crt",
            "ssl_opts__keyfile": f"{postgres.data}/{name}.key",
        }
        keys = {"ssl": "true", "ssl_opts__cacertfile": postgres.ca, "username": "certified"}
        return Rig(context, **keys, **(shown or {}))

    known = rig("certified").load()
    equal([known.code("u", "p"), known.code("u", "x")], [0, 4])
    used = "SELECT DISTINCT client_dn FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
    equal(postgres.sql(used + "WHERE application_name = 'ringmq'"), "/CN=certified")
    for name, why in [("another", "authentication failed"), (None, "valid client certificate")]:
        other = rig(name)
        said, status = other.ctl("plugins", "load", other.plugin)
        holds(status == 0 and why in said, said)
        equal(other.code("u", "p"), 3)
        holds(name is None or "CN mismatch" in postgres.log(), postgres.log())
    half = rig("certified")
    half.rewrite(ssl_opts__keyfile=None)
    said, status = half.ctl("plugins", "load", half.plugin)
    holds(status == 1 and "ssl_opts.certfile and ssl_opts.keyfile go together" in said, said)


@case((True, "t"), (False, "f"))
def statements_are_prepared_but_not_behind_a_pooler(context, prepared, wanted):
    # Whatever is prepared is seen by the connection that has prepared it, and by nobody else: so
    # the password tells.
    query = "select (select count(*) > 0 from pg_prepared_statements)::text || password "
    query += "from mqtt_user where username = '%u'"
    context.lab.postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'secret')")
    without = {key: None for key in QUERIES if key != "auth_query"}
    word = str(prepared).lower()
    rig = Rig(context, prepared=word, notify=word, auth_query=query, **without).load()
    passwords = {"t": "truesecret", "f": "falsesecret"}
    equal(rig.code("u", passwords[wanted]), 0)
