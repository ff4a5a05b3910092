#!/usr/bin/env python3
"""Runs the interop tests: other people's MQTT clients against the running broker.

One line a test, then the reasons of what failed, then `N passed, N failed`. Every test has a bound
on its time, kept by an alarm, besides the bounds of what it waits for.
"""

import argparse
import signal
import sys
import time
import traceback

import suite
from broker import Broker

# Importing registers the tests.
import test_bridge  # noqa: F401
import test_browser  # noqa: F401
import test_certificates  # noqa: F401
import test_doors  # noqa: F401
import test_identity  # noqa: F401
import test_mosquitto  # noqa: F401
import test_mqttjs  # noqa: F401
import test_paho  # noqa: F401
import test_paho_v5  # noqa: F401
import test_paho_v5_flow  # noqa: F401
import test_stop  # noqa: F401

TEST_S_MAX = 90


class Overdue(Exception):
    pass


def on_alarm(_signal, _frame):
    raise Overdue(f"not done after {TEST_S_MAX} s")


def run_case(case, broker):
    """Runs one test; returns the reason of its failure, or nothing."""
    signal.alarm(TEST_S_MAX)
    try:
        with suite.Context(broker, case) as context:
            case.function(context, *case.arguments)
        if not broker.is_running():
            return "the broker ended"
    except Exception:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="the ringmq binary")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--port", type=int, help="test what listens here already, not --broker")
    parser.add_argument("only", nargs="*", help="run the tests with one of these in their name")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, on_alarm)

    failures = []
    passed = 0
    with Broker(options.broker, options.shards, options.port) as broker:
        for case in suite.CASES:
            if options.only and not any(part in case.name for part in options.only):
                continue
            began = time.monotonic()
            reason = run_case(case, broker)
            took = time.monotonic() - began
            print(f"{'FAILED' if reason else 'ok':6} {took:6.2f} s  {case.name}", flush=True)
            if reason:
                failures.append((case.name, reason))
                if not broker.is_running():
                    broker.restart()
            else:
                passed += 1
        log = broker.log()
    for name, reason in failures:
        print(f"\n--- {name}\n{reason}")
    if failures:
        print(f"--- end of the broker's log\n{log}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
