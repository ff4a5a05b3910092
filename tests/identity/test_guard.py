"""Whoever guesses passwords, or comes and goes too often, is held off."""

import time

from rig import Rig
from suite import case, equal, holds
from test_changes import until
from test_scram import NOT_AUTHORIZED, Scram, add

BAD, HELD = 0x86, 0x9F
# What it is before v5: bad user name or password, server unavailable.
BAD_V3, HELD_V3 = 4, 3


def held_off(rig):
    """How often somebody was, as `status` counts."""
    counts = rig.status()["node"]["refusals"]
    return sum(count["count"] for count in counts if count["reason"] == "held_off")


def begin(context, settings):
    context.lab.postgres.sql(
        "INSERT INTO mqtt_user (username, password) VALUES ('u', 'p'), ('v', 'p')"
    )
    return Rig(context, settings=f"[auth]\n{settings}\n", guarded=True).load()


@case()
def a_guesser_is_held_off_and_nobody_else(context):
    rig = begin(context, "failures_max = 3\nhold_s = 2")
    equal(rig.code("v", "p", "v"), 0)
    # The one beyond those that are allowed is still told so.
    equal([rig.code("u", f"guess {n}", v5=True) for n in range(4)], [BAD] * 4)
    equal([rig.code("u", "guess", v5=True), rig.code("u", "guess")], [HELD, HELD_V3])
    # Even the right one: it may be the next guess. Others at this address come in.
    equal([rig.code("u", "p", "u", v5=True), rig.code("v", "p", "other")], [HELD, 0])
    equal(held_off(rig), 3)
    took, others = rig.wait_code(0, "u", "p", "u", v5=True, within=4)
    holds(others <= {HELD} and took < 3, (took, others))
    # A password that is remembered comes in whatever others guess: nobody is locked out so.
    equal([rig.code("u", f"guess {n}") for n in range(4)], [BAD_V3] * 4)
    equal([rig.code("u", "guess"), rig.code("u", "p", "u")], [HELD_V3, 0])


@case()
def scram_counts_as_passwords_do(context):
    rig = Rig(context, settings="[auth]\nfailures_max = 3\nhold_s = 2\n", guarded=True)
    for name in ("meter", "other"):
        add(rig, name, "pencil", "--scram")

    def code(name, password):
        return Scram(context, rig.port, name, password).code

    equal([code("meter", f"guess {n}") for n in range(4)], [NOT_AUTHORIZED] * 4)
    # Even the right one, and by password; others at this address come in.
    equal([code("meter", "pencil"), rig.code("meter", "pencil", v5=True)], [HELD, HELD])
    equal([code("other", "pencil"), held_off(rig)], [0, 2])
    deadline = time.monotonic() + 4
    while code("meter", "pencil") == HELD:
        holds(time.monotonic() < deadline, "held off for ever")
        time.sleep(0.05)
    # Whoever came in begins anew.
    equal([code("meter", f"guess {n}") for n in range(4)], [NOT_AUTHORIZED] * 4)


@case()
def names_that_nobody_has_count_for_the_address(context):
    rig = begin(context, "failures_max = 1\nhold_s = 2")
    equal(rig.code("v", "p", "v"), 0)
    codes = [rig.code(f"nobody {n}", "p", v5=True) for n in range(11)]
    equal(codes, [BAD] * 11)
    equal(rig.code("u", "p", "u", v5=True), HELD)
    equal(rig.code("v", "p", "v"), 0)
    rig.wait_code(0, "u", "p", "u", v5=True, within=4)


@case()
def a_client_that_flaps_is_held_off(context):
    rig = begin(context, "connects_max = 5\nwindow_s = 60\nhold_s = 1")
    equal([rig.code("u", "p", "flaps", v5=True) for _ in range(5)], [0] * 5)
    equal([rig.code("u", "p", "flaps", v5=True), rig.code("u", "p", "flaps")], [HELD, HELD_V3])
    equal(rig.code("u", "p", "calm"), 0)
    began = time.monotonic()
    took, others = rig.wait_code(0, "u", "p", "flaps", v5=True, within=3)
    holds(others <= {HELD}, others)
    # The second hold in a row is twice as long.
    until(lambda: rig.code("u", "p", "flaps", v5=True) == HELD, "another hold")
    began = time.monotonic()
    rig.wait_code(0, "u", "p", "flaps", v5=True, within=5)
    holds(time.monotonic() - began > 1.2, time.monotonic() - began)
    holds(held_off(rig) > 3, held_off(rig))
