"""A private authority and what it signs, by openssl."""

import os
import subprocess

from node import Unhealthy, require


def make(folder):
    """A private authority and a server's certificate for localhost: (authority, certificate, key)."""
    require("openssl", "openssl")
    at = {name: os.path.join(folder, name) for name in ("ca.pem", "ca.key", "server.pem", "server.key", "request", "names")}
    with open(at["names"], "w") as out:
        out.write("basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for words in (
        ["req", "-x509", *curve, "-keyout", at["ca.key"], "-out", at["ca.pem"], "-days", "2", "-subj", "/CN=A private authority",
         "-addext", "keyUsage=critical,keyCertSign"],
        ["req", *curve, "-keyout", at["server.key"], "-out", at["request"], "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", at["request"], "-CA", at["ca.pem"], "-CAkey", at["ca.key"], "-CAcreateserial", "-days", "2",
         "-out", at["server.pem"], "-extfile", at["names"]],
    ):
        made = subprocess.run(["openssl", *words], capture_output=True, text=True)
        if made.returncode:
            raise Unhealthy(f"openssl {words[0]}: {made.stderr}")
    return at["ca.pem"], at["server.pem"], at["server.key"]
