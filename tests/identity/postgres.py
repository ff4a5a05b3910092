"""A real PostgreSQL in a private folder, on a port of its own, as a user without rights."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from suite import PATIENCE_S

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONNECTIONS_MAX = 60
LOG_LINES_SHOWN = 30
# Trusted over the unix socket, so that a test can do anything; a password over TCP, as ringmq has.
# Of one role it demands a certificate besides.
HBA = """local all all trust
hostssl all certified 127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostssl all all 127.0.0.1/32 scram-sha-256
hostnossl all all 127.0.0.1/32 scram-sha-256
"""
CONFIG = f"""
listen_addresses = '127.0.0.1'
max_connections = {CONNECTIONS_MAX}
superuser_reserved_connections = 3
shared_buffers = 32MB
fsync = off
full_page_writes = off
synchronous_commit = on
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'server.crt'
"""


def binaries():
    """The folder of the newest server that is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
    if found:
        return found[-1]
    if path := shutil.which("postgres"):
        return os.path.dirname(os.path.realpath(path))
    raise RuntimeError("there is no PostgreSQL server: install the package postgresql")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PgBouncer:
    """In front of a server, in transaction mode, with fewer connections than come to it."""

    SERVER_CONNECTIONS = 2

    def __init__(self, context, postgres):
        self.postgres = postgres
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="ringmq-pgbouncer-")
        context.callback(shutil.rmtree, self.folder, ignore_errors=True)
        with open(os.path.join(self.folder, "users"), "w") as users:
            users.write('"mqtt" "public"\n')
        with open(os.path.join(self.folder, "pgbouncer.ini"), "w") as config:
            config.write(
                f"[databases]\nmqtt = host=127.0.0.1 port={postgres.port} password=public\n"
                f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
                f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {self.folder}/users\n"
                f"pool_mode = transaction\ndefault_pool_size = {self.SERVER_CONNECTIONS}\n"
                f"logfile = {self.folder}/log\n"
            )
        if postgres.account:
            for path in (self.folder, f"{self.folder}/users", f"{self.folder}/pgbouncer.ini"):
                os.chown(path, postgres.account["user"], postgres.account["group"])
        self.process = None
        context.callback(self.stop)
        self.start()

    def start(self):
        path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
        program = shutil.which("pgbouncer", path=path)
        if program is None:
            raise RuntimeError("there is no pgbouncer: install the package pgbouncer")
        self.process = subprocess.Popen(
            [program, "--quiet", f"{self.folder}/pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            **self.postgres.account,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_there():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(f"{self.folder}/log", errors="replace") as log:
                    raise RuntimeError(f"pgbouncer did not start:\n{log.read()}")
            time.sleep(0.02)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None

    def _is_there(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Postgres:
    def __init__(self, is_idle=False):
        """`is_idle`: it gets what everybody else leaves of the processors."""
        self.process = None
        self.is_idle = is_idle
        self.folder = tempfile.mkdtemp(prefix="ringmq-pg-")
        self.data = os.path.join(self.folder, "data")
        self.port = free_port()
        self.ca = os.path.join(self.data, "server.crt")
        # The server refuses to run as root.
        self.account = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self.account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)

    def __enter__(self):
        try:
            self._make()
            self.start()
            self.sql("CREATE ROLE mqtt LOGIN PASSWORD 'public'", database="postgres")
            self.sql("CREATE ROLE certified LOGIN PASSWORD 'public' IN ROLE mqtt", database="postgres")
            self.sql("CREATE DATABASE mqtt OWNER mqtt", database="postgres")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self):
        binary = os.path.join(binaries(), "initdb")
        self._run([binary, "-D", self.data, "-U", "admin", "-A", "trust", "--no-sync", "-E", "UTF8"])
        certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        certificate += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj"]
        certificate += ["/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        self._run(certificate + ["-keyout", "server.key", "-out", "server.crt"], cwd=self.data)
        for name in ("certified", "another"):
            request = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            request += ["-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "request"]
            self._run(request, cwd=self.data)
            sign = ["openssl", "x509", "-req", "-in", "request", "-CA", "server.crt", "-days", "2"]
            sign += ["-CAkey", "server.key", "-CAcreateserial", "-out", f"{name}.crt"]
            # Without any extension it would be of version 1, which rustls does not take.
            sign += ["-extfile", self._file("extensions", "extendedKeyUsage = clientAuth\n")]
            self._run(sign, cwd=self.data)
        for name, text in (("pg_hba.conf", HBA), ("postgresql.conf", CONFIG)):
            with open(os.path.join(self.data, name), "w" if name.startswith("pg") else "a") as file:
                file.write(text)

    def _file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def _run(self, command, cwd=None):
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            **self.account,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}")

    # Life

    def start(self):
        command = ["chrt", "--idle", "0"] if self.is_idle else []
        command += [os.path.join(binaries(), "postgres"), "-D", self.data]
        command += ["-p", str(self.port), "-k", self.folder]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.account,
            )
        ready = [os.path.join(binaries(), "pg_isready"), "-q", "-h", self.folder]
        ready += ["-p", str(self.port)]
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(ready).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()}")
            time.sleep(0.05)

    def stop(self):
        """As an operator does: connections are closed, then the server ends."""
        self._end(signal.SIGINT)

    def kill(self):
        """As a machine does that loses its power."""
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self.process = None

    def pause(self):
        """Everybody stays connected, nobody answers."""
        for pid in self.tree():
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in self.tree():
            os.kill(pid, signal.SIGCONT)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def _end(self, number):
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        self.process = None

    def tree(self):
        """The server's process, then those that it has started."""
        pids = [self.process.pid]
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as stat:
                    # Behind the name, which may hold anything: the state, then the parent.
                    if int(stat.read().rpartition(")")[2].split()[1]) == self.process.pid:
                        pids.append(int(entry))
        return pids

    # Content

    def sql(self, text, database="mqtt", user="admin", within=PATIENCE_S):
        """Carries out statements, and returns what they print."""
        command = [os.path.join(binaries(), "psql"), "-X", "-q", "-A", "-t"]
        command += ["-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", str(self.port)]
        done = subprocess.run(
            command + ["-U", user, "-d", database],
            input="SET client_min_messages = warning;\n" + text,
            capture_output=True,
            text=True,
            timeout=within,
        )
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr}")
        return done.stdout.rstrip("\n")

    def reset(self, *files):
        """Empty tables, and what the files of etc/sql make; nothing left of the test before."""
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION mqtt;")
        self.sql("ALTER ROLE mqtt PASSWORD 'public' CONNECTION LIMIT -1; ALTER ROLE mqtt RESET ALL")
        for name in ("pgsql_tables.sql", *files):
            with open(os.path.join(ROOT, "etc/sql", name)) as file:
                self.sql(file.read(), user="mqtt")

    def log_statements(self):
        """Every statement of ringmq goes into the log from its next connection on."""
        self.sql("ALTER ROLE mqtt SET log_statement = 'all'")

    def statements(self):
        """How many are in the log."""
        with open(f"{self.folder}/log", errors="replace") as log:
            return sum("LOG:  execute " in line or "LOG:  statement: " in line for line in log)

    def log(self):
        with contextlib.suppress(OSError), open(f"{self.folder}/log", errors="replace") as log:
            return "".join(log.readlines()[-LOG_LINES_SHOWN:])
        return ""


def quoted(text):
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
