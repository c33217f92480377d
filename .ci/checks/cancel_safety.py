"""Checks that each public async function says in a section "Cancel safety" what happens if its future is dropped.

Hosts drop futures: a timeout, a `select!` and a client that disconnects do. The section of a trait holds for its
methods. Methods that return a future count as async.
"""

SECTION = "# Cancel safety"
# Suites of cases, each of which is a test that a host runs to its end.
EXEMPT = frozenset({"registry-conformance"})


def problems(package, document):
    if package not in EXEMPT:
        for name in silent(document):
            yield f"{package}: {name} is async, and has no section `{SECTION}`"


def silent(document):
    """Names of the async functions without such a section."""
    index = document["index"]
    parents = {child: item for item in index.values() for child in children(item)}
    for item in sorted(index.values(), key=lambda item: item["name"] or ""):
        if item["crate_id"] != 0 or not is_async(item) or SECTION in (item["docs"] or ""):
            continue
        parent = parents.get(item["id"])
        if parent and "trait" in parent["inner"] and SECTION in (parent["docs"] or ""):
            continue
        implementation = parent and parent["inner"].get("impl")
        # The trait has the section, here or in its own crate.
        if not implementation or not implementation["trait"]:
            yield item["name"] if not parent else f"{named(parent)}::{item['name']}"


def children(item):
    (inner,) = item["inner"].values()
    return inner.get("items", ()) if isinstance(inner, dict) else ()


def named(parent):
    implementation = parent["inner"].get("impl")
    return implementation["for"].get("resolved_path", {}).get("path") if implementation else parent["name"]


def is_async(item):
    function = item["inner"].get("function")
    return bool(function) and (function["header"]["is_async"] or returns_future(function["sig"]["output"]))


def returns_future(output):
    """True for `impl Future` and for a `dyn Future` in whatever box, as `async_trait` makes it."""
    if isinstance(output, dict):
        if "dyn_trait" in output or "impl_trait" in output:
            bounds = output.get("impl_trait") or output["dyn_trait"]["traits"]
            return any(path(bound).split("::")[-1] == "Future" for bound in bounds)
        output = list(output.values())
    return isinstance(output, list) and any(returns_future(part) for part in output)


def path(bound):
    bound = bound.get("trait_bound", bound)
    return bound.get("trait", {}).get("path", "")
