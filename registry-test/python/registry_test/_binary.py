"""Finds the program `registry-test`."""

import os
import shutil
from pathlib import Path

_BUNDLED = Path(__file__).parent / "bin" / "registry-test"


def find() -> str:
    """Returns the path of the program: `$REGISTRY_TEST_BIN`, else the one in this package, else the one in `PATH`."""
    named = os.environ.get("REGISTRY_TEST_BIN")
    if named:
        return named
    if _BUNDLED.exists():
        return str(_BUNDLED)
    found = shutil.which("registry-test")
    if found:
        return found
    raise FileNotFoundError(
        "there is no program registry-test in this package or in PATH: install a wheel that contains it, "
        "or build it with `cargo build --package registry-test --features serve` and set REGISTRY_TEST_BIN to its path"
    )
