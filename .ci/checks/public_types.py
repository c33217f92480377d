"""Checks whose types the public API of each library names: only those of the crates in `ALLOWED`.

What stands in a public signature ties the releases of two crates together, so that each addition is a decision.
"""

STANDARD = frozenset({"alloc", "core", "proc_macro", "std"})

# Each library crate, and whose types it may name beside its own and the standard library's.
ALLOWED = {
    "registry-core": {"bytes", "futures_core", "http", "http_body", "tower_service"},
    "registry-axum": {"axum", "http", "registry_core"},
    "registry-listener": {"bytes", "http", "http_body", "registry_core", "registry_tls", "tokio", "tower_service"},
    # `bytes` by the contracts that it implements.
    "registry-storage-fs": {"bytes", "registry_core"},
    "registry-storage-object": {"bytes", "futures_core", "registry_core"},
    "registry-auth-htpasswd": {"registry_core"},
    "registry-auth-rules": {"registry_core"},
    # `pin_project_lite` writes a bound of its own, which nobody can name.
    "registry-metrics": {
        "http",
        "http_body",
        "pin_project_lite",
        "prometheus_client",
        "registry_core",
        "tower_layer",
        "tower_service",
    },
    "registry-reload": set(),
    "registry-server": {"axum", "registry_core"},
    "registry-tls": {"http", "tokio"},
    "registry-doctor": set(),
    "registry-health": set(),
    "registry-guide": set(),
    "registry-conformance": {"http", "libtest_mimic", "registry_core"},
    "registry-image": {"bytes", "futures_core", "registry_client", "registry_core"},
    "registry-test": {"http", "registry_core", "rustls"},
    "registry-client": {"bytes", "http_body", "registry_core", "rustls", "tokio"},
}


def problems(package, document):
    found = foreign(document)
    for crate in sorted(found.keys() - ALLOWED[package]):
        yield f"{package} names {crate} in public, and may not: {', '.join(sorted(found[crate]))}"
    if ALLOWED[package] and not found:
        yield f"{package} names nobody's types: what rustdoc prints is not understood"


def foreign(document):
    """Other crates that public items name, each with the paths that are named."""
    found = {}
    for item in document["index"].values():
        if item["crate_id"] != 0 or generated(item):
            continue
        for identity in named(item["inner"]):
            summary = document["paths"].get(str(identity))
            if summary and summary["crate_id"] != 0:
                crate = document["external_crates"][str(summary["crate_id"])]["name"]
                if crate not in STANDARD:
                    found.setdefault(crate, set()).add("::".join(summary["path"]))
    return found


def generated(item):
    """Implementations that other crates or the compiler have for all types."""
    implementation = item["inner"].get("impl")
    return implementation and (implementation["blanket_impl"] or implementation["is_synthetic"])


def named(value):
    """Identities of what an item names: types, traits and re-exports."""
    if isinstance(value, dict):
        if "id" in value and ("path" in value or "source" in value):
            yield value["id"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from named(part)
