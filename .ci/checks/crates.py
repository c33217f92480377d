#!/usr/bin/env python3
"""Checks which crates of the workspace depend on which, and what each of them brings with it.

`CRATES` is the whole list: a member of the workspace that is not in it fails, so that a new crate gets its place first.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

ANY = object()
RUNTIMES = frozenset({"async-std", "smol", "tokio"})
SERVERS = frozenset({"axum", "hyper"})


@dataclass(frozen=True)
class Rule:
    """Rules for one crate."""

    # The crates of the workspace that it may depend on, by a feature or always.
    may_use: object = frozenset()
    # What it must not reach by normal dependencies, whatever its features.
    never: frozenset = field(default_factory=frozenset)
    # Whether its own code may name axum.
    names_axum: bool = False
    # The most packages in its tree of normal dependencies, with default features, itself included.
    packages: int | None = None
    # The same with a feature, by its name.
    packages_with: dict = field(default_factory=dict)


CORE = frozenset({"registry-core"})
# The same rules for reading and reloading a file in three places: users, access rules, certificates.
RELOAD = frozenset({"registry-reload"})

CRATES = {
    "registry-core": Rule(never=RUNTIMES | SERVERS | {"rustix"}, packages=40),
    # Adapters, backends and authenticators: the core, and never each other.
    "registry-axum": Rule(may_use=CORE, names_axum=True, packages=60),
    "registry-listener": Rule(may_use=CORE | {"registry-tls"}, never=frozenset({"axum"}), packages=65),
    "registry-storage-fs": Rule(may_use=CORE, never=SERVERS),
    # The client of object stores brings hyper.
    "registry-storage-object": Rule(may_use=CORE, never=frozenset({"axum"})),
    "registry-auth-htpasswd": Rule(may_use=CORE | RELOAD, never=SERVERS),
    "registry-auth-rules": Rule(may_use=CORE | RELOAD, never=SERVERS),
    "registry-metrics": Rule(may_use=CORE, never=RUNTIMES | SERVERS | {"rustix"}),
    # Of use without a registry.
    "registry-reload": Rule(never=RUNTIMES | SERVERS, packages=2),
    "registry-tls": Rule(may_use=RELOAD, never=frozenset({"axum"})),
    "registry-doctor": Rule(never=frozenset({"axum"})),
    "registry-health": Rule(never=SERVERS | {"rustix"}),
    # Suites for backends and registries.
    "registry-conformance": Rule(may_use=CORE, never=SERVERS),
    # Images. Other registries come with a feature, and with the client its runtime.
    "registry-image": Rule(may_use=CORE | {"registry-client"}, never=frozenset({"axum"}), packages=60),
    # A fixture of other programs' tests: a small tree, with a server.
    "registry-test": Rule(may_use=CORE, never=frozenset({"axum", "clap"}), packages=50, packages_with={"tls": 65}),
    # A client in other programs: a small tree.
    "registry-client": Rule(may_use=CORE, never=frozenset({"axum"}), packages=80),
    # Stores for the tests of others, without a registry.
    "object-stores": Rule(may_use=frozenset({"registry-conformance"}), never=frozenset({"axum"})),
    # Hosts, on the public API of the others.
    "registry-server": Rule(may_use=ANY, names_axum=True),
    "registry-example-standalone": Rule(
        may_use=CORE | {"registry-axum", "registry-listener", "registry-storage-fs"}, names_axum=True
    ),
    "registry-examples": Rule(may_use=ANY, names_axum=True),
    # Documentation with the code of hosts in it.
    "registry-guide": Rule(may_use=ANY, names_axum=True),
    "registry-fuzz": Rule(may_use=CORE | {"registry-client", "registry-image"}, never=frozenset({"axum"})),
}


def main():
    metadata = cargo_metadata("--all-features")
    packages = {package["id"]: package for package in metadata["packages"]}
    members = [packages[identity] for identity in metadata["workspace_members"]]
    limits = dict(size_limits(CRATES))
    sizes = {(name, feature): tree(name, feature) for name, feature in limits}

    problems = [
        *arrows(members, CRATES),
        *unwanted(metadata["resolve"]["nodes"], packages, CRATES),
        *unpublishable(members),
        *oversized(sizes, limits),
    ]
    for problem in problems:
        print(f"crates: {problem}", file=sys.stderr)
    for built, size in sizes.items():
        print(f"crates: {spelled(*built)} has {len(size)} packages in its tree, of {limits[built]} at most")
    return 1 if problems else 0


def arrows(members, rules):
    """Dependencies between crates of the workspace that are not in the list, by their manifests.

    Dependencies of tests are free: tests drive a crate through the others, and nobody who depends on it builds them.
    """
    names = {member["name"] for member in members}
    for missing in sorted(rules.keys() - names):
        yield f"there is no crate {missing} any more: remove it from the list"
    for member in members:
        name, rule = member["name"], rules.get(member["name"])
        if rule is None:
            yield f"{name} is not in the list: say there which crates it may depend on"
            continue
        for dependency in member["dependencies"]:
            ours = dependency["kind"] != "dev" and dependency["name"] in names
            if ours and rule.may_use is not ANY and dependency["name"] not in rule.may_use:
                yield f"{name} depends on {dependency['name']}, and may not"
            if dependency["name"] == "axum" and not rule.names_axum:
                yield f"{name} depends on axum, even if only in tests, and may not"


def unwanted(nodes, packages, rules):
    """Packages that a crate reaches by normal dependencies of others, and must not."""
    normal = {
        node["id"]: [
            dependency["pkg"]
            for dependency in node["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        for node in nodes
    }
    for identity in normal:
        package = packages[identity]
        if package["source"] is None and package["name"] in rules:
            reached = {packages[other]["name"] for other in closure(identity, normal)}
            for name in sorted(reached & rules[package["name"]].never):
                yield f"{package['name']} reaches {name}, and may not"


def unpublishable(members):
    """Circles, also through dependencies of tests: there must be an order in which to publish the crates."""
    names = {member["name"] for member in members}
    needs = {member["name"]: sorted({one["name"] for one in depended(member)} & names) for member in members}
    for name in sorted(names):
        if name in closure(name, needs):
            yield f"{name} depends on itself, by {', '.join(sorted(closure(name, needs)))}"


def depended(member):
    """Dependencies of a crate, without itself with features for its own tests: nothing of that is published."""
    for one in member["dependencies"]:
        if one["name"] != member["name"] or one["kind"] != "dev" or one["req"] != "*":
            yield one


def size_limits(rules):
    """Each crate, with a feature or none, whose tree has a limit."""
    for name, rule in rules.items():
        if rule.packages:
            yield (name, None), rule.packages
        for feature, packages in rule.packages_with.items():
            yield (name, feature), packages


def oversized(sizes, limits):
    for built, size in sizes.items():
        if len(size) > limits[built]:
            names = ", ".join(sorted(size))
            yield f"{spelled(*built)} has {len(size)} packages in its tree, of {limits[built]} at most: {names}"


def spelled(name, feature):
    return f"{name} with {feature}" if feature else name


def closure(start, edges):
    reached, waiting = set(), [start]
    while waiting:
        for target in edges[waiting.pop()]:
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def cargo_metadata(*options):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", *options]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def tree(package, feature):
    """Names and versions in the tree of normal dependencies that somebody builds who depends on it."""
    command = ["cargo", "tree", "--package", package, "--edges", "normal", "--prefix", "none", "--locked"]
    command += ["--features", feature] if feature else []
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {" ".join(line.split()[:2]) for line in printed.splitlines() if line}


if __name__ == "__main__":
    sys.exit(main())
