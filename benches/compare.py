#!/usr/bin/env python3
"""The registry beside distribution (registry:2's successor): rates, CPU time and memory, in alternating runs.

    cargo build --release
    GOBIN=/tmp/bin go install github.com/distribution/distribution/v3/cmd/registry@v3.1.1
    benches/compare.py target/release/registry --peer /tmp/bin/registry

Both serve a directory of their own on loopback, with their defaults and no access log. Each round measures one after
the other, and the table has the medians and, behind each figure, the range. CPU time is the server's own, user and
system, from /proc; that of the client is not in it. Rates are taken with `wrk` (Debian's package), everything else with
plain sockets. The kernel discards what is pulled (`MSG_TRUNC`), and sends what is pushed from the page cache, so that
the client costs little. The machine should have nothing else to do; ratios survive a busy one better than rates do.

How large blobs leave depends on TCP's congestion control: BBR paces what it sends, CUBIC does not. The system's is printed,
and the large blob is measured with both of them, where the kernel has them and lets the caller choose: they are set on
the sockets that the servers listen on (`pidfd_getfd`, `TCP_CONGESTION`), and the system's stays as it is.

Without `--peer` only the absolute figures are taken. `--only NAME` (may be repeated) takes some of them.
"""

import argparse
import atexit
import ctypes
import errno
import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

GIB = 1 << 30
MIB = 1 << 20
TICK = os.sysconf("SC_CLK_TCK")
INDEX = "application/vnd.oci.image.index.v1+json"
SYSTEMS_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
PIDFD_GETFD = 438
MANIFEST = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % INDEX.encode()


class Server:
    """A registry's process, on a directory that goes with it."""

    def __init__(self, name, program, peer, scratch, congestion=None, storage=None):
        self.name = name
        self.data = Path(tempfile.mkdtemp(dir=scratch))
        self.port = free_port()
        address = f"127.0.0.1:{self.port}"
        if peer or storage:
            storage = storage or f"{{ filesystem: {{ rootdirectory: {self.data}/data }}, delete: {{ enabled: true }} }}"
            config = self.data / "config.yml"
            config.write_text(
                "version: 0.1\n"
                "log: { level: error, accesslog: { disabled: true } }\n"
                f"storage: {storage}\n"
                f'http: {{ addr: "{address}", secret: compare }}\n'
            )
            command = [program, "serve", str(config)]
        else:
            command = [program, "serve", "--addr", address, "--root", str(self.data / "data")]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.data), "OTEL_TRACES_EXPORTER": "none"}
        if storage and not peer:
            # The peer collects by hand only.
            environment["REGISTRY_STORAGE_MAINTENANCE_COLLECT_ENABLED"] = "false"
        with open(self.data / "log", "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        # Also if the program ends by an error.
        atexit.register(self.process.kill)
        # At first it races at its bucket, if it has one.
        deadline = time.monotonic() + 120
        while not self.answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"{command} does not answer:\n{(self.data / 'log').read_text()}")
            time.sleep(0.01)
        if congestion:
            for listener in listeners(self.process.pid):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())

    def answers(self):
        """True once it listens, and has reached its storage."""
        try:
            connection = Connection(self.port)
        except ConnectionRefusedError:
            return False
        connection.send_head("GET", "/v2/bench/none/tags/list")
        status, _ = connection.read_head()
        connection.close()
        return status != 503

    def cpu(self):
        """Seconds of CPU time so far, of all threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICK

    def peak(self):
        """The most memory that was resident, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.data)


def listeners(pid):
    """The sockets that a process listens on. Those that it accepts have their congestion control."""
    process, found = os.pidfd_open(pid), []
    for number in os.listdir(f"/proc/{pid}/fd"):
        # The process goes on: a connection may be closed between one line and the next.
        try:
            if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                continue
        except FileNotFoundError:
            continue
        copy = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, int(number), 0)
        if copy < 0:
            if ctypes.get_errno() == errno.EBADF:
                continue
            raise OSError(ctypes.get_errno(), f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
        copied = socket.socket(fileno=copy)
        if copied.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and copied.family != socket.AF_UNIX:
            found.append(copied)
    os.close(process)
    return found


def congestion_controls():
    """Those of CUBIC and BBR that may be chosen here; otherwise whatever the system has."""
    chosen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("cubic", "bbr"):
            try:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
                listeners(os.getpid())
                chosen.append(name)
            except OSError as error:
                print(f"{name} is not measured: {error}", file=sys.stderr)
    return chosen or [None]


class Connection:
    """One kept-alive connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self):
        self.socket.close()

    def send_head(self, method, target, length=0, **headers):
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1"]
        if method not in ("GET", "HEAD"):
            lines.append(f"Content-Length: {length}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def read_head(self):
        """The status, and the headers in lower case."""
        while b"\r\n\r\n" not in self.rest:
            part = self.socket.recv(65536)
            if not part:
                raise ConnectionError("closed before an answer")
            self.rest += part
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(status.split()[1]), headers

    def discard(self, length):
        """Takes a body of this length without copying it."""
        left = length - len(self.rest)
        self.rest = b""
        nowhere = bytearray(MIB)
        while left > 0:
            taken = self.socket.recv_into(nowhere, min(left, MIB), socket.MSG_TRUNC)
            if taken == 0:
                raise ConnectionError("closed within a body")
            left -= taken

    def ask(self, method, target, body=b"", expect=200, **headers):
        self.send_head(method, target, len(body), **headers)
        if body:
            self.socket.sendall(body)
        return self.finish(method, target, expect)

    def finish(self, method, target, expect):
        status, headers = self.read_head()
        if method != "HEAD":
            self.discard(int(headers.get("content-length", 0)))
        if status != expect:
            raise RuntimeError(f"{method} {target}: {status}, not {expect}")
        return headers

    def open_upload(self, repository):
        location = self.ask("POST", f"/v2/{repository}/blobs/uploads/", expect=202)["location"]
        return re.sub(r"^https?://[^/]+", "", location)

    def push(self, repository, digest, content):
        """Pushes bytes, or a file, in one PUT."""
        upload = self.open_upload(repository)
        target = f"{upload}{'&' if '?' in upload else '?'}digest={digest}"
        octets = {"Content_Type": "application/octet-stream"}
        if isinstance(content, bytes):
            self.ask("PUT", target, content, 201, **octets)
        else:
            self.send_head("PUT", target, content.stat().st_size, **octets)
            with content.open("rb") as file:
                self.socket.sendfile(file)
            self.finish("PUT", target, 201)


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def layer(scratch, size, seed):
    """A file that nothing compresses or shares blocks of, and its digest."""
    path, hasher = scratch / f"layer-{seed}", hashlib.sha256()
    block = bytearray(os.urandom(MIB))
    with path.open("wb") as file:
        for number in range(size // MIB):
            block[:16] = (seed << 64 | number).to_bytes(16, "big")
            file.write(block)
            hasher.update(block)
    return path, "sha256:" + hasher.hexdigest()


def blob(server, size):
    """Pushes a blob of this size, and returns its path."""
    content = os.urandom(size)
    connection = Connection(server.port)
    connection.push("bench/app", sha256(content), content)
    connection.close()
    return f"/v2/bench/app/blobs/{sha256(content)}"


def wrk(server, path, seconds, *options):
    """Requests a second, and microseconds of the server's CPU time for each."""
    before = server.cpu()
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", *options, f"http://127.0.0.1:{server.port}{path}"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(printed)
    requests = int(re.search(r"(\d+) requests in", printed)[1])
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1]),
        "cpu": (server.cpu() - before) / requests * 1e6,
    }


# What is measured. Each takes a server and the scratch directory, and returns figures by name.


def manifest_get(server, scratch):
    connection = Connection(server.port)
    connection.ask("PUT", "/v2/bench/app/manifests/latest", MANIFEST, 201, Content_Type=INDEX)
    connection.close()
    return wrk(server, "/v2/bench/app/manifests/latest", 4, "-H", f"Accept: {INDEX}")


def blob_get(server, scratch):
    return wrk(server, blob(server, 10 << 10), 4)


def latency(server, scratch):
    figures = {}
    for size in (2_000, 10 << 10):
        path, connection, times = blob(server, size), Connection(server.port), []
        for _ in range(1000):
            begun = time.perf_counter()
            connection.ask("GET", path)
            times.append((time.perf_counter() - begun) * 1e3)
        connection.close()
        figures[f"p50_{size}"] = statistics.median(times)
        figures[f"p99_{size}"] = statistics.quantiles(times, n=100)[98]
    return figures


def large(server, scratch):
    # A digest of its own each time, or the blob would be there already.
    path, digest = layer(scratch, GIB, time.monotonic_ns())
    connection = Connection(server.port)
    begun = server.cpu(), time.monotonic()
    connection.push("bench/app", digest, path)
    pushed = server.cpu(), time.monotonic()
    path.unlink()
    connection.ask("GET", f"/v2/bench/app/blobs/{digest}")
    pulled = server.cpu(), time.monotonic()
    connection.ask("DELETE", f"/v2/bench/app/blobs/{digest}", expect=202)
    connection.close()
    for data in server.data.glob("data/docker/registry/v2/blobs/sha256/*/*/data"):
        if data.stat().st_size == GIB:
            data.unlink()
    return {
        "push_cpu": pushed[0] - begun[0],
        "push_wall": pushed[1] - begun[1],
        "pull_cpu": pulled[0] - pushed[0],
        "pull_wall": pulled[1] - pushed[1],
        "peak": server.peak(),
    }


def uploads(server, scratch):
    """64 uploads of 16 MiB, all of them open at once."""
    path, digest = layer(scratch, 16 * MIB, 64)
    together = threading.Barrier(64)

    def push(number):
        connection = Connection(server.port)
        together.wait()
        connection.push(f"bench/app{number}", digest, path)
        connection.close()

    threads = [threading.Thread(target=push, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path.unlink()
    return {"peak": server.peak()}


def idle(server, scratch):
    """2,000 connections that have asked once."""
    connections = [Connection(server.port) for _ in range(2000)]
    for connection in connections:
        connection.ask("GET", "/v2/")
    figures = {"peak": server.peak()}
    for connection in connections:
        connection.close()
    return figures


# Name: how, whether on a process of its own (so that the peak is its own), and what is shown of it: figure, unit,
# the most it may be, and the most or (negative) the least of the peer's.
MEASURES = {
    "manifest": (manifest_get, False, [("rate", "requests/s", None, -2), ("cpu", "us/request", None, None)]),
    "blob": (blob_get, False, [("rate", "requests/s", None, -5), ("cpu", "us/request", None, None)]),
    "latency": (
        latency,
        False,
        [("p50_2000", "ms", 1, None), ("p99_2000", "ms", None, None)]
        + [("p50_10240", "ms", 1, None), ("p99_10240", "ms", None, None)],
    ),
    "large": (
        large,
        True,
        [("push_cpu", "s/GiB", None, 0.75), ("pull_cpu", "s/GiB", None, 0.5)]
        + [("push_wall", "s/GiB", None, None), ("pull_wall", "s/GiB", None, None), ("peak", "MiB", 64, None)],
    ),
    "uploads": (uploads, True, [("peak", "MiB", 128, None)]),
    "idle": (idle, True, [("peak", "MiB", 96, None)]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the registry's binary, a release build")
    parser.add_argument("--peer", help="distribution's binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=MEASURES, help="take only this (may be repeated)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    # 2,000 connections.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    programs = [("ours", arguments.program, False)]
    if arguments.peer:
        programs.append(("peer", arguments.peer, True))
    with tempfile.TemporaryDirectory() as directory:
        missed = measure(programs, arguments, Path(directory))
    sys.exit(1 if missed else 0)


def measure(programs, arguments, scratch):
    missed, system = 0, SYSTEMS_CONGESTION.read_text().strip()
    print(f"TCP's congestion control: {system}, where no other is named\n")
    print("| figure | unit | ours | peer | ratio | target | |\n|---|---|---|---|---|---|---|")
    for name in arguments.only or MEASURES:
        for congestion in congestion_controls() if name == "large" else [None]:
            missed += measure_one(name, congestion, programs, arguments.rounds, scratch)
    return missed


def measure_one(name, congestion, programs, rounds, scratch):
    """Prints the lines of one measure, and returns how many targets were missed."""
    how, alone, shown = MEASURES[name]
    taken = {who: [] for who, _, _ in programs}
    servers = {} if alone else {who: Server(who, *rest, scratch, congestion) for who, *rest in programs}
    for _ in range(rounds):
        for who, *rest in programs:
            server = servers.get(who) or Server(who, *rest, scratch, congestion)
            taken[who].append(how(server, scratch))
            if alone:
                server.stop()
    for server in servers.values():
        server.stop()
    label = f"{name}, {congestion}:" if congestion else name
    return sum(not row(f"{label} {figure}", unit, most, share, figure, taken) for figure, unit, most, share in shown)


def row(label, unit, most, share, figure, taken):
    """Prints a line of the table; false if its target was missed."""
    cells, medians = [], {}
    for who in ("ours", "peer"):
        values = sorted(figures[figure] for figures in taken.get(who, []))
        if values:
            medians[who] = statistics.median(values)
            cells.append(f"{medians[who]:.4g} ({values[0]:.4g}–{values[-1]:.4g})")
        else:
            cells.append("")
    ratio = medians["ours"] / medians["peer"] if "peer" in medians else None
    target, met = "", True
    if most is not None:
        target, met = f"< {most}", medians["ours"] < most
    elif share is not None and ratio is not None:
        target = f">= {-share}x" if share < 0 else f"<= {share:.2g}x"
        met = ratio >= -share if share < 0 else ratio <= share
    verdict = ("met" if met else "MISSED") if target else ""
    print(f"| {label} | {unit} | {' | '.join(cells)} | {f'{ratio:.2f}' if ratio else ''} | {target} | {verdict} |", flush=True)
    return met


if __name__ == "__main__":
    main()
