#!/usr/bin/env python3
"""Compiles each library alone: with its default features, without any, and with each other set of them.

In a build of the whole workspace one crate turns on the features of another's dependencies, and hides what that one
forgot to ask for.
"""

import json
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    wanted = [(package["name"], choice) for package in metadata["packages"] for choice in choices(package)]
    failed = 0
    for name, choice in wanted:
        start = time.monotonic()
        command = ["cargo", "check", "--quiet", "--locked", "--package", name, *choice]
        done = subprocess.run(command, check=False, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        print(done.stderr, end="", file=sys.stderr)
        print(f"features: {name} {' '.join(choice)}: {time.monotonic() - start:.1f} s", flush=True)
        # A warning is an error here as well: a feature that is off leaves an import without a use.
        failed += done.returncode != 0 or "warning" in done.stderr
    print(f"features: {len(wanted) - failed} of {len(wanted)} compile alone")
    return 1 if failed or not wanted else 0


def choices(package):
    """The options that choose features: the defaults, none, and every other set, each set of features once."""
    if package["publish"] == []:
        return
    features = package["features"]
    names = sorted(features.keys() - {"default"})
    seen = set()
    for chosen in [("default",), *(chosen for size in range(len(names) + 1) for chosen in combinations(names, size))]:
        enabled = implied(chosen, features) - {"default"}
        if enabled not in seen:
            seen.add(enabled)
            yield () if chosen == ("default",) else ("--no-default-features", *listed(chosen))


def listed(chosen):
    return ("--features", ",".join(chosen)) if chosen else ()


def implied(chosen, features):
    """All features that some features enable, themselves included."""
    enabled, waiting = set(), [name for name in chosen if name in features]
    while waiting:
        name = waiting.pop()
        if name not in enabled:
            enabled.add(name)
            waiting += [other for other in features[name] if other in features]
    return frozenset(enabled)


if __name__ == "__main__":
    sys.exit(main())
