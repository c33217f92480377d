"""The fixture itself: the calls, the plugin, the life of the process."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest
import registry_test
from registry_test import ControlError, FaultNotInjected, TestRegistry

IMAGE = {"files": [["etc/a", "1"]], "platform": "linux/arm64"}
OCI = "application/vnd.oci.image.manifest.v1+json"


def get(url, **options):
    request = urllib.request.Request(url, headers={"Accept": OCI})
    with urllib.request.urlopen(request, timeout=30, **options) as answer:
        return answer.read()


def test_a_seed_is_there_to_pull(registry):
    digest = registry.seed("team/app:v1", image=IMAGE)

    assert registry.digest("team/app:v1") == digest
    manifest = json.loads(get(f"{registry.url}/v2/team/app/manifests/v1"))
    assert registry.state()["repositories"]["team/app"] == {"tags": {"v1": digest}, "manifests": [digest]}
    assert get(f"{registry.url}/v2/team/app/blobs/{manifest['layers'][0]['digest']}")
    assert registry.pushed("team/app:v1")


def test_a_digest_is_that_of_a_tag_or_of_the_name(registry):
    tagged = registry.seed("team/app", image=IMAGE)
    untagged = registry.seed("team/app@sha256", image={"files": [["etc/a", "2"]]})

    assert registry.digest("team/app") == registry.digest("team/app:latest") == tagged
    assert registry.digest(f"team/app@{untagged}") == registry.digest(f"team/app:v9@{untagged}") == untagged
    assert registry.digest("team/app:v1") is None
    assert registry.digest(f"app@{untagged}") is None


def test_the_images_of_a_layout_are_there_to_pull(registry, tmp_path):
    def blob(content):
        digest = hashlib.sha256(content).hexdigest()
        (tmp_path / "blobs" / "sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    config = {"mediaType": "application/vnd.oci.empty.v1+json", **blob(b"{}")}
    image = blob(json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [config]}).encode())
    entry = {"mediaType": OCI, **image, "annotations": {"org.opencontainers.image.ref.name": "team/app:v1"}}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    [name] = registry.seed_layout(tmp_path)

    assert registry.digest("team/app:v1") == image["digest"]
    assert "team/app" in name
    with pytest.raises(ControlError, match="oci-layout"):
        registry.seed_layout(tmp_path / "blobs")


def test_the_message_says_what_is_missing(registry):
    with pytest.raises(AssertionError, match="app:v1"):
        registry.pushed("app:v1")


def test_requests_have_their_answers(registry):
    registry.seed("app:v1", image=IMAGE)
    get(f"{registry.url}/v2/")
    get(f"{registry.url}/v2/app/manifests/v1")

    [pull] = registry.requests("GET manifest")
    assert (pull.operation, pull.repository, pull.reference, pull.status) == ("get manifest", "app", "v1", 200)
    assert pull.headers["accept"] == OCI
    assert pull.response_headers["content-type"] == OCI
    assert pull.received == int(pull.response_headers["content-length"])
    assert registry.requests("* manifest") == [pull]
    assert len(registry.take_requests()) == 2
    assert registry.requests() == []


def test_faults_are_counted_and_removed(registry):
    rule = registry.fault(on="GET ping", first=2, status=429, retry_after=1)
    registry.fault(on="DELETE blob", refuse=True)

    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{registry.url}/v2/")
    assert (refused.value.code, refused.value.headers["retry-after"]) == (429, "1")
    assert [(fault["id"], fault["fired"]) for fault in registry.faults()] == [(rule, 1), (rule + 1, 0)]

    registry.clear_faults()
    assert registry.faults() == []
    get(f"{registry.url}/v2/")


def test_a_stalled_answer_goes_on_when_its_gate_opens(registry):
    registry.fault(on="GET ping", stall="response", gate="pong")
    with socket.create_connection(registry.host.rsplit(":", 1), timeout=30) as client:
        client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        registry.open_gate("pong")
        assert client.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "rule, part",
    [
        ({"on": "PUSH manifest", "status": 500}, "on"),
        ({"on": "GET ping", "statuses": 500}, "statuses"),
        ({"on": "GET ping"}, "fault"),
        ({"on": "GET ping", "status": "many"}, "status"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(registry, rule, part):
    with pytest.raises(ControlError, match=part):
        registry.fault(**rule)


def test_wrong_calls_are_refused(registry):
    with pytest.raises(ControlError, match="gate"):
        registry.open_gate("unknown")
    with pytest.raises(ControlError, match="name"):
        registry.seed("App:v1", image=IMAGE)
    with pytest.raises(ControlError, match="picture"):
        registry.seed("app:v1", picture=IMAGE)
    with pytest.raises(ValueError, match="'push'"):
        registry.requests("push")


def test_content_stays_over_a_restart_and_goes_with_a_reset(registry):
    registry.seed("app:v1", image=IMAGE)
    registry.fault(on="DELETE blob", refuse=True)
    registry.restart()
    get(f"{registry.url}/v2/app/manifests/v1")

    registry.reset()

    assert registry.state() == {"repositories": {}, "uploads": []}
    assert registry.requests() == []
    assert registry.faults() == []


def test_a_registry_that_is_stopped_refuses_connections(registry):
    address = registry.host.rsplit(":", 1)
    registry.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    registry.resume()
    get(f"{registry.url}/v2/")


def test_a_registry_that_is_paused_answers_later(registry):
    registry.pause()
    with socket.create_connection(registry.host.rsplit(":", 1), timeout=30) as client:
        client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while not registry.requests():
            pass
        assert registry.requests()[0].status is None
        registry.resume()
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_preset_is_added_by_its_name(registry):
    assert len(registry.preset("without_optional_headers")) == 4
    [rule] = registry.preset("bodies_in_chunks")
    get(f"{registry.url}/v2/")

    assert registry.requests()[0].response_headers["transfer-encoding"] == "chunked"
    assert [fault["fired"] for fault in registry.faults() if fault["id"] == rule] == [1]
    with pytest.raises(ControlError, match="bodies_in_chunks"):
        registry.preset("bodies")


def test_a_fault_is_named_by_the_call_that_added_it(registry):
    registry.fault(on="DELETE blob", set_header={"X-Seen": "1"})
    with pytest.raises(FaultNotInjected) as failure:
        registry.assert_faults_fired()
    assert "fault(on='DELETE blob', set_header={'X-Seen': '1'}) never happened" in str(failure.value)
    registry.clear_faults()


def test_an_open_upload_is_listed(registry):
    post = urllib.request.Request(f"{registry.url}/v2/app/blobs/uploads/", method="POST")
    urllib.request.urlopen(post, timeout=30).close()

    [upload] = registry.uploads_left_open()
    assert (upload["repository"], upload["offset"]) == ("app", 0)


def test_tls_is_trusted_by_the_authority_of_the_registry(registry_factory):
    registry = registry_factory(tls=True)

    assert registry.url.startswith("https://")
    get(f"{registry.url}/v2/", context=ssl.create_default_context(cafile=registry.ca))
    with pytest.raises(urllib.error.URLError):
        get(f"{registry.url}/v2/")


def test_a_client_needs_the_certificate_of_the_registry(registry_factory):
    registry = registry_factory(tls=True, client_certificate=True)
    context = ssl.create_default_context(cafile=registry.ca)
    with pytest.raises((urllib.error.URLError, OSError)):
        get(f"{registry.url}/v2/", context=context)

    context.load_cert_chain(registry.client_certificate, registry.client_key)

    get(f"{registry.url}/v2/", context=context)


def test_tokens_live_as_long_as_an_option_says(registry_factory):
    registry = registry_factory(bearer="ann:pw", anonymous_pull=True, token_lifetime=7)
    issued = json.loads(get(f"{registry.url}/token?scope=repository:app:pull"))
    assert issued["expires_in"] == 7


def test_options_make_a_read_only_registry_with_quirks(registry_factory):
    registry = registry_factory(read_only=True, quirk=["without-catalog"])
    registry.seed("app:v1", image=IMAGE)

    post = urllib.request.Request(f"{registry.url}/v2/app/blobs/uploads/", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(post, timeout=30)
    assert refused.value.code in (403, 405)
    with pytest.raises(urllib.error.HTTPError):
        get(f"{registry.url}/v2/_catalog")


def test_a_wrong_option_is_an_error_with_its_reason():
    with pytest.raises(RuntimeError, match="--quirk.*without-wheels"):
        TestRegistry(quirk="without-wheels")
    with pytest.raises(RuntimeError, match="unknown argument"):
        TestRegistry(port="5000")


def test_the_end_frees_the_port_and_removes_the_files():
    with TestRegistry(basic="ann:pw") as registry:
        config = os.path.join(registry.docker_config_dir, "config.json")
        assert registry.host in open(config).read()
        assert registry.environment()["DOCKER_CONFIG"] == registry.docker_config_dir
    assert not os.path.exists(registry.docker_config_dir)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, port = registry.host.rsplit(":", 1)
        again.bind((host, int(port)))


def test_ctrl_c_does_not_reach_the_registry(registry):
    assert os.getpgid(registry._process.pid) == registry._process.pid != os.getpgrp()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_does_not_delay_the_end():
    with TestRegistry() as registry:
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            # It holds what this process holds, until it is told to end.
            os.close(tell)
            os.read(told, 1)
            os._exit(0)
        os.close(told)
        try:
            registry.close()
        finally:
            os.close(tell)
            os.waitpid(child, 0)
    assert not os.path.exists(registry.docker_config_dir)


def test_a_registry_that_was_killed_is_no_fault_that_is_missing():
    registry = TestRegistry()
    registry._process.kill()
    registry._process.stdout.read()
    shutil.rmtree(registry.docker_config_dir)
    registry.close()
    with pytest.raises(RuntimeError, match="killed by signal 9"):
        registry.assert_faults_fired()


def test_the_end_without_a_use_of_a_fault_is_an_error():
    with pytest.raises(FaultNotInjected, match=r"fault\(on='DELETE blob', refuse=True\) never"):
        with TestRegistry() as registry:
            registry.fault(on="DELETE blob", refuse=True)
    with TestRegistry() as registry:
        registry.fault(on="DELETE blob", refuse=True, optional=True)


def test_a_test_fails_whose_fault_was_never_injected(pytester):
    pytester.makepyfile(
        """
        import urllib.request

        def test_unused(registry):
            registry.fault(on="DELETE blob", status=500)

        def test_used(registry):
            registry.fault(on="GET ping", set_header={"X-Seen": "1"})
            assert urllib.request.urlopen(registry.url + "/v2/").headers["X-Seen"] == "1"

        def test_used_and_closed(registry_factory):
            with registry_factory() as registry:
                registry.fault(on="DELETE blob", status=500, optional=True)

        def test_unused_and_closed(registry):
            registry.fault(on="DELETE blob", status=500)
            registry.close()

        def test_fails_for_its_own_reason(registry):
            registry.fault(on="DELETE blob", status=500)
            assert 1 == 2
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(["*fault(on='DELETE blob', status=500) never happened*", "*assert 1 == 2*"])


def test_the_program_is_searched(monkeypatch, tmp_path):
    monkeypatch.delenv("REGISTRY_TEST_BIN", raising=False)
    monkeypatch.setattr("registry_test._binary._BUNDLED", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="REGISTRY_TEST_BIN"):
        TestRegistry()
    program = tmp_path / "registry-test"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    assert registry_test._binary.find() == str(program)


def test_without_the_token_the_control_api_is_not_found(registry):
    control = registry._control
    for url in (control.rsplit("/", 1)[0] + "/state", control[:-1] + "/state"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(url)
        assert refused.value.code == 404


def test_the_program_says_how_to_use_it():
    program = registry_test._binary.find()
    helped = subprocess.run([program, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0 and "--quirk" in helped.stdout
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    assert version == f"registry-test {importlib.metadata.version('registry-test')}\n"
    wrong = subprocess.run([program, "serve", "--basic"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "--basic needs a value" in wrong.stderr and not wrong.stdout
