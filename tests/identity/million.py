#!/usr/bin/env python3
"""What a mirror of many users takes: loaded, and loaded anew because all of them have changed."""

import argparse
import json
import os
import re
import sys
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))

import suite  # noqa: E402

# A context is that of some test.
import test_mirror  # noqa: E402, F401
from postgres import Postgres  # noqa: E402
from rig import Rig  # noqa: E402

PATIENCE_S = 900
STORED = "encode(sha256(('salt' || i || 'p' || i)::bytea), 'hex'), lpad(i::text, 16, '0')"


def resident(rig):
    with open(f"/proc/{rig.process.pid}/status") as status:
        return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1])


def mirror(rig):
    listed, _ = rig.ctl("plugins", "list")
    found = re.search(r"mirror (live|not live): (\d+) users in (\d+) bytes", listed)
    return found[1], int(found[2]), int(found[3])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="the ringmq binary")
    parser.add_argument("--users", type=int, default=1_000_000)
    options = parser.parse_args()
    with Postgres() as postgres, suite.Context(None, suite.CASES[0]) as context:
        postgres.reset("pgsql_notify.sql")
        postgres.sql(
            "ALTER TABLE mqtt_user DISABLE TRIGGER USER; INSERT INTO mqtt_user (username, password, salt) "
            f"SELECT 'device-' || lpad(i::text, 8, '0'), {STORED} FROM generate_series(1, {options.users}) i; "
            "ALTER TABLE mqtt_user ENABLE TRIGGER USER",
            within=PATIENCE_S,
        )
        context.lab = types.SimpleNamespace(binary=os.path.abspath(options.broker), postgres=postgres)
        rig = Rig(context, mirror="true", password_hash="salt,sha256")
        before = resident(rig)

        def tell(what, began):
            state, users, size = mirror(rig)
            seconds = round(time.monotonic() - began, 1)
            figures = {"users": users, "bytes_a_user": round(size / users, 1), "state": state}
            figures |= {"seconds": seconds, "resident_more": resident(rig) - before}
            print(json.dumps({"part": what, **figures}), flush=True)

        began = time.monotonic()
        rig.load()
        rig.wait_log(f"mirrored {options.users} users", within=PATIENCE_S)
        tell("loaded", began)
        for _ in range(2):
            start, began = len(rig.log()), time.monotonic()
            postgres.sql("UPDATE mqtt_user SET is_superuser = NOT is_superuser", within=PATIENCE_S)
            rig.wait_log("changed: all users", start, within=PATIENCE_S)
            tell("loaded anew", began)


if __name__ == "__main__":
    main()
