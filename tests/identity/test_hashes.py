"""Every form of stored password, as other tools make it, in rows of the real server."""

import os
import subprocess
import sys
import tomllib

import bcrypt
from argon2 import PasswordHasher
from fleet import cpu_seconds
from postgres import quoted
from rig import Rig
from suite import PATIENCE_S, case, equal, holds

FOLDER = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(FOLDER, "hashes.toml"), "rb") as file:
    VECTORS = tomllib.load(file)["vector"]
# What is hexadecimal is right in either case.
HEXADECIMAL = set("0123456789abcdefABCDEF")


@case()
def the_vectors_are_what_their_commands_print(context):
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    for vector in VECTORS:
        made = subprocess.run(
            ["bash", "-o", "pipefail", "-ec", vector["made_by"]],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        found = (vector["form"], made.stdout.strip("\n"), made.stderr, made.returncode)
        equal(found, (vector["form"], vector["stored"], "", 0))


@case()
def every_form_lets_in_with_the_password_and_with_no_other(context):
    postgres = context.lab.postgres
    postgres.sql("ALTER TABLE mqtt_user ALTER password TYPE text, ALTER salt TYPE text")
    rows = []
    for vector in VECTORS:
        stored = vector["stored"]
        rows.append((vector, stored))
        if set(stored) <= HEXADECIMAL:
            rows.append((vector, stored.swapcase()))
    for number, (vector, stored) in enumerate(rows):
        salt = quoted(vector["salt"]) if "salt" in vector else "NULL"
        postgres.sql(
            "INSERT INTO mqtt_user (username, password, salt) "
            f"VALUES ('u{number}', {quoted(stored)}, {salt})"
        )
    rig = Rig(context)
    for form in dict.fromkeys(vector["form"] for vector in VECTORS):
        rig.write(
            "auth_pgsql.conf",
            "pgsql",
            server=f"127.0.0.1:{postgres.port}",
            username="mqtt",
            password="public",
            database="mqtt",
            password_hash=form,
            auth_query="select password, salt from mqtt_user where username = '%u' limit 1",
        )
        rig.load()
        for number, (vector, stored) in enumerate(rows):
            if vector["form"] == form:
                user, password = f"u{number}", vector["password"]
                found = [rig.code(user, password), rig.code(user, password + "x")]
                found += [rig.code(user, ""), rig.code(user), rig.code(user, password[:-1])]
                equal((form, stored, found), (form, stored, [0, 4, 4, 4, 4]))
                # The stored text itself opens nothing.
                if form != "plain":
                    equal(rig.code(user, stored), 4)
        rig.ctl("plugins", "unload", rig.plugin)


@case()
def char_columns_and_null(context):
    postgres = context.lab.postgres
    postgres.sql("ALTER TABLE mqtt_user ALTER password TYPE char(100)")
    postgres.sql(
        "INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('null', NULL), ('empty', '')"
    )
    rig = Rig(context).load()
    equal([rig.code("u", "p"), rig.code("null", ""), rig.code("null", "x")], [0, 4, 4])
    equal([rig.code("empty", "x"), rig.code("u", "p   ")], [4, 4])


@case((None,), ("true",))
def what_is_no_hash_is_logged(context, mirror):
    """With whose it is and why, without what is stored, and not with each guess."""
    postgres = context.lab.postgres
    stored = "secret-but-no-digest"
    postgres.sql(f"INSERT INTO mqtt_user (username, password) VALUES ('u\"', '{stored}')")
    postgres.sql(f"INSERT INTO mqtt_user (username, password) VALUES ('v', '{'0' * 64}')")
    rig = Rig(context, password_hash="sha256", mirror=mirror).load()
    equal([rig.code("v", "x") for _ in range(3)], [4] * 3)
    equal([rig.code('u"', "x") for _ in range(20)], [4] * 20)
    rig.wait_log(r'the password of "u\\"" is no sha256, so none is right: it has 20 bytes instead of 64')
    lines = [line for line in rig.log().splitlines() if "so none is right" in line]
    holds(len(lines) < 20 and not any(stored in line or '"v"' in line for line in lines), lines)


@case(("bcrypt",), ("argon2",))
def time_does_not_tell_names_apart(context, form):
    """A name that is not in the table takes as long as one that is."""
    postgres = context.lab.postgres
    postgres.sql("ALTER TABLE mqtt_user ALTER password TYPE text")
    slow = {
        "bcrypt": lambda: bcrypt.hashpw(b"p", bcrypt.gensalt(9)).decode(),
        "argon2": lambda: PasswordHasher(time_cost=4, memory_cost=8192, parallelism=1).hash("p"),
    }
    postgres.sql(f"INSERT INTO mqtt_user (username, password) VALUES ('u', {quoted(slow[form]())})")
    rig = Rig(context, password_hash=form, acl_query=None, super_query=None).load()
    equal(rig.code("u", "x"), 4)
    spent = {}
    for user in ("u", "nobody"):
        before = cpu_seconds(rig.process.pid)
        equal([rig.code(user, f"x{i}") for i in range(20)], [4] * 20)
        spent[user] = cpu_seconds(rig.process.pid) - before
    # What each costs is measured in CPU, so that a busy machine tells nothing.
    holds(0.5 * spent["u"] < spent["nobody"] < 2 * spent["u"], spent)
