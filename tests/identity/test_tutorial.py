"""The tutorial, step by step, with MQTT.js; what it shows has to be printed byte for byte."""

import os
import subprocess

from rig import Rig
from suite import PATIENCE_S, case, equal, holds

MQTTJS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop/mqttjs")
REFUSED = "Error: Connection refused: Bad username or password\n"
WELCOME = "return code: 0, sessionPresent: false\n"
LISTED = "Plugin(emq_auth_pgsql, version="


def program(rig, *credentials):
    """What the tutorial's publisher prints."""
    url = f"mqtt://127.0.0.1:{rig.port}"
    done = subprocess.run(
        ["node", os.path.join(MQTTJS, "publisher.js"), url, "tutorial", "hello", *credentials],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.stdout


@case()
def step_by_step(context):
    postgres = context.lab.postgres
    rig = Rig(
        context,
        password_hash="sha256",
        auth_query="select password from mqtt_user where username = '%u' limit 1",
    )
    # Before the plug-in is loaded anybody of this machine comes in.
    equal(program(rig), WELCOME)
    rig.load()
    equal(program(rig), REFUSED)
    postgres.sql(
        "INSERT INTO mqtt_user (is_superuser, username, password) "
        "VALUES (true, 'test', encode(sha256('public'), 'hex'))",
        user="mqtt",
    )
    equal(program(rig, "test", "public"), WELCOME)
    equal(program(rig, "test", "wrong"), REFUSED)
    equal(program(rig, "nobody", "public"), REFUSED)

    # It stays loaded over a restart, and until it is unloaded.
    rig.stop()
    rig.start()
    equal(program(rig), REFUSED)
    equal(program(rig, "test", "public"), WELCOME)
    equal(rig.ctl("plugins", "load", rig.plugin), ("load plugin error: already_started\n", 1))
    listed, _ = rig.ctl("plugins", "list")
    holds([line for line in listed.splitlines() if LISTED in line and "active=true" in line], listed)
    said = "Plugin emq_auth_pgsql unloaded successfully.\n"
    equal(rig.ctl("plugins", "unload", rig.plugin), (said, 0))
    equal(program(rig), WELCOME)
    equal(rig.ctl("plugins", "unload", rig.plugin), ("unload plugin error: not_started\n", 1))
    rig.stop()
    rig.start()
    equal(program(rig), WELCOME)


@case()
def without_a_database(context):
    """The same with the built-in users, which need nothing set up."""
    rig = Rig(context)
    equal(program(rig), WELCOME)
    equal(rig.ctl("users", "add", "test", "public"), ("ok\n", 0))
    equal(program(rig), REFUSED)
    equal(program(rig, "test", "public"), WELCOME)
    equal(program(rig, "test", "wrong"), REFUSED)
    equal(program(rig, "nobody", "public"), REFUSED)
    equal(rig.ctl("users", "passwd", "test", "other"), ("ok\n", 0))
    equal([program(rig, "test", word) for word in ("public", "other")], [REFUSED, WELCOME])
    rig.stop()
    rig.start()
    equal([program(rig, "test", word) for word in ("public", "other")], [REFUSED, WELCOME])
    # With the last user everybody of this machine is anonymous again.
    equal(rig.ctl("users", "del", "test"), ("ok\n", 0))
    equal(program(rig), WELCOME)


@case(("emq_auth_pgsql.conf",), ("emqx_auth_pgsql.conf",))
def the_files_other_names(context, name):
    context.lab.postgres.sql("INSERT INTO mqtt_user (username, password) VALUES ('u', 'p')")
    rig = Rig(context, file=name).load()
    equal([rig.code("u", "p"), rig.code("u", "q"), rig.code()], [0, 4, 4])


@case()
def mistakes_in_the_file_name_their_lines(context):
    rig = Rig(context, sever="x", pool="many", ssl_opts__verify="perhaps")
    said, status = rig.ctl("plugins", "load", rig.plugin)
    equal(status, 1)
    for part in [
        "unknown key `auth.pgsql.sever`; the nearest is `auth.pgsql.server`",
        "auth_pgsql.conf:2: auth.pgsql.pool: `many` is not a whole number",
        "auth.pgsql.ssl_opts.verify: `perhaps` is neither verify_peer nor verify_none",
    ]:
        holds(part in said, said)
    equal(rig.code(), 0)
    said, status = rig.ctl("plugins", "load", "emq_auth_pgsq")
    holds(status == 1 and "the nearest is `emq_auth_pgsql`" in said, said)
    os.unlink(os.path.join(rig.folder, "etc/plugins/auth_pgsql.conf"))
    said, status = rig.ctl("plugins", "load", rig.plugin)
    holds(status == 1 and "there is no file" in said and "auth_pgsql.conf" in said, said)


@case()
def without_a_server_it_is_loaded_and_says_so(context):
    rig = Rig(context, server="127.0.0.1:1")
    said, status = rig.ctl("plugins", "load", rig.plugin)
    lines = said.splitlines()
    equal((status, lines[:2]), (0, [f"Start apps: [{rig.plugin}]", f"Plugin {rig.plugin} loaded successfully."]))
    holds(lines[2].startswith("warning: PostgreSQL at 127.0.0.1:1: "), said)
    equal(rig.code("u", "p"), 3)
