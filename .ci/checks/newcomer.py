#!/usr/bin/env python3
"""Does what the README of registry-test tells a new user to do, in a project of its own, with the crates of this workspace.

The commands of the blocks of `sh` make the project, and the blocks of `rust` are its only test.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CRATE = ROOT / "registry-test"
# The most lines of the first test.
LINES = 10


def main():
    readme = (CRATE / "README.md").read_text()
    commands, sources = blocks(readme, "sh"), blocks(readme, "rust")
    problem = too_long(sources)
    if problem:
        print(f"newcomer: {problem}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for command in "".join(commands).replace("&&", "\n").splitlines():
            words = shlex.split(command)
            if words[0] == "cd":
                project /= words[1]
                # The versions that all other checks use.
                shutil.copy(ROOT / "Cargo.lock", project)
            else:
                cargo(project, here(words)[1:])
        (project / "tests").mkdir()
        (project / "tests/images.rs").write_text("\n".join(sources))
        return cargo(project, ["test"], check=False)


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def too_long(sources):
    if not sources:
        return "the README has no test"
    lines = [line for line in sources[0].splitlines() if line.strip()]
    if len(lines) > LINES:
        return f"the first test of the README has {len(lines)} lines, of {LINES} at most"
    return None


def here(words):
    """The same command with the crates of this workspace instead of published ones."""
    return [part for word in words for part in (["--path", str(ROOT / word)] if is_ours(word) else [word])]


def is_ours(word):
    return word.startswith("registry-") and (ROOT / word / "Cargo.toml").exists()


def cargo(project, words, check=True):
    print("newcomer: cargo", *words, flush=True)
    return subprocess.run(["cargo", *words], cwd=project, check=check, env=os.environ).returncode


if __name__ == "__main__":
    sys.exit(main())
