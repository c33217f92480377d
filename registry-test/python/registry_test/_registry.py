"""`TestRegistry`: a process `registry-test serve`, and its control API."""

import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _binary

# The value of an option of `registry-test serve`.
Option = Union[bool, int, float, str, Sequence[str], None]

_METHODS = frozenset(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])
_KINDS = frozenset(["blob", "catalog", "manifest", "ping", "referrers", "tags", "token", "upload"])

# Answers come from this machine: a proxy of the environment is not used.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ControlError(ValueError):
    """A call that the registry has refused. The message names the field."""


class FaultNotInjected(AssertionError):
    """A fault was never injected, so that the test has not tested what it says."""


@dataclass(frozen=True)
class Request:
    """A request that the registry got, and its answer."""

    method: str
    target: str
    headers: Mapping[str, str]
    sent: int
    operation: Optional[str] = None
    repository: Optional[str] = None
    reference: Optional[str] = None
    digest: Optional[str] = None
    status: Optional[int] = None
    response_headers: Optional[Mapping[str, str]] = None
    received: int = 0
    cut: Optional[str] = None

    @classmethod
    def _parse(cls, value: Mapping[str, Any]) -> "Request":
        # A newer program may say more.
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})

    def _is(self, method: Optional[str], kind: Optional[str]) -> bool:
        same_kind = kind is None or (self.operation or "").split(" ")[-1] == kind
        return (method is None or self.method == method) and same_kind


class TestRegistry:
    """A registry of its own, on a free port of this machine.

    `options` are those of `registry-test serve`: `bearer="ann:pw"`, `token_lifetime=1`, `tls=True`,
    `quirk=["without-mount"]`.
    """

    # No class of tests for pytest.
    __test__ = False

    url: str
    """Address with scheme."""
    host: str
    """`IP:PORT`, as in a reference."""
    ca: Optional[str]
    """Path of the authority's certificate (PEM), with `tls`."""
    client_certificate: Optional[str]
    """Path of the certificate that a client has to present (PEM), with `client_certificate=True`."""
    client_key: Optional[str]
    """Path of its key (PEM)."""
    docker_config_dir: str
    """Folder with a `config.json` that contains the login."""
    env: Mapping[str, str]
    """Variables for the environment of other programs. The own environment is not changed."""

    def __init__(self, **options: Option) -> None:
        self._problem: Optional[Exception] = None
        # A file rather than a pipe: nobody reads while the program writes.
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [_binary.find(), "serve", *_flags(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # Ctrl-C is for the tests, which end their registries after they have cleaned up.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"registry-test does not start: {self._problem}")
        announced = json.loads(line)
        self._control: str = announced["control"].rstrip("/")
        self.url = announced["url"]
        self.host = announced["host"]
        self.ca = announced["ca"]
        self.client_certificate = announced["client_certificate"]
        self.client_key = announced["client_key"]
        self.docker_config_dir = announced["docker_config_dir"]
        self.env = announced["env"]

    def reference(self, name: str) -> str:
        """Returns the name with the registry's host, as other programs need it: `127.0.0.1:PORT/app:v1`."""
        return f"{self.host}/{name}"

    def environment(self) -> Dict[str, str]:
        """Returns this process's environment with the variables of `env`, for `subprocess.run(env=…)`."""
        return {**os.environ, **self.env}

    def seed(self, name: str, **what: Any) -> str:
        """Stores content, and returns its digest: `seed("app:v1", image={"files": [["etc/a", "1"]]})`."""
        digest: str = self._call("POST", "seed", {"name": name, **what})["digest"]
        return digest

    def seed_layout(self, path: Union[str, "os.PathLike[str]"]) -> List[str]:
        """Stores the images of an OCI layout, and returns their names."""
        names: List[str] = self._call("POST", "seed", {"layout": os.path.abspath(path)})["names"]
        return names

    def fault(self, *, on: str = "*", **rule: Any) -> int:
        """Injects a fault into requests, and returns the number of the rule.

        By default into the first request that `on` describes. A test fails if the rule is never used, unless `optional`.
        Messages name the rule by its `label`, which is this call by default.
        """
        rule = {"on": on, **rule}
        call = ", ".join(f"{name}={value!r}" for name, value in rule.items())
        number: int = self._call("POST", "faults", {"label": f"fault({call})", **rule})["id"]
        return number

    def preset(self, name: str) -> List[int]:
        """Injects the faults of a preset, such as `"bodies_in_chunks"`, and returns the numbers of the rules."""
        numbers: List[int] = self._call("POST", "faults", {"label": f"preset({name!r})", "preset": name})["ids"]
        return numbers

    def faults(self) -> List[Dict[str, Any]]:
        """Returns the rules: `id`, `rule`, how often each has `fired`, and a `complaint` if it has to happen and has not."""
        faults: List[Dict[str, Any]] = self._call("GET", "faults")["faults"]
        return faults

    def clear_faults(self) -> None:
        """Removes all rules."""
        self._call("DELETE", "faults")

    def open_gate(self, name: str) -> None:
        """Lets the requests go on that a rule with `gate=name` holds."""
        self._call("POST", f"gates/{urllib.parse.quote(name, safe='')}/open")

    def requests(self, on: str = "*") -> List[Request]:
        """Returns the requests so far: all, or those of a method and a kind, such as `"PUT manifest"` or `"blob"`."""
        return self._requests(on, take=False)

    def take_requests(self, on: str = "*") -> List[Request]:
        """Returns the requests since the last call. Those that `on` does not describe are gone, too."""
        return self._requests(on, take=True)

    def state(self) -> Dict[str, Any]:
        """Returns what the registry stores: `repositories` with `tags` and `manifests`, and open `uploads`."""
        state: Dict[str, Any] = self._call("GET", "state")
        return state

    def tags(self, repository: str) -> List[str]:
        """Returns the tags of a repository, in order."""
        return sorted(self.state()["repositories"].get(repository, {}).get("tags", {}))

    def digest(self, name: str) -> Optional[str]:
        """Returns the digest of `app:v1`, of `app` for the tag `latest`, or of `app@sha256:…`; `None` if it is not there."""
        repository, _, digest = name.partition("@")
        repository, _, tag = repository.partition(":")
        stored = self.state()["repositories"].get(repository, {})
        if digest:
            return digest if digest in stored.get("manifests", []) else None
        tags: Dict[str, str] = stored.get("tags", {})
        return tags.get(tag or "latest")

    def uploads_left_open(self) -> List[Dict[str, Any]]:
        """Returns the upload sessions that are neither closed nor cancelled."""
        uploads: List[Dict[str, Any]] = self.state()["uploads"]
        return uploads

    def pushed(self, name: str) -> bool:
        """Returns true if the registry has the image, whole. Raises `AssertionError` that says what is missing."""
        answer = self._call("POST", "assert-pushed", {"name": name})
        if not answer["pushed"]:
            raise AssertionError(answer["missing"])
        return True

    def expire_tokens(self) -> None:
        """Makes all tokens that were given out invalid."""
        self._call("POST", "expire-tokens")

    def restart(self) -> None:
        """Cuts all connections, and listens again on the same port. Content stays."""
        self._call("POST", "restart")

    def pause(self) -> None:
        """Holds all requests, as a registry that hangs, until `resume`."""
        self._call("POST", "pause")

    def stop(self) -> None:
        """Cuts all connections and refuses new ones, as a registry that has died, until `resume`. Content and port stay."""
        self._call("POST", "stop")

    def resume(self) -> None:
        """Continues after `pause` or `stop`."""
        self._call("POST", "resume")

    def reset(self) -> None:
        """Removes all content, rules and recorded requests, and continues after `pause` or `stop`."""
        self._call("POST", "reset")

    def assert_faults_fired(self) -> None:
        """Raises `FaultNotInjected` if a rule that is not optional was never used. After `close`, repeats what that found."""
        if self._process.returncode is not None:
            if self._problem is not None:
                raise self._problem
            return
        complaints = [fault["complaint"] for fault in self.faults() if fault["complaint"]]
        if complaints:
            raise FaultNotInjected("\n".join(complaints))

    def close(self) -> None:
        """Ends the registry, and removes its files. May be called more than once."""
        process = self._process
        if process.returncode is not None:
            return
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        # A forked child of this process may still hold the input open. The signal ends the registry in order, too.
        if os.name == "posix":
            process.terminate()
        try:
            code = process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        process.stdout.close()
        with self._errors as errors:
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
        if code < 0:
            self._problem = RuntimeError(f"registry-test was killed by signal {-code} {message}".strip())
        elif code > 0:
            self._problem = FaultNotInjected(message or f"exit code {code}")

    def __enter__(self) -> "TestRegistry":
        return self

    def __exit__(self, kind: Any, _error: Any, _trace: Any) -> None:
        self.close()
        # The first failure is the one to show.
        if kind is None:
            self.assert_faults_fired()

    def __repr__(self) -> str:
        return f"<TestRegistry {self.url}>"

    def _requests(self, on: str, take: bool) -> List[Request]:
        method, kind = _parse_on(on)
        answer = self._call("GET", "requests?take=1" if take else "requests")
        requests = [Request._parse(value) for value in answer["requests"]]
        return [request for request in requests if request._is(method, kind)]

    def _call(self, method: str, path: str, body: Optional[Mapping[str, Any]] = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._control}/{path}", data=data, method=method)
        try:
            with _OPENER.open(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            with refused:
                text = refused.read().decode(errors="replace")
            try:
                text = json.loads(text)["error"]
            except (KeyError, TypeError, ValueError):
                pass
            raise ControlError(f"{method} {path.partition('?')[0]}: {text}") from None


def _flags(options: Mapping[str, Option]) -> List[str]:
    """Turns `anonymous_pull=True` into `--anonymous-pull`, and a list into one flag each."""
    flags: List[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            flags.append(flag)
        elif value is None or value is False:
            continue
        elif isinstance(value, (str, int, float)):
            flags.append(f"{flag}={value}")
        else:
            flags.extend(f"{flag}={one}" for one in value)
    return flags


def _parse_on(on: str) -> Tuple[Optional[str], Optional[str]]:
    """Parses a method and a kind, each of them optional."""
    words = [word for word in on.split() if word != "*"]
    method = words.pop(0) if words and words[0] in _METHODS else None
    kind = words.pop(0) if words and words[0] in _KINDS else None
    if words:
        raise ValueError(
            f"cannot read {on!r}: a method ({', '.join(sorted(_METHODS))}), a kind ({', '.join(sorted(_KINDS))}), both, or *"
        )
    return method, kind
