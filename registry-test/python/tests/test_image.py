"""The container image: what its Dockerfile puts into an empty image runs there, without a file of the system."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import registry_test

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_the_program_runs_in_an_empty_image(tmp_path):
    lines = DOCKERFILE.read_text().splitlines()
    stage = lines[lines.index("FROM scratch") :]
    [program] = [line.split()[-1] for line in stage if line.startswith("COPY --from=build ")]
    assert any(re.fullmatch(rf"RUN registry-test/build {program}", line) for line in lines)
    [folder] = [line.split()[-1] for line in stage if line.startswith("WORKDIR ")]
    [entrypoint] = [json.loads(line.removeprefix("ENTRYPOINT ")) for line in stage if line.startswith("ENTRYPOINT ")]

    # An engine provides the devices.
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    (root / folder[1:]).mkdir()
    for device, minor in (("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / device, 0o20666, os.makedev(1, minor))
    shutil.copy(registry_test._binary.find(), root / program[1:])
    arguments = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--tls"]
    process = subprocess.Popen(["chroot", str(root), *entrypoint, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        announced = json.loads(process.stdout.readline())
        assert announced["ca"].startswith(folder)
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()
