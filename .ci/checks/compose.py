#!/usr/bin/env python3
"""Checks the compose files of `deploy/`: runs what they describe, without containers, and pushes and pulls.

docker-compose reads the files. Each service is then a process, with its command and its variables, in namespaces of its
own for the network and for `/etc/hosts`: so the services have their names and their ports. The argument is the program
`registry`, as the tests build it.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "deploy/compose"
HOST = "registry.example.com"
ADDRESSES = {HOST: "127.0.0.1"}
# For the start of a process, on a machine with much to do.
PATIENCE = 120


def main():
    if len(sys.argv) != 2:
        print("usage: compose.py target/debug/registry", file=sys.stderr)
        return 2
    if os.environ.get("COMPOSE_CHECK") != "inside":
        command = ["unshare", "--net", "--mount", "--propagation", "private", *map(os.path.abspath, sys.argv)]
        return subprocess.run(command, env={**os.environ, "COMPOSE_CHECK": "inside"}).returncode
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), Path(sys.argv[1]))
        one_registry(site)
    print("compose: the registry serves what its file describes")
    return 0


def one_registry(site):
    registry = services("fs.yaml")["registry"]
    with site.registry(registry, "127.0.0.1"):
        (port,) = registry["ports"]
        address = f"{HOST}:{port['target'] if isinstance(port, dict) else port.split(':')[1]}"
        site.wait(f"https://{address}/")
        site.refuses_strangers(address)
        site.keeps(address, "app:1")


def services(file):
    """The services of a file, as docker-compose reads it."""
    command = ["docker-compose", "-f", FOLDER / file, "config"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return yaml.safe_load(text)["services"]


class Site:
    """A machine with the names of the services, a certificate, and the user ann."""

    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        hosts = folder / "hosts"
        names = {"localhost": "127.0.0.1", **ADDRESSES}
        hosts.write_text("".join(f"{address} {name}\n" for name, address in names.items()))
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        for name in ("certs", "users", "docker"):
            (folder / name).mkdir()
        self.certificate = folder / "certs/registry.crt"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        key += ["-keyout", folder / "certs/registry.key"]
        names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
        command = ["openssl", "req", "-x509", "-days", "2", *names, *key, "-out", self.certificate]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        self.output(program, "htpasswd", "-bc", "-C", "5", folder / "users/htpasswd", "ann", "secret")
        login = {"auth": base64.b64encode(b"ann:secret").decode()}
        hosts = (HOST, f"{HOST}:5000")
        (folder / "docker/config.json").write_text(json.dumps({"auths": {host: login for host in hosts}}))
        (folder / "layer").write_bytes(os.urandom(3 << 20))
        self.output("tar", "-C", folder, "-cf", folder / "layer.tar", "layer")

    def output(self, *command):
        environment = {"DOCKER_CONFIG": str(self.folder / "docker"), "SSL_CERT_FILE": str(self.certificate)}
        environment = {**os.environ, **environment}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(f"compose: {' '.join(map(str, command))}: {done.stdout}{done.stderr}{self.logs()}")
        return done.stdout

    def logs(self):
        return "".join(f"\n{file.name}:\n{file.read_text()[-3000:]}" for file in sorted(self.folder.glob("*.log")))

    def elsewhere(self, text):
        """A text of a service, with the places of its volumes on this machine."""
        return str(text).replace("/users/", f"{self.folder}/users/").replace("/certs/", f"{self.folder}/certs/")

    @contextmanager
    def running(self, name, command, environment):
        with open(self.folder / f"{name}.log", "a") as log:
            process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.terminate()
                process.wait()

    def registry(self, service, address):
        """The image's command with the variables of a service."""
        environment = {key: self.elsewhere(value) for key, value in service["environment"].items()}
        environment["REGISTRY_HTTP_ADDR"] = f"{address}:5000"
        environment["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"] = str(self.folder / f"images-{address}")
        return self.running(address, [self.program, "serve", ROOT / "image/config.yml"], environment)

    def wait(self, url, wanted="200"):
        end = time.monotonic() + PATIENCE
        while (found := self.status(url)) != wanted:
            if time.monotonic() > end:
                raise SystemExit(f"compose: {url} answers {found}, and not {wanted}{self.logs()}")
            time.sleep(0.1)

    def status(self, url):
        command = ["curl", "-s", "--cacert", self.certificate, "-o", os.devnull, "-w", "%{http_code}", url]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout

    def refuses_strangers(self, address):
        if (found := self.status(f"https://{address}/v2/")) != "401":
            raise SystemExit(f"compose: {address} answers {found} to a client without a login")

    def keeps(self, address, image):
        """Pushes an image and pulls it."""
        self.output("crane", "append", "--new_layer", self.folder / "layer.tar", "--new_tag", f"{address}/team/{image}")
        self.pulls(address, image)

    def pulls(self, address, image):
        self.output("crane", "validate", "--remote", f"{address}/team/{image}")


if __name__ == "__main__":
    sys.exit(main())
