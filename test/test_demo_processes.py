"""The supervisor leaves no process behind, whatever its children and its user do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from living_processes import processes_with, wait_until

from geoseg_ros.demo.environment import free_domain, private_environment
from geoseg_ros.demo.processes import Supervisor
from geoseg_ros.errors import ProcessError
from geoseg_ros.process_events import parse_event

STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], stdin=subprocess.DEVNULL)
print('geoseg-event {"event": "ready"}', flush=True)
time.sleep(1000)
"""


def test_a_child_that_ignores_signals_and_its_child_are_killed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "geoseg_ros.demo.processes.STOP_STEPS",
        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 10.0)),
    )
    token = f"GEOSEG_TEST={uuid.uuid4()}"
    environment = {**os.environ, "GEOSEG_TEST": token.partition("=")[2]}
    with Supervisor(tmp_path, environment) as supervisor:
        child = supervisor.start("stubborn", [sys.executable, "-c", STUBBORN])
        supervisor.wait("readiness", lambda: child.event("ready") is not None, 20.0)
        wait_until(lambda: len(processes_with(token)) == 2)
    assert processes_with(token) == []
    assert child.exit_code == -signal.SIGKILL


def test_a_child_that_dies_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    code = "import sys\nfor i in range(40): print('line', i)\nsys.exit('the model is missing')"
    with Supervisor(tmp_path, os.environ) as supervisor, pytest.raises(ProcessError) as failure:
        supervisor.start("node", [sys.executable, "-c", code])
        supervisor.wait("readiness", lambda: False, 20.0)
    message = str(failure.value)
    assert "node ended early with exit code 1" in message and "the model is missing" in message
    assert "line 39" in message and "line 3\n" not in message
    assert "line 3\n" in (tmp_path / "node.log").read_text()


def test_a_state_that_never_comes_ends_at_the_deadline(tmp_path: Path) -> None:
    with Supervisor(tmp_path, os.environ) as supervisor:
        child = supervisor.start(
            "sleeper", [sys.executable, "-c", "print('loading', flush=True)\nimport time; time.sleep(99)"]
        )
        wait_until(lambda: child.last_lines() == ["loading"])
        with pytest.raises(ProcessError, match="(?s)waited 0 s for the model.*loading"):
            supervisor.wait("the model", lambda: False, 0.2)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_child_outlives_a_supervisor_that_is_stopped(tmp_path: Path, number: int, code: int) -> None:
    program = f"""
import os, sys
from pathlib import Path
from geoseg_ros.demo.processes import Supervisor, terminate_as_exit
try:
    with terminate_as_exit(), Supervisor(Path({str(tmp_path)!r}), os.environ) as supervisor:
        supervisor.start("child", [sys.executable, "-c", "import time; time.sleep(1000)"])
        print("started", flush=True)
        supervisor.wait("nothing", lambda: False, 1000)
except KeyboardInterrupt:
    sys.exit(130)
"""
    token = str(uuid.uuid4())
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GEOSEG_TEST": token},
    )
    assert parent.stdout.readline() == "started\n"
    assert len(processes_with(token)) == 2
    parent.send_signal(number)
    assert parent.wait(20) == code
    parent.stdout.close()
    wait_until(lambda: processes_with(token) == [])


def test_private_environment_is_a_free_domain_on_this_machine(tmp_path: Path) -> None:
    environment = private_environment(tmp_path, base={"PATH": "/bin"})
    assert 1 <= int(environment["ROS_DOMAIN_ID"]) <= 101
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()
    assert private_environment(tmp_path, domain=77)["ROS_DOMAIN_ID"] == "77"
    chosen = {"PATH": "/bin", "FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"}
    assert private_environment(tmp_path, base=chosen)["FASTDDS_DEFAULT_PROFILES_FILE"] == "/mine.xml"
    assert len({free_domain() for _ in range(20)}) > 1


@pytest.mark.parametrize(
    "line", ["", "plain", "geoseg-event ", "geoseg-event {", "geoseg-event []", 'geoseg-event {"a":1}']
)
def test_other_lines_are_no_events(line: str) -> None:
    assert parse_event(line) is None
