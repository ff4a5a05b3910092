"""The list of tests, and what each of them is given."""

import contextlib
import time

CASES = []
# How long anything that should happen may take; nothing waits this long when all is well.
PATIENCE_S = 30


class Case:
    def __init__(self, function, arguments):
        self.function = function
        self.arguments = arguments
        module = function.__module__.removeprefix("test_").replace("_", " ")
        words = function.__name__.replace("_", " ")
        detail = ", ".join(str(argument) for argument in arguments)
        self.name = f"{module}: {words}" + (f" ({detail})" if detail else "")


def case(*parameters):
    """Registers a test, once for each tuple of arguments."""

    def register(function):
        for arguments in parameters or [()]:
            CASES.append(Case(function, arguments))
        return function

    return register


class Context(contextlib.ExitStack):
    """What a test works with: the broker, names of its own, and an end for what it opens."""

    def __init__(self, broker, case_):
        super().__init__()
        self.broker = broker
        # Ids and topics of a test are its own, so no test sees what another left behind.
        self.name = f"t{CASES.index(case_)}-{time.monotonic_ns() % 1_000_000_000}"

    def topic(self, rest=""):
        return f"{self.name}/{rest}" if rest else self.name

    def client_id(self, role):
        return f"{self.name}-{role}"


def equal(found, wanted):
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)
