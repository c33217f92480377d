#!/usr/bin/env python3
"""Checks the deployments of `deploy/`: renders each, and compares it with the schemas, our rules and the server.

Each kustomization and the chart with each file of values of `ci/` are rendered, and those of the guide. Then
`registry config check` reads each configuration, and the server is started with it and asked what the probes ask. The
argument is its program, as the tests build it.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import kubernetes
import manifests
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
KUSTOMIZE, CHART, GUIDE = ROOT / "deploy/kubernetes", ROOT / "deploy/helm/registry", ROOT / "docs/kubernetes.md"
IMAGE, OPEN = "image.repository=registry.example.com/registry", "users.anonymous=true"
# For what takes no time on a machine without much to do.
PATIENCE = 120
# Values that the chart refuses, with a part of what it says.
REFUSED = (
    ((OPEN, "image.repository="), "image.repository is not set"),
    ((IMAGE,), "nobody could log in"),
    ((IMAGE, OPEN, "users.htpasswd=ann"), "users.anonymous is true, and there are users"),
    ((IMAGE, OPEN, "config.http.draintimeout=1h"), "drainSeconds"),
    ((IMAGE, OPEN, "config.http.debug.addr=:1"), "config.http.debug.addr"),
    ((IMAGE, OPEN, "storage.type=disk"), "storage"),
    ((IMAGE, OPEN, "replica=2"), "replica"),
    ((IMAGE, OPEN, "storage.type=s3", "storage.s3.replicas=1"), "set replicas to 1"),
    ((IMAGE, OPEN, "storage.type=s3", "storage.s3.secretkey=a"), "_S3_SECRETKEY"),
    ((IMAGE, OPEN, "storage.type=s3", "storage.s3.sessiontoken=a"), "_S3_SESSIONTOKEN"),
    ((IMAGE, OPEN, "storage.type=gcs", "storage.gcs.credentials.type=a"), "storage.gcs.keyfile"),
    ((IMAGE, OPEN, "storage.type=azure", "storage.azure.accountkey=a"), "_AZURE_ACCOUNTKEY"),
    ((IMAGE, OPEN, "storage.type=azure", "storage.azure.credentials.secret=a"), "_CREDENTIALS_SECRET"),
)


def main():
    if len(sys.argv) != 2:
        print("usage: deployments.py target/debug/registry", file=sys.stderr)
        return 2
    program = Path(sys.argv[1]).absolute()
    rendered, problems = dict(renderings()), []
    for release, schemas in kubernetes.schemas():
        for name, objects in rendered.items():
            for thing in objects:
                problems += (f"{name}: {release}: {thing['kind']}: {fault}" for fault in schemas.problems(thing))
    for name, objects in rendered.items():
        problems += (f"{name}: {fault}" for fault in manifests.faults(objects))
    problems += [*accepted(), *versions()]
    if not problems:
        for name, objects in rendered.items():
            problems += (f"{name}: {fault}" for fault in unserved(program, objects))
    for problem in problems:
        print(f"deployments: {problem}", file=sys.stderr)
    if not problems:
        count = sum(len(objects) for objects in rendered.values())
        print(f"deployments: {count} objects of {len(rendered)} renderings are valid, and the server fits them")
    return 1 if problems else 0


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def renderings():
    """The objects of each deployment, by its name."""
    for file in sorted(KUSTOMIZE.glob("*/kustomization.yaml")):
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization":
            yield str(file.parent.relative_to(ROOT)), kubernetes.documents(output("kustomize", "build", file.parent))
    for values in sorted((CHART / "ci").glob("*.yaml")):
        output("helm", "lint", "--quiet", "--strict", "--kube-version", oldest(), "--values", values, CHART)
        yield str(values.relative_to(ROOT)), kubernetes.documents(template("--values", values))
    with tempfile.TemporaryDirectory() as folder:
        yield from guide(Path(folder, "mine"))


def guide(folder):
    """What the files of the guide make, each together with the first ones of its kind."""
    folder.mkdir()
    (folder / "config.yml").write_text((KUSTOMIZE / "fs/config.yml").read_text())
    (folder.parent / "registry").symlink_to(ROOT)
    blocks = re.findall(r"^```yaml ((\w+)[-\w]*)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    for number, (kind, tool, text) in enumerate(blocks):
        first = next(text for other, _, text in blocks if other == kind)
        name = f"block {number + 1} of the guide, {kind}"
        if tool == "kustomization":
            (folder / "kustomization.yaml").write_text(first if text == first else first + text)
            yield name, kubernetes.documents(output("kustomize", "build", folder))
        else:
            files = [folder / "first.yaml", folder / "values.yaml"]
            for file, content in zip(files, (first, text)):
                file.write_text(content)
            options = [word for file in files for word in ("--values", file)]
            yield name, kubernetes.documents(template(*options))


def template(*options):
    return output("helm", "template", "images", CHART, "--kube-version", oldest(), *options)


def oldest():
    return kubernetes.RELEASES[0]


def accepted():
    """Values that the chart has to refuse, and accepts."""
    for values, message in REFUSED:
        options = [word for value in values for word in ("--set", value)]
        command = ["helm", "template", "images", CHART, "--kube-version", oldest(), *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0 or message not in done.stderr:
            said = done.stderr.strip() or "it accepts them"
            yield f"the chart does not refuse {' '.join(values)} with `{message}`: {said}"


def versions():
    """Versions that lag behind."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (ours,) = re.findall(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    if chart["appVersion"] != ours:
        yield f"the chart is for the server {chart['appVersion']}, and the workspace is {ours}"
    if chart["kubeVersion"] != f">={oldest()[1:].rpartition('.')[0]}.0-0":
        yield f"the chart declares {chart['kubeVersion']}, and {oldest()} is checked"


def unserved(program, objects):
    """What the server does not accept or answer."""
    config, variables = manifests.configuration(objects), manifests.variables(objects)
    ours = {name: value for name, value in variables.items() if name.startswith("REGISTRY_")}
    (workload,) = (thing for thing in objects if thing["kind"] in manifests.WORKLOADS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        file = furnish(folder, objects)
        environment, store = {**unset(), **ours}, None
        if "s3" in config["storage"]:
            bucket = ours.get("REGISTRY_STORAGE_S3_BUCKET", config["storage"]["s3"].get("bucket"))
            store, place = running.enter_context(bucket_of(folder, bucket))
            environment |= place
        command = [program, "config", "check", file]
        checked = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # A notice, too: nothing may be ignored.
        if checked.returncode != 0 or checked.stderr:
            yield f"config check: {checked.stderr}"
            return
        # There is no store of Google's or Azure's here.
        if config["storage"].keys() & {"gcs", "azure"}:
            return
        ports = running.enter_context(serving(program, file, environment))
        yield from unanswered(workload, config, ports)
        if store:
            store.kill()
            yield from brought_down(workload, ports)


def unanswered(workload, config, ports):
    asked = set(manifests.probes(workload).values())
    for path, port in sorted(asked | {("/metrics", "metrics")}):
        if (status := answer(f"{ports[port]}{path}")) != 200:
            yield f"the server answers {status} to {path} on the port {port}"
    wanted = 200 if config["auth"] == "none" else 401
    if (status := answer(f"{ports['http']}/v2/")) != wanted:
        yield f"the server answers {status} to a client without a login"


def brought_down(workload, ports):
    """What depends on a store that is gone, and must not; or the reverse."""
    probes = manifests.probes(workload)
    (ready, port), (alive, other) = probes["readinessProbe"], probes["livenessProbe"]
    end = time.monotonic() + PATIENCE
    while answer(f"{ports[port]}{ready}") == 200:
        if time.monotonic() > end:
            yield "the server is ready without its bucket"
            return
        time.sleep(0.1)
    if (status := answer(f"{ports[other]}{alive}")) != 200:
        yield f"the server answers {status} to the probe of its life, without its bucket"


@contextmanager
def bucket_of(folder, name):
    """A store with a bucket, as a process and variables of the server."""
    key, secret = "key-of-the-check", "secret-of-the-check"
    (folder / "store" / name).mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--port", address, "--quiet", "--keep-alive", "--health", "/health"]
    command = ["versitygw", *options, "posix", folder / "store"]
    environment = {**os.environ, "ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ended(subprocess.Popen(command, env=environment, **quiet)) as store:
        end = time.monotonic() + PATIENCE
        while answer(f"http://{address}/health") != 200:
            if store.poll() is not None or time.monotonic() > end:
                raise SystemExit("deployments: versitygw does not start")
            time.sleep(0.1)
        settings = {"REGIONENDPOINT": f"http://{address}", "ACCESSKEY": key, "SECRETKEY": secret}
        settings |= {"REGION": "us-east-1", "FORCEPATHSTYLE": "true"}
        variables = {f"REGISTRY_STORAGE_S3_{name}": value for name, value in settings.items()}
        yield store, {**variables, "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL": "1s"}


@contextmanager
def ended(process):
    """A process that ends with the block."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def furnish(folder, objects):
    """Makes the files that the pod has, each mount as Kubernetes does: a link to a link. Returns the configuration."""
    for thing in objects:
        if thing["kind"] == "ConfigMap" and "config.yml" in thing["data"]:
            config = mount(folder / "config", {"config.yml": elsewhere(thing["data"]["config.yml"], folder)})
        elif thing["kind"] == "ConfigMap":
            mount(folder / "files", thing["data"])
    # ann, secret
    mount(folder / "users", {"htpasswd": "ann:$2y$05$G01VYECVTqv6TVuBVYrEp.8dghcynCtIAoc0BBzbkAhTgLDEoOg36\n"})
    made = folder / "made"
    made.mkdir()
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", made / "tls.key"]
    command = ["openssl", "req", "-x509", "-days", "2", *subject, *key, "-out", made / "tls.crt"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    mount(folder / "tls", {file.name: file.read_text() for file in made.iterdir()})
    return config / "config.yml"


def elsewhere(text, folder):
    """The configuration with paths and ports that are free here."""
    text = text.replace("/etc/registry/", f"{folder}/").replace("/var/lib/registry", f"{folder}/images")
    return re.sub(r"addr: :500[01]$", "addr: 127.0.0.1:0", text, flags=re.MULTILINE)


def mount(folder, files):
    (folder / "..1").mkdir(parents=True)
    (folder / "..data").symlink_to("..1")
    for name, content in files.items():
        (folder / "..1" / name).write_text(content)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def unset():
    """The environment without what a registry takes for its configuration, such as the variables of the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}


@contextmanager
def serving(program, config, environment):
    """The server; the addresses of its ports by the names that the manifests have for them."""
    command = [program, "serve", config]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with ended(server):
        ports, said = {}, []
        for line in server.stderr:
            said.append(line)
            message = json.loads(line)["msg"]
            if found := re.match(r"listening on (https?://\S+)", message):
                ports["http"] = found[1]
            if found := re.match(r"debug server listening on (\S+):", message):
                ports["metrics"] = f"http://{found[1]}"
            if len(ports) == 2:
                break
        else:
            raise SystemExit(f"deployments: the server does not start: {''.join(said)}")
        # What it says from now on must not make it wait.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        yield ports


def answer(url):
    try:
        return int(output("curl", "-sk", "-o", os.devnull, "-w", "%{http_code}", url))
    except subprocess.CalledProcessError as error:
        return f"nothing ({error})"


if __name__ == "__main__":
    sys.exit(main())
