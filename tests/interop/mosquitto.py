"""mosquitto_pub and mosquitto_sub as child processes."""

import json
import queue
import subprocess
import threading
import time

from suite import PATIENCE_S

# What a message's line starts with, to tell it from what `-d` prints.
MARK = "MESSAGE "


def options_for(context, version):
    where = ["-h", "127.0.0.1", "-p", str(context.broker.port)]
    return [*where, "-V", f"mqttv{version.replace('.', '')}"]


def publish(context, version, topic, payload, *options, qos=0):
    """Publishes and waits until mosquitto_pub says that it is done. No payload: an empty one."""
    content = ["-n"] if payload is None else ["-m", payload]
    run(context, "mosquitto_pub", version, "-t", topic, "-q", str(qos), *content, *options)


def publish_lines(context, version, topic, lines, *options, qos=0):
    command = ["mosquitto_pub", *options_for(context, version), "-l", "-t", topic]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(
        [*command, "-q", str(qos), *options],
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
    )
    if done.returncode != 0:
        raise AssertionError(f"mosquitto_pub -l: status {done.returncode}: {done.stderr}")


def run(context, program, version, *options):
    """Runs a client to its end and returns what it printed."""
    command = [program, *options_for(context, version), *options]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}: {done.stderr}")
    return done.stdout


class Subscriber:
    """A mosquitto_sub that is subscribed once this returns."""

    def __init__(self, context, version, *options, filters=(), qos=0):
        chosen = [word for name in filters for word in ("-t", name)]
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", *options_for(context, version)]
            + ["-d", "-q", str(qos), "-F", MARK + "%j", *chosen, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        context.callback(self.kill)
        self.notes = []
        self.messages = queue.Queue()
        # What takes each message; a test may put another function here.
        self.deliver = self.messages.put
        self.noted = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait_for_note("Subscribed")

    def _read(self):
        for line in self.process.stdout:
            if line.startswith(MARK):
                self.deliver(json.loads(line.removeprefix(MARK)))
            else:
                with self.noted:
                    self.notes.append(line.rstrip())
                    self.noted.notify_all()

    def next(self):
        """The next message, as mosquitto_sub's JSON tells it."""
        try:
            return self.messages.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"no message came; mosquitto_sub said {self.notes}") from None

    def payloads(self, count):
        return [self.next()["payload"] for _ in range(count)]

    def wait_for_note(self, part):
        """Waits until mosquitto_sub prints a line with `part` in it."""
        deadline = time.monotonic() + PATIENCE_S
        with self.noted:
            while not any(part in note for note in self.notes):
                if not self.noted.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no `{part}`; mosquitto_sub said {self.notes}")

    def end(self):
        """A normal end, with a DISCONNECT."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def kill(self):
        """An end without a DISCONNECT."""
        self.process.kill()
        self.process.wait()
        self.reader.join(PATIENCE_S)
        self.process.stdout.close()
