#!/usr/bin/env python3
"""Checks the public API of each library, with one run of rustdoc: `public_types.py`, `shared_types.py`,
`cancel_safety.py` and `listing.py`. With `--write`, it updates the listings in `api/`.

It reads what rustdoc knows (`--output-format json`), after macros and re-exports. rustdoc prints that for nightly
compilers only, hence `RUSTC_BOOTSTRAP`. It is set for rustdoc alone: build scripts that see it would have every crate
built again.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import cancel_safety
import listing
import public_types
import shared_types

ROOT = Path(__file__).resolve().parent.parent.parent


def main():
    problems = list(unlisted())
    if not problems:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            documents = documented(folder)
            listings = listing.made(documents, folder)
        if sys.argv[1:] == ["--write"]:
            listing.write(listings)
            return 0
        for package, path in documents.items():
            document = json.loads(path.read_text())
            for part in (public_types, shared_types, cancel_safety):
                problems += part.problems(package, document)
        problems += listing.problems(listings, listing.committed())
    for problem in problems:
        print(f"api: {problem}", file=sys.stderr)
    if not problems:
        print(f"api: {len(documents)} crates: listings, types, bounds and cancel safety are as they should be")
    return 1 if problems else 0


def unlisted():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    libraries = {package["name"] for package in metadata["packages"] if package["publish"] != []}
    for name in sorted(libraries ^ public_types.ALLOWED.keys()):
        yield f"{name} is not in the list" if name in libraries else f"there is no library {name} any more"


def documented(folder):
    """The file with rustdoc's description of each library."""
    rustdoc = folder / "rustdoc"
    rustdoc.write_text('#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n')
    rustdoc.chmod(rustdoc.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "RUSTDOC": str(rustdoc),
        "RUSTDOCFLAGS": "-Z unstable-options --output-format json --cap-lints allow",
    }
    packages = [option for name in public_types.ALLOWED for option in ("--package", name)]
    command = ["cargo", "doc", "--locked", "--no-deps", "--all-features", *packages]
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return {name: target() / "doc" / f"{name.replace('-', '_')}.json" for name in public_types.ALLOWED}


def target():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


if __name__ == "__main__":
    sys.exit(main())
