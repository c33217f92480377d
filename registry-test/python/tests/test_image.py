"""The container image: built from its Dockerfile, and run without a file of the system.

Base images are not available everywhere. Busybox and a `cargo` that returns the program under test replace the compiler.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import registry_test

REPOSITORY = Path(__file__).parents[3]

RUSTC = "#!/bin/sh\necho 'host: here'\n"
CARGO = """#!/bin/sh
set -e
[ -f Cargo.lock ]
mkdir -p target/here/release
cp /bin/program target/here/release/registry-test
"""


def missing():
    """Returns the reason for which images cannot be built here, if there is one."""
    if os.geteuid() != 0:
        return "images are built by root"
    absent = [program for program in ("buildah", "busybox", "chroot") if shutil.which(program) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@pytest.fixture
def buildah(tmp_path):
    """Runs buildah with a storage of its own, and returns what it prints."""
    reason = missing()
    if reason and os.environ.get("REGISTRY_TEST_REQUIRE_TOOLS") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)

    def run(*arguments):
        command = ["buildah", "--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        done = subprocess.run([*command, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    yield run
    run("rm", "--all")


@pytest.fixture
def compiler(buildah, tmp_path):
    """Replacement of the image with the compiler."""
    programs = tmp_path / "compiler" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), programs / "busybox")
    for name in ("cp", "dirname", "mkdir", "sed", "sh"):
        (programs / name).symlink_to("busybox")
    shutil.copy(registry_test._binary.find(), programs / "program")
    for name, script in (("cargo", CARGO), ("rustc", RUSTC)):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    container = buildah("from", "scratch")
    buildah("copy", "--quiet", container, programs.parent, "/")
    buildah("config", "--env", "PATH=/bin", container)
    buildah("commit", "--quiet", container, "localhost/compiler")
    return "localhost/compiler"


def test_the_program_runs_in_the_image_alone(buildah, compiler, tmp_path):
    context = tmp_path / "context"
    for file in ("Cargo.lock", "registry-test/build", "registry-test/Dockerfile"):
        (context / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, context / file)
    dockerfile = context / "registry-test" / "Dockerfile"
    buildah("build", "--build-arg", f"RUST={compiler}", "--tag", "localhost/registry-test", "--file", dockerfile, context)

    container = buildah("from", "localhost/registry-test")
    entrypoint = json.loads(buildah("inspect", container))["OCIv1"]["config"]["Entrypoint"]
    root = Path(buildah("mount", container))
    assert sorted(path.name for path in root.iterdir() if path.name not in ("dev", "etc", "proc", "run", "sys")) == [
        "registry-test",
        "tmp",
    ]
    # An engine provides the devices.
    (root / "dev").mkdir(exist_ok=True)
    for device, minor in (("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / device, 0o20666, os.makedev(1, minor))
    # The last flag of a kind counts: the ports of the image may be in use here.
    arguments = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--tls"]
    command = ["chroot", root, *entrypoint, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        announced = json.loads(process.stdout.readline())
        assert (root / announced["ca"].lstrip("/")).read_text().startswith("-----BEGIN CERTIFICATE-----")
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()
