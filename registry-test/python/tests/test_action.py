"""The GitHub Action: its file, and its script as a runner calls it."""

import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import registry_test
import yaml

ACTION = Path(__file__).parents[2] / "action"


@pytest.fixture
def runner(tmp_path):
    """Environment of a step, without the fixture's own program in PATH."""
    folder = tmp_path / "runner's temporary files"
    folder.mkdir()
    return {
        **os.environ,
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_ENV": str(tmp_path / "env"),
        "RUNNER_TEMP": str(folder),
        "REGISTRY_TEST_BIN": registry_test._binary.find(),
    }


def values(file):
    return dict(line.split("=", 1) for line in Path(file).read_text().splitlines())


def started(runner, **settings):
    subprocess.run([str(ACTION / "start")], env={**runner, **settings}, check=True, timeout=60)
    return values(runner["GITHUB_OUTPUT"])


def stopped(outputs):
    return subprocess.run(outputs["stop"], shell=True, capture_output=True, text=True, timeout=60)


def test_the_file_is_a_composite_action_whose_step_runs_the_script():
    action = yaml.safe_load((ACTION / "action.yml").read_text())

    assert action["name"] and action["description"]
    for part in ("inputs", "outputs"):
        assert all(entry["description"] for entry in action[part].values())
    [step] = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite" and step["shell"] == "bash"
    script = ACTION / re.fullmatch(r'"\$GITHUB_ACTION_PATH/(\w+)"', step["run"])[1]
    assert script.stat().st_size > 0 and os.access(script, os.X_OK)
    # Each input reaches the script, each output is one of its step, and all that the script reads is set.
    used = set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", " ".join(step["env"].values())))
    assert used == set(action["inputs"])
    for name, output in action["outputs"].items():
        assert output["value"] == f"${{{{ steps.{step['id']}.outputs.{name} }}}}"
    assert set(re.findall(r"REGISTRY_TEST_\w+", script.read_text())) == set(step["env"])


def test_the_outputs_are_those_of_the_file_and_the_registry_runs_until_it_is_stopped(runner):
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    outputs = started(runner, REGISTRY_TEST_OPTIONS="--read-only\n--bearer ann:pw", REGISTRY_TEST_EXPORT="true")

    assert set(action["outputs"]) <= set(outputs)
    assert values(runner["GITHUB_ENV"])["DOCKER_CONFIG"] == outputs["docker-config-dir"]
    with urllib.request.urlopen(outputs["control"].rstrip("/") + "/state") as state:
        assert state.status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(outputs["url"] + "/v2/")
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer ")
    assert stopped(outputs).returncode == 0
    with pytest.raises(OSError):
        urllib.request.urlopen(outputs["url"] + "/v2/")
    assert not Path(outputs["docker-config-dir"]).exists()
    assert not list(Path(runner["RUNNER_TEMP"]).glob("registry-test.*"))


def test_the_stop_fails_if_a_fault_was_never_injected(runner):
    outputs = started(runner)
    fault = urllib.request.Request(
        outputs["control"].rstrip("/") + "/faults", data=b'{"on": "DELETE blob", "status": 500}', method="POST"
    )
    urllib.request.urlopen(fault).close()

    ended = stopped(outputs)

    assert ended.returncode == 1 and '{"on":"DELETE blob","status":500} never happened' in ended.stderr
    assert not Path(runner["GITHUB_ENV"]).exists()


def test_the_certificate_of_the_registry_is_no_setting_of_later_steps(runner):
    outputs = started(runner, REGISTRY_TEST_OPTIONS="--tls", REGISTRY_TEST_EXPORT="true")

    assert Path(outputs["ca"]).exists()
    assert "DOCKER_CONFIG" in values(runner["GITHUB_ENV"]) and "SSL_CERT_FILE" not in values(runner["GITHUB_ENV"])
    assert stopped(outputs).returncode == 0


def test_a_registry_whose_keeper_was_killed_is_stopped(runner):
    outputs = started(runner)
    [folder] = Path(runner["RUNNER_TEMP"]).iterdir()
    os.kill(int((folder / "keeper").read_text()), signal.SIGKILL)

    assert stopped(outputs).returncode == 0
    assert not folder.exists()


@pytest.mark.parametrize("failure", ["GITHUB_OUTPUT", "--detached", "python3"])
def test_a_start_that_fails_leaves_nothing(runner, tmp_path, failure):
    wrong = {
        "GITHUB_OUTPUT": {"GITHUB_OUTPUT": str(tmp_path)},
        "--detached": {"REGISTRY_TEST_OPTIONS": "--detached"},
        "python3": {"PATH": str(tmp_path / "bin")},
    }
    (tmp_path / "bin").mkdir()
    for program in ("bash", "cat", "dirname", "mkfifo", "mktemp", "rm", "tail"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))

    ended = subprocess.run(
        [str(ACTION / "start")], env={**runner, **wrong[failure]}, capture_output=True, text=True, timeout=60
    )

    assert ended.returncode != 0 and (failure in ended.stderr or str(tmp_path) in ended.stderr)
    assert not list(Path(runner["RUNNER_TEMP"]).iterdir())


def test_a_wrong_option_fails_the_step(runner):
    wrong = {**runner, "REGISTRY_TEST_OPTIONS": "--port 1"}
    ended = subprocess.run([str(ACTION / "start")], env=wrong, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and "--port" in ended.stderr
