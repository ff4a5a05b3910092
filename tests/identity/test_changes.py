"""Rows that change: clients are off, or have other rights, within a second."""

import os
import time

import bcrypt
from postgres import ROOT, quoted
from rig import Rig
from suite import case, equal, holds

AT_ONCE_S = 1


def begin(context, **keys):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('v', 'p')")
    postgres.sql("INSERT INTO mqtt_acl (allow, username, access, topic) VALUES (1, '$all', 3, '#')")
    rig = Rig(context, **keys)
    start = len(rig.log())
    rig.load()
    rig.wait_log("listening for changes", start)
    if keys.get("mirror"):
        rig.wait_log("mirrored 2 users", start)
    return postgres, rig


def seconds(began):
    return time.monotonic() - began


def until(check, what):
    """Waits until something holds; at most a second."""
    began = time.monotonic()
    while not check():
        holds(seconds(began) < AT_ONCE_S, f"{what}: not within {AT_ONCE_S} s")
        time.sleep(0.01)


@case((None,), ("true",))
def a_user_is_deleted(context, mirror):
    postgres, rig = begin(context, mirror=mirror)
    gone, old, stays = rig.client("u", "p", v5=True), rig.client("u", "p"), rig.client("v", "p")
    began = time.monotonic()
    postgres.sql("DELETE FROM mqtt_user WHERE username = 'u'")
    equal(gone.wait_end(AT_ONCE_S), 0x87)
    old.wait_end(AT_ONCE_S)
    holds(seconds(began) < AT_ONCE_S, seconds(began))
    stays.ping()
    equal([rig.code("u", "p"), rig.code("v", "p")], [4, 0])
    rig.wait_log(r'changed: other password or gone: "u"')


@case((None,), ("true",))
def a_password_is_changed(context, mirror):
    postgres, rig = begin(context, mirror=mirror)
    client, stays = rig.client("u", "p"), rig.client("v", "p")
    equal([rig.code("u", "p"), rig.code("u", "q")], [0, 4])
    postgres.sql("UPDATE mqtt_user SET password = 'q' WHERE username = 'u'")
    client.wait_end(AT_ONCE_S)
    until(lambda: rig.code("u", "q") == 0, "the new password")
    equal(rig.code("u", "p"), 4)
    stays.ping()


@case((None,), ("true",))
def more_passwords_are_changed_than_anybody_would_name(context, mirror):
    """The trigger says no more than that; whoever is in is known by what it was let in by."""
    postgres, rig = begin(context, mirror=mirror)
    postgres.sql(
        "INSERT INTO mqtt_user (username, password) SELECT 'n' || i, 'p' FROM generate_series(1, 3000) i"
    )
    until(lambda: rig.code("n3000", "p") == 0, "one of many new users")
    gone, old, stays = rig.client("u", "p", v5=True), rig.client("n3000", "p"), rig.client("v", "p")
    start = len(rig.log())
    postgres.sql(
        "UPDATE mqtt_user SET password = CASE username WHEN 'v' THEN 'p' ELSE 'q' END;"
        "INSERT INTO mqtt_user (username, password) VALUES ('last', 'p')"
    )
    equal(gone.wait_end(AT_ONCE_S), 0x87)
    old.wait_end(AT_ONCE_S)
    rig.wait_log("changed: all users", start)
    until(lambda: rig.code("last", "p") == 0, "what came after it")
    stays.ping()
    equal([rig.code("u", "p"), rig.code("u", "q"), rig.code("v", "p")], [4, 0, 0])


@case((None,), ("true",))
def a_rule_is_changed(context, mirror):
    postgres, rig = begin(context, mirror=mirror)
    client = rig.client("u", "p", v5=True)
    equal(client.publish("a"), 0x10)
    postgres.sql("UPDATE mqtt_acl SET allow = 0")
    until(lambda: client.publish("a") == 0x87, "the rule for everybody")
    postgres.sql("INSERT INTO mqtt_acl VALUES (0, 1, NULL, 'u', NULL, 2, 'a')")
    until(lambda: client.publish("a") == 0x10, "the rule for one user")
    equal(client.publish("b"), 0x87)
    postgres.sql("DELETE FROM mqtt_acl WHERE id = 0")
    until(lambda: client.publish("a") == 0x87, "the rule that was deleted")
    postgres.sql("INSERT INTO mqtt_acl VALUES (0, 1, '127.0.0.1', NULL, NULL, 2, 'a')")
    until(lambda: client.publish("a") == 0x10, "the rule for an address")
    # Nobody was cut for it.
    client.ping()


@case((None,), ("true",))
def what_waits_for_a_client_when_its_rules_change(context, mirror):
    """It was away, and what it may not have any more it does not get when it comes back."""
    postgres, rig = begin(context, mirror=mirror)
    away = rig.client("u", "p", "away", stays=True)
    equal([away.subscribe("s/#", 1), away.subscribe("t", 1)], [1, 1])
    away.disconnect()
    writer, witness = rig.client("v", "p", v5=True), rig.client("u", "p", v5=True)
    equal([writer.publish(topic) for topic in ("s/1", "t", "s/2")], [0, 0, 0])
    postgres.sql(
        "INSERT INTO mqtt_acl (id, allow, username, access, topic)"
        "VALUES (-1, 0, 'u', 1, 's/#'), (-2, 0, 'u', 2, 'w')"
    )
    until(lambda: witness.publish("w") == 0x87, "the rules")
    back = rig.client("u", "p", "away", stays=True)
    equal([writer.publish(topic) for topic in ("s/3", "t")], [0x10, 0])
    equal([back.wait_message()[0], back.wait_message()[0]], ["t", "t"])
    dropped = rig.status()["node"]["ledger"]["dropped"]
    holds({"reason": "denied", "count": 2} in dropped, dropped)


@case((None,), ("true",))
def a_superuser_is_made_and_unmade(context, mirror):
    postgres, rig = begin(context, mirror=mirror)
    postgres.sql("UPDATE mqtt_acl SET allow = 0")
    client = rig.client("u", "p", v5=True)
    # With a mirror, the rule acts when the mirror has heard of it.
    until(lambda: client.publish("a") == 0x87, "the rule")
    postgres.sql("UPDATE mqtt_user SET is_superuser = true WHERE username = 'u'")
    until(lambda: client.publish("a") == 0x10, "the superuser")
    postgres.sql("UPDATE mqtt_user SET is_superuser = false WHERE username = 'u'")
    until(lambda: client.publish("a") == 0x87, "no superuser")
    client.ping()


@case((None,), ("true",))
def a_user_is_new(context, mirror):
    postgres, rig = begin(context, mirror=mirror)
    equal(rig.code("w", "p"), 4)
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('w', 'p')")
    until(lambda: rig.code("w", "p") == 0, "the new user")
    postgres.sql(
        "INSERT INTO mqtt_user (username, password) SELECT 'n' || i, 'p' FROM generate_series(1, 3000) i"
    )
    until(lambda: rig.code("n2999", "p") == 0, "one of many new users")
    postgres.sql("TRUNCATE mqtt_user")
    until(lambda: rig.code("n2999", "p") == 4, "nobody")


@case()
def what_changed_while_nobody_listened(context):
    postgres, rig = begin(context)
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('w', 'p')")
    until(lambda: rig.code("w", "p") == 0, "the new user")
    client, other, stays = rig.client("u", "p"), rig.client("w", "p"), rig.client("v", "p")
    start = len(rig.log())
    # The connection that listens is cut, as all are, and the row is gone before there is another one.
    postgres.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mqtt';"
        "ALTER TABLE mqtt_user DISABLE TRIGGER USER; DELETE FROM mqtt_user WHERE username = 'u';"
        "UPDATE mqtt_user SET password = 'q' WHERE username = 'w';"
        "ALTER TABLE mqtt_user ENABLE TRIGGER USER"
    )
    rig.wait_log("listening for changes", start)
    client.wait_end()
    other.wait_end()
    stays.ping()
    equal([rig.code("u", "p"), rig.code("v", "p"), rig.code("w", "p")], [4, 0, 4])


# A hash of the least cost that bcrypt has counts as much as any other.
COST = 4


def slow_user(postgres, name, password):
    stored = bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()
    postgres.sql(
        f"DELETE FROM mqtt_user WHERE username = '{name}';"
        f"INSERT INTO mqtt_user (username, password) VALUES ('{name}', {quoted(stored)})"
    )


class Cost:
    """What the broker and the database do for clients."""

    def __init__(self, rig, postgres):
        self.rig, self.postgres = rig, postgres

    def of(self, *client):
        """The code of a client, and the hashes and statements that it took."""
        statements, hashed = self.postgres.statements(), self.hashed()
        code = self.rig.code(*client)
        return code, self.hashed() - hashed, self.postgres.statements() - statements

    def hashed(self):
        return self.rig.status()["node"]["identity"]["hashed"]


def cut_and_wait(postgres, rig, meanwhile="SELECT 1"):
    """The connection that listens is lost; what changes before there is another, nobody tells."""
    start = len(rig.log())
    postgres.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mqtt';"
        f"ALTER TABLE mqtt_user DISABLE TRIGGER USER; {meanwhile};"
        "ALTER TABLE mqtt_user ENABLE TRIGGER USER"
    )
    rig.wait_log("listening for changes; some may have been missed", start)


@case()
def what_is_remembered_is_doubted_and_not_hashed_again(context):
    """A lost connection costs a query each, no hash; and a password that changed is noticed."""
    postgres = context.lab.postgres
    for name in ("u", "v"):
        slow_user(postgres, name, "p")
    postgres.log_statements()
    rig = Rig(context, password_hash="bcrypt", keepalive="60s").load()
    rig.wait_log("listening for changes")
    cost = Cost(rig, postgres)
    code, hashed, statements = cost.of("u", "p", "u")
    holds((code, hashed) == (0, 1) and statements >= 1, (code, hashed, statements))
    equal([rig.code("v", "p", "v"), cost.of("u", "p", "u")], [0, (0, 0, 0)])
    stored = bcrypt.hashpw(b"q", bcrypt.gensalt(COST)).decode()
    cut_and_wait(
        postgres, rig, f"UPDATE mqtt_user SET password = {quoted(stored)} WHERE username = 'v'"
    )
    code, hashed, statements = cost.of("u", "p", "u")
    holds((code, hashed) == (0, 0) and statements >= 1, (code, hashed, statements))
    equal(cost.of("u", "p", "u"), (0, 0, 0))
    # The old password is hashed, since what is stored is another, and is wrong.
    code, hashed, statements = cost.of("v", "p", "v")
    holds((code, hashed) == (4, 1) and statements >= 1, (code, hashed, statements))
    equal([rig.code("v", "q", "v"), rig.code("u", "wrong", "u")], [0, 4])


@case()
def what_is_doubted_stands_in_for_a_database_that_is_away(context):
    postgres, rig = begin(context)
    equal([rig.code("u", "p", "u"), rig.code("v", "p", "v")], [0, 0])
    cut_and_wait(postgres, rig, "UPDATE mqtt_user SET password = 'q' WHERE username = 'v'")
    # Asked now, it is wrong, and is so when nobody can be asked.
    equal(rig.code("v", "p", "v"), 4)
    postgres.kill()
    equal([rig.code("u", "p", "u"), rig.code("v", "p", "v"), rig.code("u", "wrong", "u")], [0, 3, 3])
    postgres.start()
    rig.wait_code(0, "v", "q", within=8)


@case()
def what_is_heard_of_is_remembered_beyond_its_time(context):
    postgres = context.lab.postgres
    slow_user(postgres, "u", "p")
    postgres.log_statements()
    settings = "[auth]\nmemo_s = 1\n"
    rig = Rig(context, password_hash="bcrypt", keepalive="60s", settings=settings).load()
    rig.wait_log("listening for changes")
    equal(rig.code("u", "p", "u"), 0)
    time.sleep(2.5)
    cost = Cost(rig, postgres)
    equal(cost.of("u", "p", "u"), (0, 0, 0))
    slow_user(postgres, "u", "q")
    until(lambda: rig.code("u", "q", "u") == 0, "the new password")
    equal(rig.code("u", "p", "u"), 4)


@case()
def what_no_trigger_tells_of_is_asked_for_again(context):
    """The query reads a table without triggers, beside those that have them."""
    postgres = context.lab.postgres
    slow_user(postgres, "u", "p")
    postgres.sql("CREATE TABLE tenants AS SELECT 'u' AS username, true AS pays")
    postgres.sql("GRANT ALL ON tenants TO mqtt; CREATE VIEW paying AS SELECT * FROM tenants WHERE pays")
    postgres.sql("GRANT ALL ON paying TO mqtt")
    postgres.log_statements()
    query = "select password from mqtt_user join paying using (username) where username = '%u'"
    settings = "[auth]\nmemo_s = 1\n"
    rig = Rig(
        context, password_hash="bcrypt", auth_query=query, keepalive="60s", settings=settings
    ).load()
    rig.wait_log("auth_query reads public.tenants, of which no trigger tells")
    equal(rig.code("u", "p", "u"), 0)
    time.sleep(1.5)
    # A query, and no hash.
    code, hashed, statements = Cost(rig, postgres).of("u", "p", "u")
    holds(code == 0 and not hashed and statements >= 1, (code, hashed, statements))
    postgres.sql("UPDATE tenants SET pays = false")
    rig.wait_code(4, "u", "p", "u", within=3)


# Of `is_paying(name)`: what is made of it, how a query has that, and how the log names it.
DISGUISES = {
    "function": ("", "is_paying(username)", r"auth_query calls is_paying\(\)"),
    "operator": (
        """CREATE FUNCTION pays(n text, b bool) RETURNS bool LANGUAGE plpgsql STABLE
        AS $$BEGIN RETURN is_paying(n) = b; END$$;
        CREATE OPERATOR ==> (LEFTARG = text, RIGHTARG = bool, PROCEDURE = pays)""",
        "username ==> true",
        "auth_query has the operator ==>",
    ),
    "cast": (
        """CREATE TYPE payer AS ENUM ('yes', 'no');
        CREATE FUNCTION to_payer(n text) RETURNS payer LANGUAGE plpgsql STABLE
        AS $$BEGIN IF is_paying(n) THEN RETURN 'yes'::payer; END IF; RETURN 'no'::payer; END$$;
        CREATE CAST (text AS payer) WITH FUNCTION to_payer(text)""",
        "username::text::payer = 'yes'",
        "what is cast to payer goes through a function",
    ),
}


@case(("function",), ("operator",), ("cast",))
def what_a_function_reads_is_asked_for_again(context, disguise):
    """A plan does not tell what a function reads that stands in a query, under whichever name."""
    made, condition, told = DISGUISES[disguise]
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    postgres.sql("CREATE TABLE tenants AS SELECT 'u' AS username, true AS pays")
    postgres.sql("GRANT ALL ON tenants TO mqtt")
    body = "DECLARE p bool; BEGIN SELECT t.pays INTO p FROM tenants t WHERE username = n; RETURN p; END"
    postgres.sql(
        f"CREATE FUNCTION is_paying(n text) RETURNS bool LANGUAGE plpgsql STABLE AS $${body}$$"
    )
    postgres.sql(made)
    query = f"select password from mqtt_user where username = '%u' and {condition}"
    settings = "[auth]\nmemo_s = 1\n"
    rig = Rig(context, auth_query=query, keepalive="60s", settings=settings).load()
    rig.wait_log(f"{told}, of which no trigger tells")
    equal(rig.code("u", "p", "u"), 0)
    postgres.sql("UPDATE tenants SET pays = false")
    rig.wait_code(4, "u", "p", "u", within=3)


@case()
def without_triggers_the_time_to_live_does_it(context):
    postgres = context.lab.postgres
    postgres.reset()
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    rig = Rig(context, settings="[auth]\nmemo_s = 1\n").load()
    rig.wait_log("no triggers")
    forgotten_in_time(postgres, rig)


@case()
def without_listening_the_time_to_live_does_it(context):
    postgres = context.lab.postgres
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    rig = Rig(context, notify="false", settings="[auth]\nmemo_s = 1\n").load()
    forgotten_in_time(postgres, rig)


def forgotten_in_time(postgres, rig):
    """Who comes and who is in, within a second or two of memo_s."""
    postgres.sql("INSERT INTO mqtt_acl (allow, username, access, topic) VALUES (1, 'u', 3, 'a')")
    client = rig.client("u", "p", "in", v5=True)
    equal([rig.code("u", "p", "c"), client.publish("a")], [0, 0x10])
    postgres.sql("UPDATE mqtt_acl SET allow = 0")
    began = time.monotonic()
    while client.publish("a") != 0x87:
        holds(seconds(began) < 4, "the old rule")
        time.sleep(0.05)
    postgres.sql("UPDATE mqtt_user SET password = 'q'")
    client.wait_end(4)
    client = rig.client("u", "q", "in", v5=True)
    postgres.sql("DELETE FROM mqtt_user")
    client.wait_end(4)
    rig.wait_code(4, "u", "p", "c", within=3)


@case()
def a_change_is_not_forgotten_while_nobody_can_say(context):
    """A rule changes, and when clients are looked at again the table is away."""
    postgres, rig = begin(context)
    client = rig.client("u", "p", v5=True)
    equal(client.publish("a"), 0x10)
    change = "UPDATE mqtt_acl SET allow = 0; ALTER TABLE mqtt_acl RENAME TO elsewhere;"
    postgres.sql(f"BEGIN; {change} COMMIT")
    rig.wait_log("mqtt_acl.* does not exist")
    # It stays, with what was known of it.
    equal(client.publish("a"), 0x10)
    postgres.sql("ALTER TABLE elsewhere RENAME TO mqtt_acl")
    deadline = time.monotonic() + 6
    while client.publish("a") != 0x87:
        holds(time.monotonic() < deadline, "the rule that changed")
        time.sleep(0.05)


@case()
def triggers_are_made_and_dropped(context):
    """What the mirror takes for the database's word depends on them."""
    postgres = context.lab.postgres
    postgres.reset()
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    rig = Rig(context, mirror="true", keepalive="1s", settings="[auth]\nmemo_s = 0\n").load()
    rig.wait_log("no triggers")
    start = len(rig.log())
    with open(os.path.join(ROOT, "etc/sql/pgsql_notify.sql")) as file:
        postgres.sql(file.read(), user="mqtt")
    rig.wait_log("listening for changes", start)
    start = len(rig.log())
    postgres.sql("ALTER TABLE mqtt_user DISABLE TRIGGER USER")
    rig.wait_log("no triggers", start)
    # From here on nobody tells of a new user, and it is asked for.
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('v', 'p')")
    equal([rig.code("u", "p"), rig.code("v", "p")], [0, 0])
