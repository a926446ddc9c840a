"""How a target document names a process: one way, complete, and nothing that could not be meant."""

import pytest
from pydantic import ValidationError

from stormgate.faults import backends
from stormgate.faults.backends.process import ProcessHandle, containers
from stormgate.faults.backends.process.naming import read_pid_file, start_of
from stormgate.faults.trust import commands


@pytest.mark.parametrize(
    ("handle", "start", "programs"),
    [
        ({"pidFile": "/run/a.pid", "start": ["up"]}, ["up"], ()),
        ({"match": "uvicorn app:main", "start": ["up", "x"]}, ["up", "x"], ()),
        ({"systemd": "web@1.service"}, ["systemctl", "start", "web@1.service"], ("systemctl",)),
        ({"systemd": "web", "start": ["up"]}, ["up"], ("systemctl",)),
        ({"docker": "shop-web-1"}, [], ("docker",)),
        ({"compose": "web", "project": "shop"}, [], ("docker",)),
    ],
)
def test_how_it_is_brought_back_follows_from_its_name(handle, start, programs):
    read = ProcessHandle.model_validate(handle).model_dump()
    assert start_of(read) == start
    assert backends.get("process").programs(read) == programs
    told = commands("web", "process", read, "crash")
    assert not any("null" in line for line in told), told


@pytest.mark.parametrize(
    ("handle", "says"),
    [
        ({}, "has one of pidFile, systemd, docker, compose and match"),
        ({"docker": "a", "match": "abc", "start": ["x"]}, "not docker and match"),
        ({"pidFile": "/run/a.pid"}, "start is missing"),
        ({"match": "uvicorn"}, "start is missing"),
        ({"match": "(", "start": ["x"]}, "at least 3 characters"),
        ({"match": "(ab", "start": ["x"]}, "is not a regular expression"),
        ({"docker": "a", "project": "b"}, "project belongs to compose"),
        ({"docker": "--help"}, "pattern"),
        ({"systemd": "-H elsewhere"}, "pattern"),
        ({"compose": "a b"}, "pattern"),
    ],
)
def test_what_names_no_process_is_refused(handle, says):
    with pytest.raises(ValidationError, match=says):
        ProcessHandle.model_validate(handle)


@pytest.mark.parametrize("text", ["", "x", "12x", "-5", "{}", '{"pid": 1}', "0 1", "999999999"])
def test_a_pid_file_that_names_nobody(tmp_path, text):
    file = tmp_path / "a.pid"
    file.write_text(text)
    assert read_pid_file(file) is None
    assert read_pid_file(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("docker_host", "hosts"),
    [
        ("", ()),
        ("unix:///run/docker.sock", ()),
        ("tcp://10.0.0.7:2375", ("10.0.0.7",)),
        ("ssh://me@far.example", ("far.example",)),
    ],
)
def test_a_daemon_elsewhere_has_to_be_allowed(docker_host, hosts):
    assert containers.host({"DOCKER_HOST": docker_host}) == hosts
