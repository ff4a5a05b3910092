"""Every form of stored password, as other tools make it, in rows of the real server."""

import hashlib
import subprocess

import bcrypt
from argon2 import PasswordHasher
from passlib.hash import argon2 as passlib_argon2
from postgres import quoted
from rig import Rig
from suite import case, equal

PASSWORD = "pässword 1'\"\\"
SALT = "NaCl"


def digest(name, *parts):
    """By openssl, which shares no code with the broker's hashes or with Python's."""
    data = "".join(parts).encode()
    made = subprocess.run(
        ["openssl", "dgst", f"-{name}", "-r"], input=data, capture_output=True, check=True
    )
    return made.stdout.split()[0].decode()


def pbkdf2(name, iterations, length):
    made = hashlib.pbkdf2_hmac(name, PASSWORD.encode(), SALT.encode(), iterations, length)
    return made.hex()


def crypt_bcrypt(prefix):
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix)).decode()


BCRYPT = crypt_bcrypt(b"2a")
# Form, stored, salt.
VECTORS = [
    ("plain", PASSWORD, None),
    ("md5", digest("md5", PASSWORD), None),
    ("sha", digest("sha1", PASSWORD), None),
    ("sha256", digest("sha256", PASSWORD), None),
    ("sha256", digest("sha256", PASSWORD).upper(), None),
    ("salt,plain", SALT + PASSWORD, SALT),
    ("salt,md5", digest("md5", SALT, PASSWORD), SALT),
    ("salt,sha", digest("sha1", SALT, PASSWORD), SALT),
    ("salt,sha256", digest("sha256", SALT, PASSWORD), SALT),
    ("md5,salt", digest("md5", PASSWORD, SALT), SALT),
    ("sha,salt", digest("sha1", PASSWORD, SALT), SALT),
    ("sha256,salt", digest("sha256", PASSWORD, SALT), SALT),
    ("pbkdf2,sha256,1000,20", pbkdf2("sha256", 1000, 20), SALT),
    ("pbkdf2,sha512,10,64", pbkdf2("sha512", 10, 64), SALT),
    ("pbkdf2,sha,100,20", pbkdf2("sha1", 100, 20), SALT),
    ("pbkdf2,md5,3,16", pbkdf2("md5", 3, 16), SALT),
    ("salt,bcrypt", BCRYPT, BCRYPT[:29]),
    ("bcrypt", BCRYPT, None),
    ("bcrypt", crypt_bcrypt(b"2b"), None),
    ("argon2", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD), None),
    (
        "argon2",
        passlib_argon2.using(type="I", time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD),
        None,
    ),
]


@case()
def every_form_lets_in_with_the_password_and_with_no_other(context):
    postgres = context.lab.postgres
    postgres.sql("ALTER TABLE mqtt_user ALTER password TYPE text, ALTER salt TYPE text")
    rig = Rig(context)
    for number, (form, stored, salt) in enumerate(VECTORS):
        values = [f"'u{number}'", quoted(stored), quoted(salt) if salt else "NULL"]
        postgres.sql(f"INSERT INTO mqtt_user (username, password, salt) VALUES ({', '.join(values)})")
    for form in dict.fromkeys(form for form, _, _ in VECTORS):
        server = f"127.0.0.1:{postgres.port}"
        rig.write(
            "auth_pgsql.conf",
            "pgsql",
            server=server,
            username="mqtt",
            password="public",
            database="mqtt",
            password_hash=form,
            auth_query="select password, salt from mqtt_user where username = '%u' limit 1",
        )
        rig.load()
        for number, (other, stored, _) in enumerate(VECTORS):
            if other == form:
                user = f"u{number}"
                found = [rig.code(user, PASSWORD), rig.code(user, PASSWORD + "x")]
                found += [rig.code(user, ""), rig.code(user), rig.code(user, PASSWORD[:-1])]
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
