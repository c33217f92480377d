#!/usr/bin/env python3
"""Checks that doc comments open with a verb or a noun phrase ("Opens a blob", "Maximum number of tags").

A question or a relative clause leaves a reader without a subject. Only the first word of each comment counts.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

REFUSED = frozenset("As How Of That Those What When Where Whether Which Who Whom Whose Why".split())
COMMENT = re.compile(r"\s*(//[/!])(?!/)\s*(\w*)")


def main():
    files = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    read, problems = 0, []
    for name in files.splitlines():
        for line, word in openings((ROOT / name).read_text()):
            read += 1
            if word in REFUSED:
                problems.append(f"{name}:{line}: a doc comment opens with `{word}`")
    for problem in problems:
        print(f"comments: {problem}", file=sys.stderr)
    if not problems:
        print(f"comments: {read} doc comments open with a verb or a noun phrase")
    return 1 if problems or not read else 0


def openings(text):
    """Line and first word of each block of doc comments."""
    before = None
    for number, line in enumerate(text.splitlines(), start=1):
        found = COMMENT.match(line)
        kind = found[1] if found else None
        if found and kind != before:
            yield number, found[2]
        before = kind


if __name__ == "__main__":
    sys.exit(main())
