#!/usr/bin/env python3
"""Checks the dependency graph: licences, bans and sources as `deny.toml` has them.

This is the part of `cargo deny check bans licenses sources` that a run without cargo-deny can afford: building that
tool costs more than every other check together. The rules live in `deny.toml` alone, so that both read the same.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    used = built()
    packages = {
        package["id"]: package for package in metadata["packages"] if (package["name"], package["version"]) in used
    }
    members = [packages[identity] for identity in metadata["workspace_members"]]

    problems = [
        *licences(packages.values(), set(rules["licenses"]["allow"])),
        *bans(packages.values(), rules["bans"]["deny"]),
        *sources(packages.values()),
        *wildcards(members),
    ]
    for problem in problems:
        print(f"dependencies: {problem}", file=sys.stderr)
    if not problems:
        print(f"dependencies: {len(packages)} packages: licences, bans and sources are as they should be")
    return 1 if problems else 0


def built():
    """Name and version of what is built at all, on whatever platform.

    The metadata has more: a weak feature (`dependency?/feature`) puts an optional dependency there that nobody enabled.
    """
    command = ["cargo", "tree", "--workspace", "--all-features", "--target", "all", "--locked", "--prefix", "none"]
    tree = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = (line.split() for line in tree.splitlines() if line)
    return {(words[0], words[1].removeprefix("v")) for words in lines}


def licences(packages, allowed):
    for package in packages:
        expression = package["license"]
        if expression is None:
            yield f"{package['name']} {package['version']} declares no licence"
        elif not satisfied(expression, allowed):
            yield f"{package['name']} {package['version']}: licence {expression!r} is not among the allowed ones"


def satisfied(expression, allowed):
    """Whether an SPDX expression can be met with the allowed licences alone; AND binds tighter than OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1]

    def alternatives():
        met = terms()
        while peek() == "OR":
            take()
            met = terms() or met
        return met

    def terms():
        met = term()
        while peek() == "AND":
            take()
            met = term() and met
        return met

    def term():
        name = take()
        if name == "(":
            met = alternatives()
            if take() != ")":
                raise ValueError(f"unbalanced licence expression {expression!r}")
            return met
        if peek() == "WITH":
            take()
            # A licence with an exception grants more than the licence alone.
            return f"{name} WITH {take()}" in allowed or name in allowed
        return name in allowed

    met = alternatives()
    if position != len(tokens):
        raise ValueError(f"licence expression {expression!r} is not understood at {peek()!r}")
    return met


def bans(packages, denied):
    reasons = {ban["crate"]: ban["reason"] for ban in denied}
    for package in packages:
        if package["name"] in reasons:
            yield f"{package['name']} {package['version']} is banned: {reasons[package['name']]}"


def sources(packages):
    for package in packages:
        source = package["source"]
        if source is not None and not source.startswith("registry+"):
            yield f"{package['name']} {package['version']} comes from {source}"


def wildcards(members):
    for member in members:
        for dependency in member["dependencies"]:
            if dependency["req"] == "*" and dependency.get("path") is None:
                yield f"{member['name']} takes any version of {dependency['name']}"


if __name__ == "__main__":
    sys.exit(main())
