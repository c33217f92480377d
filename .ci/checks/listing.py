"""Compares the public API of each library with its listing in `api/`, so that no change of it goes unseen in a review.

`.ci/checks/api.py --write` updates the listings. The tool in `.ci/listing` makes them of what rustdoc knows.
"""

import difflib
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "api"

# Differences that are shown for each library.
SHOWN = 20


def made(documents, folder):
    """Listing of each package, by its name. `documents` has the file of rustdoc's JSON for each."""
    command = ["cargo", "run", "--quiet", "--locked", "--manifest-path", ROOT / ".ci/listing/Cargo.toml", "--", folder]
    subprocess.run([*command, *documents.values()], check=True)
    return {package: (folder / f"{path.stem}.txt").read_text() for package, path in documents.items()}


def committed():
    return {path.stem: path.read_text() for path in FOLDER.glob("*.txt")}


def write(listings):
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for package, listing in listings.items():
        (FOLDER / f"{package}.txt").write_text(listing)


def problems(listings, expected):
    for package in sorted(listings.keys() | expected.keys()):
        old, new = (one.get(package, "").splitlines() for one in (expected, listings))
        lines = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:3] not in ("---", "+++")]
        lines = [line for line in lines if not line.startswith("@@")]
        if lines:
            more = f"\n  and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
            shown = "\n  ".join(lines[:SHOWN])
            yield f"the public API of {package} is not that of api/{package}.txt; if that is meant, run `.ci/checks/api.py --write`:\n  {shown}{more}"
