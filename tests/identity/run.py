#!/usr/bin/env python3
"""Runs the identity tests: the running broker with a real PostgreSQL, tokens and a web service.

One line a test, then the reasons of what failed, then `N passed, N failed`. Every test has a bound
on its time, kept by an alarm, besides the bounds of what it waits for.
"""

import argparse
import os
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))

import suite  # noqa: E402
from postgres import Postgres  # noqa: E402

# Importing registers the tests.
import test_changes  # noqa: E402, F401
import test_faults  # noqa: E402, F401
import test_guard  # noqa: E402, F401
import test_hashes  # noqa: E402, F401
import test_mirror  # noqa: E402, F401
import test_pooler  # noqa: E402, F401
import test_queries  # noqa: E402, F401
import test_reload  # noqa: E402, F401
import test_rules  # noqa: E402, F401
import test_scram  # noqa: E402, F401
import test_status  # noqa: E402, F401
import test_storm  # noqa: E402, F401
import test_tokens  # noqa: E402, F401
import test_tutorial  # noqa: E402, F401
import test_web  # noqa: E402, F401

TEST_S_MAX = 120


class Overdue(Exception):
    pass


class Lab:
    """What all tests share."""

    def __init__(self, binary, postgres):
        self.binary = os.path.abspath(binary)
        self.postgres = postgres


def on_alarm(_signal, _frame):
    raise Overdue(f"not done after {TEST_S_MAX} s")


def run_case(case, lab):
    """Runs one test; returns the reason of its failure, or nothing."""
    signal.alarm(TEST_S_MAX)
    try:
        if not lab.postgres.is_running():
            lab.postgres.start()
        lab.postgres.reset("pgsql_notify.sql")
        with suite.Context(None, case) as context:
            context.lab = lab
            case.function(context, *case.arguments)
    except Exception:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="the ringmq binary")
    parser.add_argument("only", nargs="*", help="run the tests with one of these in their name")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, on_alarm)

    failures = []
    passed = 0
    with Postgres() as postgres:
        lab = Lab(options.broker, postgres)
        for case in suite.CASES:
            if options.only and not any(part in case.name for part in options.only):
                continue
            began = time.monotonic()
            reason = run_case(case, lab)
            took = time.monotonic() - began
            print(f"{'FAILED' if reason else 'ok':6} {took:6.2f} s  {case.name}", flush=True)
            if reason:
                failures.append((case.name, reason))
            else:
                passed += 1
        log = postgres.log()
    for name, reason in failures:
        print(f"\n--- {name}\n{reason}")
    if failures:
        print(f"--- end of PostgreSQL's log\n{log}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
