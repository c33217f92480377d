#!/usr/bin/env python3
"""Compiles the libraries with the oldest versions of their dependencies that the manifests allow.

Cargo's lock has the newest versions. A manifest that names an older version than the code needs is noticed by users only
whose own lock has that one. Dependencies of dependencies are as in the lock, so that a run has the same versions as the
one before. It works in a copy, whose lock cargo makes with an unstable option, hence `RUSTC_BOOTSTRAP`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "[[package]]\n"


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    copy = target / "ci" / "minimal"
    copied(copy)
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    packages = json.loads(subprocess.run(command, cwd=copy, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    lock = copy / "Cargo.lock"
    direct = {dependency["name"] for package in packages for dependency in package["dependencies"]}
    lock.write_text(without(lock.read_text(), direct))

    unstable = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
    command = ["cargo", "update", "--quiet", "--workspace", "-Z", "direct-minimal-versions"]
    if subprocess.run(command, check=False, cwd=copy, env=unstable).returncode:
        print("minimal versions: a dependency needs a newer version than a manifest names: raise it there", file=sys.stderr)
        return 1
    names = [package["name"] for package in packages if package["publish"] != []]
    chosen = [option for name in names for option in ("--package", name)]
    command = ["cargo", "check", "--quiet", "--locked", "--all-features", "--lib", "--bins", *chosen]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    if subprocess.run(command, check=False, cwd=copy, env=environment).returncode:
        print("minimal versions: raise the version in the manifest that the code needs", file=sys.stderr)
        return 1
    print(f"minimal versions: {len(names)} crates compile with the oldest versions that they name")
    return 0 if names else 1


def copied(copy):
    """Copies what git knows, and what it would."""
    shutil.rmtree(copy, ignore_errors=True)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def without(lock, names):
    """A lock without the packages of these names, except for our own."""
    head, *blocks = lock.split(PACKAGE)
    kept = (
        block
        for block in blocks
        if re.match(r'name = "(.*)"', block)[1] not in names or "\nsource = " not in block
    )
    return head + "".join(PACKAGE + block for block in kept)


if __name__ == "__main__":
    sys.exit(main())
