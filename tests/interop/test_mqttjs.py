"""MQTT.js: the tutorial's two programs, and the cases of mqttjs/cases.js."""

import os
import queue
import subprocess
import threading

from suite import PATIENCE_S, case, equal

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mqttjs")
VERSIONS = [("3.1",), ("3.1.1",), ("5",)]
NAMES = [
    "qos0",
    "qos1",
    "qos2",
    "retained",
    "will",
    "session",
    "unsubscribe",
    "large",
    "burst",
]
NAMES_V5 = ["properties", "aliases", "options", "takeover", "refused"]


class Program:
    """A program for Node.js, its lines on standard output one by one."""

    def __init__(self, context, name, *arguments, over="tcp"):
        self.process = subprocess.Popen(
            ["node", os.path.join(FOLDER, name), context.broker.url_of(over), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        context.callback(self.end)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def next(self):
        try:
            return self.lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError("the program printed nothing more") from None

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(PATIENCE_S)
        self.process.stdout.close()


@case(("tcp",), ("tls",), ("ws",), ("wss",))
def the_tutorials_programs_print_what_the_tutorial_shows(context, over):
    topic = context.topic("tutorial")
    subscriber = Program(context, "subscriber.js", topic, over=over)
    equal(subscriber.next(), "return code: 0, sessionPresent: false")
    equal(subscriber.next(), f"subscribed to {topic}")
    publisher = Program(context, "publisher.js", topic, "hello", over=over)
    equal(publisher.next(), "return code: 0, sessionPresent: false")
    equal(subscriber.next(), f"{topic}: hello")
    equal(publisher.process.wait(PATIENCE_S), 0)


def register(name, parameters):
    def run_case(context, version, over="tcp"):
        program = Program(context, "cases.js", version, name, context.name, over=over)
        equal(program.next(), "done")

    run_case.__name__ = name
    case(*parameters)(run_case)


for _name in NAMES:
    register(_name, VERSIONS)
for _name in NAMES_V5:
    register(_name, [("5",)])
for _name in NAMES + NAMES_V5:
    register(_name, [("5", over) for over in ("tls", "ws", "wss")])
# MQTT 3.1 has a sub-protocol of its own.
for _name in ("qos2", "session", "large"):
    register(_name, [("3.1", "ws"), ("3.1.1", "wss")])
