"""A database that is away, slow, full or changed: what a client hears, what the log says, and that
it comes back by itself. Never "bad password", never a way in, never a client that waits for ever."""

import threading
import time

from rig import Rig
from suite import case, equal, holds

UNAVAILABLE = 3
# A dead server is noticed, and found again, within seconds.
NOTICED_S = 8
RECOVERED_S = 8
# More than a listener may accept at once, whatever its rate: 16.
CROWD = 40


def users(context):
    context.lab.postgres.sql(
        "INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('live', 'p'), ('known', 'p')"
    )


def begin(context, more="", **keys):
    """A broker with a client that is connected and one that was; `more` of its settings."""
    users(context)
    rig = Rig(context, settings=f"[auth]\nallow_anonymous = true\n{more}", **keys).load()
    live = rig.client("live", "p", "live", v5=True)
    equal([live.code, rig.code("known", "p", "known")], [0, 0])
    return rig, live


def through(rig, live, start):
    """What holds while the database does not answer."""
    took, others = rig.wait_code(UNAVAILABLE, "u", "p", within=NOTICED_S)
    holds(others <= {0}, others)
    # All are told the same at once, right or wrong; the unknown do not come in.
    for _ in range(5):
        client = rig.client("u", "wrong")
        equal(client.code, UNAVAILABLE)
        equal([rig.code("nobody", "p"), rig.code("u", "p", v5=True)], [UNAVAILABLE, 0x88])
    # Who was let in stays, and whose password is remembered comes again.
    live.ping()
    equal(live.publish("a"), 0x87)
    equal(rig.code("known", "p", "known"), 0)
    rig.wait_log("no answers: ", start)
    said, _ = rig.ctl("plugins", "list")
    holds("; no answers for " in said, said)
    return took


def back(rig, live):
    took, others = rig.wait_code(0, "u", "p", within=RECOVERED_S)
    holds(others <= {UNAVAILABLE}, others)
    rig.wait_log("answers again, after")
    equal([rig.code("u", "wrong"), rig.code("nobody", "p")], [4, 4])
    live.ping()
    return took


def told(noticed, found):
    print(f"       noticed within {noticed:.1f} s, found again within {found:.1f} s", flush=True)


@case(("stop",), ("kill",))
def the_server_ends(context, how):
    postgres = context.lab.postgres
    rig, live = begin(context)
    start = len(rig.log())
    getattr(postgres, how)()
    noticed = through(rig, live, start)
    postgres.start()
    told(noticed, back(rig, live))


@case(("in the clear",), ("under TLS",))
def the_server_hangs(context, how):
    """Its kernel goes on to accept connections and to acknowledge, so only our own clock tells."""
    postgres = context.lab.postgres
    tls = {"ssl": "true", "ssl_opts__cacertfile": postgres.ca} if how == "under TLS" else {}
    rig, live = begin(context, **tls)
    start = len(rig.log())
    postgres.pause()
    context.callback(postgres.resume)
    noticed = through(rig, live, start)
    # Long enough for attempts to log in that hang as well.
    rig.wait_log("no answer to a log-in within", start)
    postgres.resume()
    told(noticed, back(rig, live))


def paused(rig):
    """How often a shard has let newcomers wait because nobody could be decided about."""
    counts = rig.status()["node"]["refusals"]
    return sum(count["count"] for count in counts if count["reason"] == "connect_rate_strained")


@case()
def accepts_are_paced_while_nobody_can_say(context):
    """They wait in the kernel's queue, and are told in their turn."""
    postgres = context.lab.postgres
    rig, live = begin(context, more="strained_connect_rate = 20\n", shards=1)

    def crowd(name):
        codes = []
        clients = [
            threading.Thread(target=lambda i=i: codes.append(rig.code(name, "p", f"{name}{i}")))
            for i in range(CROWD)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return codes

    equal((crowd("u"), paused(rig)), ([0] * CROWD, 0))
    postgres.kill()
    rig.wait_code(UNAVAILABLE, "nobody", "p", within=NOTICED_S)
    before = paused(rig)
    equal(crowd("nobody"), [UNAVAILABLE] * CROWD)
    holds(paused(rig) > before, before)
    live.ping()
    postgres.start()
    back(rig, live)
    before = paused(rig)
    equal((crowd("u"), paused(rig)), ([0] * CROWD, before))


@case()
def the_server_is_restarted_unnoticed(context):
    postgres = context.lab.postgres
    rig, live = begin(context)
    postgres.stop()
    postgres.start()
    # Every connection that the pool holds is dead by now.
    equal([rig.code("u", "p") for _ in range(3)], [0, 0, 0])
    live.ping()


@case()
def queries_are_slow(context):
    postgres = context.lab.postgres
    postgres.sql("CREATE TABLE delay AS SELECT 0.0::float AS seconds; GRANT ALL ON delay TO mqtt")
    query = "select password from mqtt_user, delay where username = '%u'"
    query += " and pg_sleep(seconds) is not null"
    rig, live = begin(context, query_timeout="1s", auth_query=query, acl_query=None)
    postgres.sql("UPDATE delay SET seconds = 20")
    client = rig.client("u", "p")
    holds(client.code == UNAVAILABLE and client.took < 5, (client.code, client.took))
    rig.wait_log("57014")
    # Many at once: all are told in time.
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(rig.code("u", "p"))) for _ in range(20)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holds(set(codes) == {UNAVAILABLE} and time.monotonic() - began < 20, codes)
    live.ping()
    postgres.sql("UPDATE delay SET seconds = 0")
    told(client.took, rig.wait_code(0, "u", "p", within=RECOVERED_S)[0])


@case()
def no_connection_is_left(context):
    postgres = context.lab.postgres
    users(context)
    postgres.sql("ALTER ROLE mqtt CONNECTION LIMIT 0")
    rig = Rig(context)
    said, status = rig.ctl("plugins", "load", rig.plugin)
    holds(status == 0 and "too many connections" in said, said)
    equal(rig.code("u", "p"), UNAVAILABLE)
    rig.wait_log(r"no answers: too many connections for role \"mqtt\" \(53300\)")
    # A few are enough.
    postgres.sql("ALTER ROLE mqtt CONNECTION LIMIT 2")
    told(0, rig.wait_code(0, "u", "p", within=RECOVERED_S)[0])
    equal([rig.code("u", "wrong"), rig.code("u", "p")], [4, 0])


@case()
def our_own_password_was_changed(context):
    postgres = context.lab.postgres
    rig, live = begin(context)
    start = len(rig.log())
    postgres.sql("ALTER ROLE mqtt PASSWORD 'other'")
    # Connections that are open go on.
    equal(rig.code("u", "p"), 0)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mqtt'"
    # One that was being made meanwhile may have come in with the old password.
    codes = [(postgres.sql(cut), rig.code("u", "p"))[1] for _ in range(10)]
    equal(codes[-1], UNAVAILABLE)
    rig.wait_log(r"password authentication failed for user \"mqtt\" \(28P01\)", start)
    live.ping()
    postgres.sql("ALTER ROLE mqtt PASSWORD 'public'")
    told(0, rig.wait_code(0, "u", "p", within=RECOVERED_S)[0])


@case(("mqtt_user",), ("mqtt_acl",))
def a_table_is_missing(context, table):
    postgres = context.lab.postgres
    rig, live = begin(context)
    postgres.sql(f"ALTER TABLE {table} RENAME TO elsewhere")
    equal(rig.code("u", "p"), UNAVAILABLE)
    rig.wait_log(rf'relation "{table}" does not exist \(42P01\)')
    live.ping()
    equal(rig.code("known", "p", "known"), 0)
    postgres.sql(f"ALTER TABLE elsewhere RENAME TO {table}")
    told(0, rig.wait_code(0, "u", "p", within=RECOVERED_S)[0])


@case()
def a_table_gets_another_shape(context):
    postgres = context.lab.postgres
    rig, _ = begin(context)
    postgres.sql("ALTER TABLE mqtt_user ALTER password TYPE text, ADD more integer")
    rig.wait_code(0, "u", "p", within=RECOVERED_S)


@case()
def it_starts_without_its_server(context):
    postgres = context.lab.postgres
    users(context)
    rig = Rig(context).load()
    rig.stop()
    postgres.stop()
    rig.start()
    equal(rig.code("u", "p"), UNAVAILABLE)
    postgres.start()
    rig.wait_code(0, "u", "p", within=RECOVERED_S)


@case()
def it_does_not_start_without_its_file(context):
    users(context)
    rig = Rig(context).load()
    rig.stop()
    rig.write("auth_pgsql.conf", "pgsql", nonsense="x")
    try:
        rig.start()
    except RuntimeError as told:
        holds("unknown key `auth.pgsql.nonsense`" in str(told), told)
    else:
        raise AssertionError("it started, and lets in whom the plug-in keeps out")
