#!/usr/bin/env python3
"""Checks the deployments of `deploy/`: renders each of them, and compares it with the schemas, our rules and the server.

Each kustomization and the chart with each file of values of `ci/` are rendered, and those of the guide. Then
`registry config check` reads each configuration, and the server is started with it and asked what the probes ask. The
argument is its program, as the tests build it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import kubernetes
import manifests
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
KUSTOMIZE, CHART, GUIDE = ROOT / "deploy/kubernetes", ROOT / "deploy/helm/registry", ROOT / "docs/kubernetes.md"
IMAGE = "image.repository=registry.example.com/registry"
# Values that the chart refuses, with a part of what it says.
REFUSED = (
    (("users.anonymous=true", "image.repository="), "image.repository is not set"),
    ((IMAGE,), "nobody could log in"),
    ((IMAGE, "users.anonymous=true", "users.htpasswd=ann"), "users.anonymous is true, and there are users"),
    ((IMAGE, "users.anonymous=true", "config.http.draintimeout=1h"), "drainSeconds"),
    ((IMAGE, "users.anonymous=true", "config.http.debug.addr=:1"), "config.http.debug.addr"),
    ((IMAGE, "users.anonymous=true", "storage.type=disk"), "storage"),
    ((IMAGE, "users.anonymous=true", "replica=2"), "replica"),
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
        print(f"deployments: {count} objects of {len(rendered)} renderings are valid, and the server answers the probes")
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
    """What the guide's files make: its kustomizations, and its values one after the other, each beside the first one."""
    folder.mkdir()
    (folder / "config.yml").write_text((KUSTOMIZE / "fs/config.yml").read_text())
    (folder.parent / "registry").symlink_to(ROOT)
    blocks = re.findall(r"^```yaml (\w+)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    kustomizations = [text for name, text in blocks if name == "kustomization"]
    for number in range(len(kustomizations)):
        (folder / "kustomization.yaml").write_text("".join(kustomizations[: number + 1]))
        yield f"kustomization {number + 1} of the guide", kubernetes.documents(output("kustomize", "build", folder))
    values = [folder / f"{number}.yaml" for number, (name, _) in enumerate(blocks) if name == "values"]
    for file in values:
        file.write_text(blocks[int(file.stem)][1])
        options = [word for chosen in sorted({values[0], file}) for word in ("--values", chosen)]
        yield f"values {values.index(file) + 1} of the guide", kubernetes.documents(template(*options))


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
    with tempfile.TemporaryDirectory() as folder:
        config = furnish(Path(folder), objects)
        command = [program, "config", "check", config]
        checked = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # A notice, too: nothing may be ignored.
        if checked.returncode != 0 or checked.stderr:
            yield f"config check: {checked.stderr}"
            return
        with serving(program, config, Path(folder)) as ports:
            (workload,) = (thing for thing in objects if thing["kind"] in manifests.WORKLOADS)
            asked = {(path, port) for path, port in manifests.probes(workload).values()}
            for path, port in sorted(asked | {("/metrics", "metrics")}):
                status = answer(f"{ports[port]}{path}")
                if status != 200:
                    yield f"the server answers {status} to {path} on the port {port}"
            wanted = 200 if manifests.configuration(objects)["auth"] == "none" else 401
            if (status := answer(f"{ports['http']}/v2/")) != wanted:
                yield f"the server answers {status} to a client without a login"


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


@contextmanager
def serving(program, config, folder):
    """The server; the addresses of its ports by the names that the manifests have for them."""
    with open(folder / "log", "w") as log:
        command = [program, "serve", config]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            ports = {}
            for line in server.stderr:
                log.write(line)
                message = json.loads(line)["msg"]
                if found := re.match(r"listening on (https?://\S+)", message):
                    ports["http"] = found[1]
                if found := re.match(r"debug server listening on (\S+):", message):
                    ports["metrics"] = f"http://{found[1]}"
                if len(ports) == 2:
                    break
            else:
                raise SystemExit(f"deployments: the server does not start: {(folder / 'log').read_text()}")
            yield ports
        finally:
            server.terminate()
            server.communicate()


def answer(url):
    try:
        return int(output("curl", "-sk", "-o", os.devnull, "-w", "%{http_code}", url))
    except subprocess.CalledProcessError as error:
        return f"nothing ({error})"


if __name__ == "__main__":
    sys.exit(main())
