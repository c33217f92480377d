#!/usr/bin/env python3
"""Checks that every crate that may be published carries what its page and its users need, and can be packaged.

Packaging resolves each manifest as it is published, with the other crates from a registry. It does not build them:
`cargo publish --workspace --dry-run` does, before a release.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

FIELDS = ("description", "license", "repository", "readme", "rust_version", "keywords", "categories")
LICENCES = ("LICENSE-APACHE", "LICENSE-MIT")


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    published = [package for package in metadata["packages"] if package["publish"] != []]
    problems = [
        problem
        for package in published
        for problem in [*lacking(package), *unlicensed(package, listed(package["name"]))]
    ]
    problems += unpackaged([package["name"] for package in published])
    for problem in problems:
        print(f"packages: {problem}", file=sys.stderr)
    if not problems:
        print(f"packages: {len(published)} crates have what is needed to publish them")
    return 1 if problems or not published else 0


def lacking(package):
    for name in FIELDS:
        if not package[name]:
            yield f"{package['name']} has no `{name.replace('_', '-')}` in its Cargo.toml"
    if not ((package["metadata"] or {}).get("docs") or {}).get("rs"):
        yield f"{package['name']} has no `[package.metadata.docs.rs]` in its Cargo.toml"


def unlicensed(package, files):
    folder = Path(package["manifest_path"]).parent
    for name in LICENCES:
        if name not in files:
            yield f"{package['name']} has no {name} in its package"
        elif (folder / name).read_bytes() != (ROOT / name).read_bytes():
            yield f"{package['name']} has a {name} that differs from the workspace's"
    if package["readme"] and Path(package["readme"]).name not in files:
        yield f"{package['name']} has no {package['readme']} in its package"


def unpackaged(names):
    command = ["cargo", "package", "--quiet", "--no-verify", "--allow-dirty", "--locked"]
    chosen = [option for name in names for option in ("--package", name)]
    done = subprocess.run([*command, *chosen], check=False, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        yield f"the crates cannot be packaged together: {done.stderr.strip()}"


def listed(name):
    command = ["cargo", "package", "--list", "--allow-dirty", "--locked", "--package", name]
    return set(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split())


if __name__ == "__main__":
    sys.exit(main())
