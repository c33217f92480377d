"""Checks that the public types of each library can be shared by threads, and that its traits can be used as `dyn`.

A private field can take `Send` or `Sync` from a type without a change of its signature, and a method the `dyn` from a
trait. Hosts keep these types in `Arc` and in the state of their routers.
"""

# Types that are not Sync, and traits without `dyn`, with their reasons.
NOT_SYNC = {
    # A body or stream of another crate, which one task polls.
    "registry-core": {"BlobBody", "BlobRead", "BlobSource", "Content", "ResponseBody", "UploadBody"},
    "registry-image": {"Blob"},
    # They are used up when the server starts, and hold a future and routes of the host.
    "registry-listener": {"Server"},
    "registry-server": {"ServerBuilder"},
}
NOT_DYN = {
    # Generic at the server, which names the type of the connection.
    "registry-listener": {"Handshake", "Listener"},
}


def problems(package, document):
    not_sync, not_dyn = NOT_SYNC.get(package, set()), NOT_DYN.get(package, set())
    found = list(lacking(document["index"]))
    for name, bound in found:
        allowed = {"Sync": not_sync, "dyn": not_dyn}.get(bound, ())
        if name not in allowed:
            yield f"{package}: {name} is not {bound}"
    for name in sorted((not_sync - {name for name, bound in found if bound == "Sync"})):
        yield f"{package}: {name} is Sync, or gone: remove it from the list"
    for name in sorted((not_dyn - {name for name, bound in found if bound == "dyn"})):
        yield f"{package}: {name} can be dyn, or is gone: remove it from the list"


def lacking(index):
    """Names of public types and traits, each with what it lacks: `Send`, `Sync` or `dyn`."""
    for item in index.values():
        ((kind, inner),) = item["inner"].items()
        if item["crate_id"] != 0:
            continue
        if kind == "trait" and not inner["is_dyn_compatible"]:
            yield item["name"], "dyn"
        if kind in ("struct", "enum", "union"):
            implemented = {name for number in inner["impls"] for name in positive(index.get(str(number)))}
            for bound in ("Send", "Sync"):
                if bound not in implemented:
                    yield item["name"], bound


def positive(item):
    """The name of an implemented trait."""
    implementation = item["inner"]["impl"] if item else {}
    if implementation.get("trait") and not implementation["is_negative"]:
        yield implementation["trait"]["path"].split("::")[-1]
