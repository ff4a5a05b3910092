"""Certificates that the broker did not make: an authority of openssl's, and what belongs to it."""

import os
import subprocess

from suite import PATIENCE_S

SETTINGS = """
[ca]
default_ca = authority
[authority]
dir = {folder}
database = {folder}/index
serial = {folder}/serial
crlnumber = {folder}/crlnumber
crl_extensions = list
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[list]
authorityKeyIdentifier = keyid:always
"""


class Authority:
    """Files in a folder of its own: `ca.pem`, `crl.pem`, and two for each name."""

    def __init__(self, folder, name):
        os.makedirs(folder)
        self.folder = folder
        self._write("openssl.cnf", SETTINGS.format(folder=folder))
        self._write("index", "")
        self._write("serial", "01\n")
        self._write("crlnumber", "01\n")
        request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
        self._openssl(*request, "-subj", f"/CN={name}", "-keyout", "ca.key", "-out", "ca.pem")
        self.list_revoked()

    def issue(self, name, alternatives="DNS:localhost,IP:127.0.0.1"):
        """A certificate for `name`; returns the paths of it and of its key."""
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        about = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.request"]
        self._openssl("req", *curve, *about, *files)
        self._ca("-in", f"{name}.request", "-out", f"{name}.pem", "-notext")
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def revoke(self, name):
        self._ca("-revoke", f"{name}.pem")
        self.list_revoked()

    def list_revoked(self):
        # Written beside and moved, as an operator should: nobody sees half of it.
        self._ca("-gencrl", "-out", "crl.new")
        os.replace(self.path("crl.new"), self.path("crl.pem"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def _ca(self, *words):
        self._openssl("ca", "-batch", "-config", "openssl.cnf", *words)

    def _openssl(self, *words):
        command = ["openssl", *words]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE_S
        )
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")

    def _write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
