#!/usr/bin/env python3
"""Checks the compose files of `deploy/`: runs what they describe, without containers, and pushes and pulls.

docker-compose reads the files. Each service is then a process, with its command and its variables, in namespaces of its
own for the network and for `/etc/hosts`: so the services have their names and their ports. The argument is the program
`registry`, as the tests build it.
"""

import base64
import hashlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import manifests
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "deploy/compose"
HOST = "registry.example.com"
REPLICAS = ("registry-1", "registry-2", "registry-3")
ADDRESSES = {HOST: "127.0.0.1", "store": "127.0.0.20", **{name: f"127.0.0.1{name[-1]}" for name in REPLICAS}}
LOGIN = base64.b64encode(b"ann:secret").decode()
VARIABLES = {"S3_ACCESS_KEY": "key-of-the-check", "S3_SECRET_KEY": "secret-of-the-check"}
# Options of curl.
STATUS = ("-o", os.devnull, "-w", "%{http_code}")
# More than what nginx accepts by default, and than what it buffers.
LAYER = os.urandom(3 << 20)
# For the start of a process, on a machine with much to do.
PATIENCE = 120


def main():
    if len(sys.argv) != 2:
        print("usage: compose.py target/debug/registry", file=sys.stderr)
        return 2
    if os.environ.get("COMPOSE_CHECK") != "inside":
        command = ["unshare", "--net", "--mount", "--propagation", "private", *map(os.path.abspath, sys.argv)]
        return subprocess.run(command, env={**os.environ, "COMPOSE_CHECK": "inside"}).returncode
    registries = [(file, name) for file in ("fs.yaml", "bucket.yaml") for name in services(file) if "registry" in name]
    for file, name in registries:
        if problem := cut_short(services(file)[name]):
            print(f"compose: {file}: {name}: {problem}", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), Path(sys.argv[1]))
        one_registry(site)
        three_registries(site)
    print("compose: one registry, and three on a bucket behind nginx, serve what their files describe")
    return 0


def cut_short(service):
    """A registry that the engine kills before its drain has ended."""
    drain = manifests.seconds(service["environment"]["REGISTRY_HTTP_DRAINTIMEOUT"]) + manifests.TIDYING
    grace = manifests.seconds(service["stop_grace_period"])
    return f"it is killed after {grace} s, and its drain takes up to {drain} s" if grace <= drain else None


def one_registry(site):
    registry = services("fs.yaml")["registry"]
    with site.registry(registry, "127.0.0.1"):
        (port,) = registry["ports"]
        address = f"{HOST}:{port['target'] if isinstance(port, dict) else port.split(':')[1]}"
        site.serves(f"https://{address}")
        site.keeps(address, "app:1")


def three_registries(site):
    described = services("bucket.yaml")
    with ExitStack() as running:
        running.enter_context(site.store(described["store"]))
        # The second time, nothing is left to do.
        for _ in range(2):
            bucket = described["bucket"]
            site.output(*bucket["entrypoint"], *bucket["command"], environment=bucket["environment"])
        replicas = {}

        def start(name):
            replicas[name] = running.enter_context(site.registry(described[name], name))
            site.serves(f"http://{name}:5000")

        for name in REPLICAS:
            start(name)
        running.enter_context(site.nginx(described["nginx"]))
        site.serves(f"https://{HOST}")
        images = []
        for name in REPLICAS:
            replicas[name].kill()
            replicas[name].wait()
            # Each of the three has its turn, and no client sees that one is gone.
            found = [site.asked(f"https://{HOST}/v2/", *STATUS, "-u", "ann:secret") for _ in range(2 * len(REPLICAS))]
            if set(found) != {"200"}:
                raise SystemExit(f"compose: nginx answers {found} without {name}")
            images.append(f"app:without-{name}")
            site.keeps(HOST, images[-1])
            start(name)
            site.until(lambda: is_used(site, name), f"nginx passes requests to {name} again")
            site.pulls(HOST, images[0])
        update(site, replicas, start)
        for image in images:
            site.pulls(HOST, image)


def is_used(site, name):
    """Asks nginx, which passes over a registry for a while that was gone, and says if a registry has answered it since its start."""
    site.asked(f"https://{HOST}/v2/", *STATUS, "-u", "ann:secret")
    return 'handler="base",method="get",code="200"' in site.asked(f"http://{name}:5001/metrics")


def update(site, replicas, start):
    """Replaces all registries while a layer is sent, which another one then completes."""
    upload = site.connect(HOST)
    location = upload.asks("POST", "/v2/team/app/blobs/uploads/", 202)
    upload.begins("PATCH", location, len(LAYER))
    upload.sends(LAYER[: len(LAYER) // 2])
    # One of them has it now.
    handled = 'registry_http_in_flight_requests{handler="blob_upload_chunk"} 1'
    site.until(lambda: any(handled in site.asked(f"http://{name}:5001/metrics") for name in REPLICAS), handled)
    for replica in replicas.values():
        replica.terminate()
    for name in REPLICAS:
        site.wait(f"http://{name}:5000/", "000")
    upload.sends(LAYER[len(LAYER) // 2 :])
    location = upload.answered(202)
    for name in REPLICAS:
        replicas[name].wait()
        start(name)
    site.until(lambda: any(is_used(site, name) for name in REPLICAS), "nginx passes requests to one of them again")
    digest = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
    upload = site.connect(HOST)
    upload.asks("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", 201)
    upload.asks("GET", f"/v2/team/app/blobs/{digest}", 200)


def services(file):
    """The services of a file, as docker-compose reads it."""
    command = ["docker-compose", "-f", FOLDER / file, "config"]
    environment = {**os.environ, **VARIABLES}
    text = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    # It prints `$` as a file has it.
    return yaml.safe_load(text.replace("$$", "$"))["services"]


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
        logins = {"auths": {host: {"auth": LOGIN} for host in (HOST, f"{HOST}:5000")}}
        (folder / "docker/config.json").write_text(json.dumps(logins))
        (folder / "layer").write_bytes(LAYER)
        self.output("tar", "-C", folder, "-cf", folder / "layer.tar", "layer")

    def output(self, *command, environment=None):
        ours = {"DOCKER_CONFIG": str(self.folder / "docker"), "SSL_CERT_FILE": str(self.certificate)}
        environment = {**os.environ, **ours, **(environment or {})}
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
    def running(self, name, command, environment=None, end=signal.SIGTERM):
        with open(self.folder / f"{name}.log", "a") as log:
            process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.send_signal(end)
                process.wait()

    def registry(self, service, address):
        """The image's command with the variables of a service."""
        environment = {key: self.elsewhere(value) for key, value in service["environment"].items()}
        ours = {"ADDR": f"{address}:5000", "DEBUG_ADDR": f"{address}:5001", "DEBUG_PROMETHEUS_ENABLED": "true"}
        environment |= {f"REGISTRY_HTTP_{key}": value for key, value in ours.items()}
        environment["TMPDIR"] = str(self.folder / f"tmp-{address}")
        Path(environment["TMPDIR"]).mkdir(exist_ok=True)
        if environment.get("REGISTRY_STORAGE") != "s3":
            environment["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"] = str(self.folder / "images")
        return self.running(address, [self.program, "serve", ROOT / "image/config.yml"], environment)

    @contextmanager
    def store(self, service):
        (self.folder / "store").mkdir()
        command = [word.replace("-dir=/data", f"-dir={self.folder}/store") for word in service["command"]]
        with self.running("store", [*service["entrypoint"], *command], service["environment"], signal.SIGKILL):
            self.until(lambda: self.healthy(service), "the store is healthy")
            yield

    @staticmethod
    def healthy(service):
        """Asks what the engine asks."""
        kind, *command = service["healthcheck"]["test"]
        return kind == "CMD" and subprocess.run(command).returncode == 0

    def nginx(self, service):
        (file,) = (one for one in service["volumes"] if "nginx.conf" in str(one))
        source = Path(file["source"] if isinstance(file, dict) else file.split(":")[0])
        config = self.folder / "nginx.conf"
        config.write_text(self.elsewhere(source.read_text()))
        command = ["nginx", "-p", self.folder, "-e", "stderr", "-c", config]
        command += ["-g", f"daemon off; user root; pid {self.folder}/nginx.pid;"]
        return self.running("nginx", command, end=getattr(signal, service["stop_signal"]))

    def connect(self, address):
        return Connection(self, address)

    def until(self, holds, what):
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                raise SystemExit(f"compose: in vain for {PATIENCE} s: {what}{self.logs()}")
            time.sleep(0.1)

    def wait(self, url, wanted):
        self.until(lambda: self.status(url) == wanted, f"{url} answers {wanted}")

    def status(self, url):
        return self.asked(url, *STATUS)

    def asked(self, url, *options):
        command = ["curl", "-s", "--cacert", self.certificate, *options, url]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout

    def serves(self, url):
        """Waits until a registry has opened its storage, and asks for a login. While it opens it, it answers 503."""
        self.wait(f"{url}/v2/", "401")

    def keeps(self, address, image):
        """Pushes an image and pulls it."""
        self.output("crane", "append", "--new_layer", self.folder / "layer.tar", "--new_tag", f"{address}/team/{image}")
        self.pulls(address, image)

    def pulls(self, address, image):
        self.output("crane", "validate", "--remote", f"{address}/team/{image}")


class Connection:
    """A connection of ann's."""

    def __init__(self, site, address):
        self.site = site
        context = ssl.create_default_context(cafile=site.certificate)
        self.stream = http.client.HTTPSConnection(address, context=context, timeout=PATIENCE)

    def begins(self, method, target, length):
        self.stream.putrequest(method, target)
        self.stream.putheader("Authorization", f"Basic {LOGIN}")
        self.stream.putheader("Content-Length", str(length))
        self.stream.endheaders()

    def sends(self, content):
        self.stream.send(content)

    def answered(self, status):
        """The location of an answer with this status."""
        answer = self.stream.getresponse()
        body = answer.read()
        if answer.status != status:
            raise SystemExit(f"compose: {answer.status}, and not {status}: {body[:500]}{self.site.logs()}")
        return answer.getheader("Location")

    def asks(self, method, target, status):
        self.begins(method, target, 0)
        return self.answered(status)


if __name__ == "__main__":
    sys.exit(main())
