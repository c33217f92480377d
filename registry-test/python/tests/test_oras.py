"""oras, the Python client, pushes and pulls."""

import oras.client
import oras.decorator
import pytest
import requests

TEXT = "leaf\n" * 1000


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Lets the client try again without a pause."""
    monkeypatch.setattr(oras.decorator.time, "sleep", lambda _seconds: None)


@pytest.fixture
def leaf(tmp_path, monkeypatch):
    """A file in the folder of the test. oras refuses paths out of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaf.txt").write_text(TEXT)
    return "leaf.txt"


def client(registry):
    return oras.client.OrasClient(hostname=registry.host, insecure=True)


def test_an_artifact_is_pushed_and_pulled(registry, leaf, tmp_path):
    client(registry).push(target=registry.reference("team/app:v1"), files=[leaf])
    pulled = client(registry).pull(target=registry.reference("team/app:v1"), outdir=str(tmp_path / "pulled"))

    assert [open(path).read() for path in pulled] == [TEXT]
    assert registry.pushed("team/app:v1")
    assert registry.tags("team/app") == ["v1"]
    assert registry.uploads_left_open() == []


def test_a_push_is_tried_again(registry, leaf):
    registry.fault(on="PUT manifest", first=2, status=500)

    client(registry).push(target=registry.reference("app:v1"), files=[leaf])

    assert registry.pushed("app:v1")
    assert [request.status for request in registry.requests("PUT manifest")] == [500, 500, 201]


def test_a_request_to_wait_is_an_error_to_this_client(registry, leaf):
    registry.fault(on="PUT manifest", status=429, retry_after=1)

    with pytest.raises(ValueError, match="Too Many Requests"):
        client(registry).push(target=registry.reference("app:v1"), files=[leaf])

    assert registry.tags("app") == []
    assert len(registry.requests("PUT manifest")) == 1


def test_a_blob_that_is_cut_is_an_error_to_this_client(registry, leaf, tmp_path):
    client(registry).push(target=registry.reference("app:v1"), files=[leaf])
    registry.fault(on="GET blob", each_first=True, cut="response", after=100)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client(registry).pull(target=registry.reference("app:v1"), outdir=str(tmp_path / "pulled"))

    [pull] = registry.requests("GET blob")
    assert (pull.cut, pull.received) == ("response", 100)


def test_a_login_is_needed(registry_factory, leaf):
    registry = registry_factory(basic="ann:pw")
    target = registry.reference("app:v1")

    # The client takes the realm of Basic for a URL, and fails for that.
    with pytest.raises(ValueError):
        client(registry).push(target=target, files=[leaf])
    assert {request.status for request in registry.take_requests()} == {401}
    logged_in = oras.client.OrasClient(hostname=registry.host, insecure=True, auth_backend="basic")
    logged_in.login("ann", "pw", hostname=registry.host, config_path=registry.docker_config_dir + "/oras.json")
    logged_in.push(target=target, files=[leaf])

    assert registry.pushed("app:v1")


def test_a_token_is_fetched_for_a_pull(registry_factory, tmp_path):
    registry = registry_factory(bearer="ann:pw")
    registry.seed("app:v1", artifact={"type": "application/vnd.x", "files": [["leaf.txt", TEXT]]})

    logged_in = client(registry)
    logged_in.auth.set_basic_auth("ann", "pw")
    manifest = logged_in.get_manifest(registry.reference("app:v1"))

    assert len(manifest["layers"]) == 1
    assert [request.status for request in registry.requests("token")] == [200]
    assert [request.status for request in registry.requests("GET manifest")] == [401, 200]
