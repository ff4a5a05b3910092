"""Files that change under a running broker: those of plug-ins, and the one with users."""

import os
import signal

import bcrypt
from rig import Rig
from suite import case, equal, holds
from test_hashes import VECTORS

OTHER_TABLE = "select secret from other_user where name = '%u' limit 1"


def tables(postgres):
    postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    postgres.sql("CREATE TABLE other_user (name text, secret text); GRANT SELECT ON other_user TO mqtt")
    postgres.sql("INSERT INTO other_user VALUES ('u', 'other'), ('v', 'p')")


def reload(rig, how):
    """Has the broker read its files again, and waits until it has."""
    start = len(rig.log())
    if how == "SIGHUP":
        rig.process.send_signal(signal.SIGHUP)
        rig.wait_log("eload|read again", start)
    else:
        said, status = rig.ctl("reload")
        equal((status, "rror" in said), (0, False))
    return start


@case(("SIGHUP",), ("ctl",))
def a_plug_in_begins_anew(context, how):
    postgres = context.lab.postgres
    tables(postgres)
    rig = Rig(context).load()
    live = rig.client("u", "p", "live")
    equal([rig.code("u", "p"), rig.code("u", "other"), rig.code("v", "p")], [0, 4, 4])
    rig.rewrite(auth_query=OTHER_TABLE)
    start = reload(rig, how)
    rig.wait_log("plug-in emq_auth_pgsql read again", start)
    # What was remembered of the old table is forgotten.
    equal([rig.code("u", "p"), rig.code("u", "other"), rig.code("v", "p")], [4, 0, 0])
    live.ping()
    # A file that has not changed is left alone, with its connections.
    start = reload(rig, "ctl")
    holds("read again" not in rig.log()[start:], rig.log()[start:])


@case(("SIGHUP",), ("ctl",))
def mistakes_change_nothing(context, how):
    postgres = context.lab.postgres
    tables(postgres)
    rig = Rig(context).load()
    rig.rewrite(auth_query=OTHER_TABLE, pool="many")
    start = len(rig.log())
    mistake = "auth.pgsql.pool: `many` is not a whole number"
    if how == "SIGHUP":
        rig.process.send_signal(signal.SIGHUP)
        rig.wait_log(mistake, start)
    else:
        said, status = rig.ctl("reload")
        holds(status == 1 and mistake in said, said)
    equal([rig.code("u", "p"), rig.code("u", "other")], [0, 4])


@case()
def users_of_a_file(context):
    """Hashes that other tools made, right and wrong passwords, and a file that changes."""
    hashed = [vector for vector in VECTORS if vector["form"] in ("bcrypt", "argon2")]
    settings = '[auth]\nusers_file = "etc/users"\nallow_anonymous = "false"\n'
    rig = Rig(context, settings=settings, start=False)
    path = os.path.join(rig.folder, "etc/users")
    with open(path, "w") as file:
        file.writelines(f"u{i}:{vector['stored']}\n" for i, vector in enumerate(hashed))
    rig.start()
    for i, vector in enumerate(hashed):
        password = vector["password"]
        codes = [rig.code(f"u{i}", shown) for shown in (password, password + "x", "", None)]
        equal((vector["stored"], codes), (vector["stored"], [0, 4, 4, 4]))
    equal([rig.code("nobody", "public"), rig.code()], [4, 4])
    live = rig.client("u0", hashed[0]["password"])
    with open(path, "w") as file:
        file.write(f"u1:{bcrypt.hashpw(b'new', bcrypt.gensalt(4)).decode()}\n")
    reload(rig, "ctl")
    equal([rig.code("u0", hashed[0]["password"]), rig.code("u1", "new")], [4, 0])
    equal(rig.code("u1", hashed[1]["password"]), 4)
    # Who was taken out of the file is out.
    live.wait_end()
