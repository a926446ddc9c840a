"""The lab behind the API of AWS: what is called there is done to its processes and links, and seen
by its users.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import boto3
import pytest
from tests.live.aws_world import KEYS
from tests.live.chaos_fixture import ROOT
from tests.live.lab_client import User

from stormgate.documents import load_target
from stormgate.faults.backends.aws.session import forget_sessions
from stormgate.faults.context import make_context
from stormgate.faults.errors import CannotBreak, Unproven
from stormgate.faults.inject import inject
from stormgate.faults.restore import restore
from stormgate.faults.undo import undo_all
from stormgate.lab.runtime.launch import launch
from stormgate.model import to_json
from stormgate.net.look import look
from stormgate.net.status import read_status, wait_whole

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    names = ("XDG_STATE_HOME", *KEYS)
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("xdg"))
    forget_sessions()
    target = load_target(ROOT / "targets" / "lab-aws.yaml")
    running = launch(target, state=tmp_path_factory.mktemp("lab") / "state", deadline_s=90)
    yield running
    running.stop()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    forget_sessions()


@pytest.fixture
def target(lab):
    assert wait_whole(lab.target, 60).whole
    return lab.target


def primary(target, shard):
    roles = read_status(target).roles
    return next(name for name in roles if f"db-{shard}" in name and roles[name] == "primary")


def healthy(target, name):
    return look(target.component(name).observe, 1.0).healthy


def test_what_can_break_is_broken_by_the_api_of_aws(target):
    kinds = {one.kind: one.backend for one in target.components}
    assert kinds["service"] == kinds["database"] == kinds["link"] == "aws"
    named = {one.name for one in target.components}
    assert {name for one in target.components for name in one.parts} <= named
    zones = {one.region: one.handle["zone"] for one in target.components if one.kind == "edge"}
    assert zones["eu-west"] != zones["eu-central"]
    assert zones["eu-west"][:-1] == zones["eu-central"][:-1], "a shard is a cluster of one region"


def test_a_region_is_lost_and_another_process_brings_it_back(target, tmp_path):
    """As kill_region does it: instances stopped by force, the cluster really fails over."""
    writer = primary(target, "eu")
    region = target.component(writer).region
    run = make_context(target, tmp_path, fault="trial", seed=1)
    inject(run, [target.component(region)], "crash", proof_s=20)
    assert primary(target, "eu") != writer
    for kind in ("edge", "service", "cache"):
        assert not healthy(target, f"{region}/{kind}")
    # Somebody starts one by the API, and it is no longer held.
    ec2 = client(target, f"{region}/cache", "ec2")
    chosen = [{"Name": "tag:Name", "Values": [f"{region}/cache"]}]
    found = ec2.describe_instances(Filters=chosen)["Reservations"][0]["Instances"][0]
    ec2.start_instances(InstanceIds=[found["InstanceId"]])
    assert waited(lambda: healthy(target, f"{region}/cache"))
    assert waited(lambda: "fault.lost" in events(tmp_path))
    run.watch.end()
    report = restore(tmp_path, 60)
    assert report.clean, report
    assert all(healthy(target, f"{region}/{kind}") for kind in ("edge", "service", "cache"))


def test_a_cluster_that_is_written_elsewhere_is_not_failed_over_here(target, tmp_path):
    reader = next(
        one
        for one in target.components
        if one.kind == "database" and one.attributes.get("shard") == "us"
        and one.name != primary(target, "us")
    )  # fmt: skip
    run = make_context(target, tmp_path, fault="trial", seed=1)
    with pytest.raises(CannotBreak, match=f"not in {reader.handle['zone']}"):
        inject(run, [reader], "crash")


def test_a_subnet_is_cut_off_on_its_users_side_and_passes_again(target, tmp_path):
    subnet = target.component("subnet:us-west")
    assert look(subnet.observe, 3.0).healthy
    run = make_context(target, tmp_path, fault="trial", seed=1)
    rows = inject(run, [target.component("us-west")], "blackhole", proof_s=20)
    assert rows[0]["parts"] == ["subnet:us-west"]
    assert not look(subnet.observe, 1.0).healthy
    assert healthy(target, "us-west/edge"), "the process itself lives"
    undo_all(run, deadline_s=60)
    assert look(subnet.observe, 3.0).healthy


def steered(target):
    """The edges that some population is led to."""
    with urllib.request.urlopen(target.steering.url, timeout=5) as answer:
        table = json.load(answer)["populations"]
    return {edge for edges in table.values() for edge in edges}


def test_a_zone_out_of_its_target_group_is_out_of_the_steward_s_table(target, tmp_path):
    assert "eu-central/edge" in steered(target)
    run = make_context(target, tmp_path, fault="trial", seed=1)
    inject(run, [target.component("targets:eu-central")], "detach")
    assert waited(lambda: "eu-central/edge" not in steered(target))
    assert "eu-west/edge" in steered(target), "of the same group, in another zone"
    assert healthy(target, "eu-central/edge"), "the process itself lives"
    assert not read_status(target).whole
    undo_all(run, deadline_s=60)
    assert waited(lambda: "eu-central/edge" in steered(target))


def test_an_experiment_of_fis_really_acts_until_it_is_stopped(target, tmp_path):
    run = make_context(target, tmp_path, fault="trial", seed=1)
    rows = inject(run, [target.component("fis:us-west")], "run", proof_s=20)
    assert rows[0]["proof"][0]["saw"] == "it runs; targets resolved: boxes: 3, subnets: 1"
    for kind in ("edge", "service", "cache"):
        assert not healthy(target, f"us-west/{kind}")
    assert not look(target.component("subnet:us-west").observe, 1.0).healthy
    undo_all(run, deadline_s=60)
    assert waited(lambda: healthy(target, "us-west/edge"))
    assert waited(lambda: look(target.component("subnet:us-west").observe, 3.0).healthy)
    assert wait_whole(target, 60).whole


def test_an_action_that_the_lab_does_not_do_is_a_failed_experiment(target, tmp_path):
    fis = client(target, "fis:us-west", "fis")
    given = fis.get_experiment_template(id="EXTpower-us-west")["experimentTemplate"]
    action = {"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "boxes"}}
    made = fis.create_experiment_template(
        clientToken="reboot",
        description="not done here",
        roleArn=given["roleArn"],
        stopConditions=given["stopConditions"],
        targets={"boxes": given["targets"]["boxes"]},
        actions={"reboot": action},
        experimentOptions={"emptyTargetResolutionMode": "fail"},
    )["experimentTemplate"]["id"]
    part = target.component("fis:us-west")
    part = replace(part, handle={**part.handle, "ids": [made]})
    run = make_context(target, tmp_path, fault="trial", seed=1)
    with pytest.raises(Unproven, match="it is failed"):
        inject(run, [part], "run", proof_s=0.5)
    assert healthy(target, "us-west/edge")


def valkey(target, name, *words):
    """One command of a cache, over its own port."""
    host, _, port = target.component(name).observe.address.partition(":")
    sent = f"*{len(words)}\r\n" + "".join(f"${len(one)}\r\n{one}\r\n" for one in words)
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(sent.encode())
        return line.recv(4096)


def model_of(target, population, task="classify"):
    """Which tier answered a user; the status where none did."""
    answer = User(target, population, "eu-7").call("POST", "/assistant", {"task": task})
    return answer.headers.get("x-chenu-model", answer.status)


def test_a_cache_that_fails_over_has_lost_what_it_held(target, tmp_path):
    assert valkey(target, "us-west/cache", "SET", "kept", "1").startswith(b"+OK")
    run = make_context(target, tmp_path, fault="trial", seed=1)
    rows = inject(run, [target.component("cache:us-west")], "failover", proof_s=30)
    assert "002 is primary, cache-us-west-001 before" in rows[0]["proof"][0]["saw"]
    assert valkey(target, "us-west/cache", "GET", "kept") == b"$-1\r\n"
    undo_all(run, deadline_s=60)
    assert healthy(target, "us-west/cache")


def test_a_throttled_function_refuses_and_its_users_are_answered_by_another(target, tmp_path):
    assert model_of(target, "london") == "edge"
    functions = [one for one in target.components if one.handle.get("service") == "lambda"]
    assert len(functions) == len(target.regions)
    run = make_context(target, tmp_path, fault="trial", seed=1)
    inject(run, functions, "throttle", proof_s=20)
    assert waited(lambda: model_of(target, "london") == "regional")
    undo_all(run, deadline_s=60)
    assert waited(lambda: model_of(target, "london") == "edge")


HOLDS = ("eu-west/model-regional-gpu", "eu-west/model-edge-gpu", "check:eu-west")
KILLED_IN_MID_FAULT = """
import os, signal, sys
from pathlib import Path
from stormgate.faults.context import make_context
from stormgate.faults.inject import inject
from stormgate.model import Target, from_json
import json
target = from_json(Target, json.loads(Path(sys.argv[1]).read_text()))
run = make_context(target, Path(sys.argv[2]), fault="trial", seed=1)
inject(run, [target.component(name) for name in sys.argv[3:5]], "crash", proof_s=30)
inject(run, [target.component(sys.argv[5])], "invert", proof_s=30)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_gate_that_is_killed_leaves_nothing_that_restore_does_not_take_back(target, tmp_path):
    """A group without a zone, a function without a slot, a check that says the opposite."""
    (tmp_path / "target.json").write_text(json.dumps(to_json(target)))
    folder = tmp_path / "run"
    folder.mkdir()
    words = [str(tmp_path / "target.json"), str(folder), *HOLDS]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_MID_FAULT, *words],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    larger, _, check = HOLDS
    assert not healthy(target, larger)
    # Its group may not bring it back: the zone is none of its own any more.
    scaling = client(target, larger, "autoscaling")
    scaling.resume_processes(AutoScalingGroupName="models-regional-gpu")
    route53 = client(target, check, "route53")
    flag = lambda: route53.get_health_check(HealthCheckId="check-eu-west")  # noqa: E731
    assert flag()["HealthCheck"]["HealthCheckConfig"]["Inverted"]
    assert not healthy(target, larger)
    report = restore(folder, 60)
    assert report.clean, report
    assert healthy(target, larger)
    assert model_of(target, "london") == "edge"
    assert not flag()["HealthCheck"]["HealthCheckConfig"]["Inverted"]
    assert wait_whole(target, 60).whole


def test_a_group_that_may_not_launch_does_not_bring_back_what_ends(target, tmp_path):
    core = "us-east/model-core-gpu"
    run = make_context(target, tmp_path, fault="trial", seed=1)
    inject(run, [target.component(core)], "suspend", proof_s=20)
    scaling, ec2 = client(target, core, "autoscaling"), client(target, core, "ec2")
    named = {"AutoScalingGroupNames": ["models-core-gpu"]}
    [group] = scaling.describe_auto_scaling_groups(**named)["AutoScalingGroups"]
    ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in group["Instances"]])
    assert not healthy(target, core)
    assert not scaling.describe_auto_scaling_groups(**named)["AutoScalingGroups"][0]["Instances"]
    undo_all(run, deadline_s=60)
    assert waited(lambda: healthy(target, core))


@pytest.mark.slow
def test_users_follow_an_inverted_check_after_its_interval_and_their_resolvers(target, tmp_path):
    run = make_context(target, tmp_path, fault="trial", seed=1)
    began = time.monotonic()
    rows = inject(run, [target.component("check:eu-west")], "invert", proof_s=20)
    assert "10 s to notice, 2 s in resolvers" in rows[0]["proof"][0]["saw"]
    assert "eu-west/edge" in steered(target)
    assert waited(lambda: "eu-west/edge" not in steered(target), 40)
    assert time.monotonic() - began >= 12.0
    assert healthy(target, "eu-west/edge"), "the region itself is well"
    undo_all(run, deadline_s=60)
    assert waited(lambda: "eu-west/edge" in steered(target), 40)


def client(target, name, service):
    handle = target.component(name).handle
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    where = {"region_name": handle["region"], "endpoint_url": handle["endpoint_url"]}
    return boto3.client(service, **where, **keys)


def events(folder):
    rows = (folder / "timeline.ndjson").read_text().splitlines()
    return [json.loads(row)["event"] for row in rows]


def waited(seen, deadline_s=20.0):
    end = time.monotonic() + deadline_s
    while not seen():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
