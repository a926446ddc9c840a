"""The lab behind the API of AWS: what is called there is done to its processes and links, and seen
by its users.
"""

import json
import os
import time
import urllib.request
from dataclasses import replace

import boto3
import pytest
from tests.live.aws_world import KEYS
from tests.live.chaos_fixture import ROOT

from stormgate.documents import load_target
from stormgate.faults.backends.aws.session import forget_sessions
from stormgate.faults.context import make_context
from stormgate.faults.errors import CannotBreak, Unproven
from stormgate.faults.inject import inject
from stormgate.faults.restore import restore
from stormgate.faults.undo import undo_all
from stormgate.lab.runtime.launch import launch
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
