"""A broker in a folder of its own, with plug-in files that a test writes."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import wire
from suite import PATIENCE_S, equal

LOG_LINES_SHOWN = 40
QUERIES = {
    "auth_query": "select password, salt from mqtt_user where username = '%u' limit 1",
    "super_query": "select is_superuser from mqtt_user where username = '%u' limit 1",
    "acl_query": "select allow, ipaddr, username, clientid, access, topic from mqtt_acl where "
    "ipaddr = '%a' or username = '%u' or username = '$all' or clientid = '%c' order by id",
}


class Rig:
    def __init__(
        self, context, plugin="auth_pgsql", file=None, settings="", start=True, **keys
    ):
        """Starts a broker; `keys` are those of the plug-in's file, without what they begin with,
        but for `cpus`, the processors that it may use, `guarded`: whoever guesses is held off,
        `shards`, and other `flags` of the command."""
        self.context = context
        self.cpus, self.is_guarded = keys.pop("cpus", None), keys.pop("guarded", False)
        self.flags = keys.pop("flags", [])
        self.shards = keys.pop("shards", len(self.cpus) if self.cpus else 2)
        # One, unless the settings have some.
        self.listeners = settings.count("[[listener]]")
        self.binary = context.lab.binary
        self.folder = tempfile.mkdtemp(prefix="ringmq-identity-")
        context.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = os.path.join(self.folder, "data")
        self.process = None
        self.ports = []
        self.count = 0
        os.makedirs(os.path.join(self.folder, "etc/plugins"))
        with open(os.path.join(self.folder, "etc/ringmq.toml"), "w") as config:
            config.write(settings)
        if plugin == "auth_pgsql":
            postgres = context.lab.postgres
            standard = {"server": f"127.0.0.1:{postgres.port}", "pool": 4, "username": "mqtt"}
            standard |= {"password": "public", "database": "mqtt", "password_hash": "plain"}
            keys = standard | QUERIES | {"query_timeout": "2s", "connect_timeout": "2s"} | keys
        self.file, self.word, self.keys = file or f"{plugin}.conf", plugin.removeprefix("auth_"), keys
        self.rewrite()
        self.plugin = f"emq_{plugin}"
        context.callback(self.end)
        if start:
            self.start()

    def write(self, file, word, **keys):
        """Writes a plug-in's file; a key of the value `None` is left out, `__` is a full stop."""
        lines = [
            f"auth.{word}.{key.replace('__', '.')} = {value}\n"
            for key, value in keys.items()
            if value is not None
        ]
        with open(os.path.join(self.folder, "etc/plugins", file), "w") as config:
            config.writelines(lines)

    def rewrite(self, **keys):
        """Writes the plug-in's file as it was, but for these keys."""
        self.write(self.file, self.word, **(self.keys | keys))

    # Life

    def start(self):
        log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(
            (["taskset", "-c", ",".join(map(str, self.cpus))] if self.cpus else [])
            + [self.binary, "run", "--data", self.data, "--log", "info", *self.flags]
            + ([] if self.listeners else ["--listen", "tcp://127.0.0.1:0"])
            + ["--shards", str(self.shards)],
            cwd=self.folder,
            # Most cases guess wrong on purpose, and often.
            env=os.environ if self.is_guarded else {**os.environ, "RINGMQ_AUTH_FAILURES_MAX": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self.ports = []
        overdue = threading.Timer(PATIENCE_S, self.process.kill)
        overdue.start()
        try:
            for line in self.process.stdout:
                if found := re.search(r"listening on tcp://127\.0\.0\.1:(\d+)", line):
                    self.ports.append(int(found[1]))
                if len(self.ports) == max(self.listeners, 1):
                    return
        finally:
            overdue.cancel()
        raise RuntimeError(f"the broker printed no port:\n{self.log()}")

    @property
    def port(self):
        """Of the first listener."""
        return self.ports[0] if self.ports else None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        equal(self.process.wait(PATIENCE_S), 0)
        self.process.stdout.close()
        self.process = None

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def log(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            return "".join(log.readlines())

    def wait_log(self, pattern, start=0, within=PATIENCE_S):
        """Waits for a line of the log behind `start` characters; returns what matched."""
        deadline = time.monotonic() + within
        while not (found := re.search(pattern, self.log()[start:])):
            if time.monotonic() > deadline:
                end = "".join(self.log().splitlines(keepends=True)[-LOG_LINES_SHOWN:])
                raise AssertionError(f"no {pattern!r} in the log:\n{end}")
            time.sleep(0.02)
        return found

    # Commands

    def ctl(self, *words):
        """What `ringmq ctl` prints, and its status."""
        done = subprocess.run(
            [self.binary, "ctl", *words, "--data", self.data],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.stdout, done.returncode

    def load(self):
        """Loads the plug-in, which has to be without reproach; returns the rig."""
        name = self.plugin
        said = f"Start apps: [{name}]\nPlugin {name} loaded successfully.\n"
        equal(self.ctl("plugins", "load", name), (said, 0))
        return self

    def status(self):
        return json.loads(self.ctl("status", "--json")[0])

    # Clients

    def client(self, username=None, password=None, client_id=None, v5=False, port=None, **more):
        self.count += 1
        client_id = client_id or f"c{self.count}"
        return wire.Client(
            self.context, port or self.port, client_id, username, password, v5, **more
        )

    def code(self, username=None, password=None, client_id=None, v5=False, **more):
        """What CONNACK says to somebody who goes again at once."""
        client = self.client(username, password, client_id, v5, **more)
        client.close()
        return client.code

    def wait_code(self, wanted, *arguments, within=PATIENCE_S, **more):
        """Connects until CONNACK says this; returns the seconds that it took, and what else came."""
        began = time.monotonic()
        others = set()
        while (code := self.code(*arguments, **more)) != wanted:
            others.add(code)
            if time.monotonic() - began > within:
                raise AssertionError(f"CONNACK said {others}, never {wanted}")
            time.sleep(0.05)
        return time.monotonic() - began, others
