#!/usr/bin/env python3
"""Checks that the public API has not been broken since the last release, unless the version says so.

The last release is the last tag `v*`, and the API of both sides is that of the listings in `api/`. Without a tag there
is nothing to compare with, and the check says so. What is found is what a listing shows; cargo-semver-checks finds more,
such as the layout of a type, and takes longer to build than all checks together. Run it by hand before a release.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import listing

ROOT = Path(__file__).resolve().parent.parent.parent

REQUIRED = " // required"
EXHAUSTIVE = " // exhaustive"


def main():
    tag = last_release()
    if tag is None:
        print("semver: there is no release (no tag `v*`) to compare with")
        return 0
    was, now = (version(manifest) for manifest in (show(tag, "Cargo.toml"), (ROOT / "Cargo.toml").read_text()))
    names = git("ls-tree", "--name-only", tag, "api/").split()
    before = {Path(name).stem: show(tag, name) for name in names}
    found = list(breaks(before, listing.committed()))
    if found and not may_break(was, now):
        for problem in found:
            print(f"semver: {problem}", file=sys.stderr)
        print(f"semver: {now} breaks the API of {tag}: raise the version, or undo the change", file=sys.stderr)
        return 1
    print(f"semver: {len(before)} listings, {len(found)} breaking changes since {tag}, and the version is {now}")
    return 0 if before else 1


def last_release():
    command = ["git", "describe", "--tags", "--abbrev=0", "--match", "v*"]
    found = subprocess.run(command, check=False, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return found.stdout.strip() or None


def git(*command):
    return subprocess.run(["git", *command], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout


def show(tag, path):
    return git("show", f"{tag}:{path}")


def version(manifest):
    return tomllib.loads(manifest)["workspace"]["package"]["version"]


def may_break(was, now):
    """True if the first part of the version differs that is not 0: of 0.1.2 and 0.2.0 it is the second one."""
    old, new = ([int(part) for part in re.match(r"(\d+)\.(\d+)\.(\d+)", text).groups()] for text in (was, now))
    first = next((number for number, part in enumerate(old) if part), 2)
    return new[: first + 1] > old[: first + 1]


def breaks(before, after):
    for package in sorted(before):
        if package not in after:
            yield f"{package} is gone"
            continue
        yield from (f"{package}: {change}" for change in broken(before[package], after[package]))


def broken(before, after):
    old, new = before.splitlines(), after.splitlines()
    # A method that gets a default is still there.
    plain = {line.removesuffix(REQUIRED) for line in new}
    for line in old:
        if line.removesuffix(REQUIRED) not in plain:
            yield f"removed or changed: {line}"
    known = set(old)
    traits = {path(line) for line in old if kind(line) == "trait"}
    exhaustive = {path(line) for line in old if line.endswith(EXHAUSTIVE) or is_closed_variant(line)}
    for line in new:
        parent = path(line).rpartition("::")[0]
        if line in known or line.removesuffix(REQUIRED) in known:
            if line.endswith(REQUIRED) and line not in known:
                yield f"has no default any more: {line}"
        elif line.endswith(REQUIRED) and parent in traits:
            yield f"required of implementations of a trait: {line}"
        elif parent in exhaustive and kind(line) == "part":
            yield f"added to an exhaustive type: {line}"


# Words before the path of an item.
WORDS = re.compile(
    r"(?:#\[[^\]]*\] )*pub (?:(?:async|auto|const|enum|fn|macro|mod|static|struct|trait|type|union|unsafe|use) )*"
)


def is_closed_variant(line):
    return kind(line) == "part" and not line.startswith("#[non_exhaustive]")


def kind(line):
    """`trait`, `part` for a field or a variant, or another word."""
    words = WORDS.match(line)
    if not words:
        return ""
    last = words[0].split()[-1]
    return "part" if last == "pub" else last


def path(line):
    words = WORDS.match(line)
    return re.match(r"[\w:]*", line[words.end() :])[0].rstrip(":") if words else ""


if __name__ == "__main__":
    sys.exit(main())
