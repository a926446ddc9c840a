"""What stands on AWS itself of a fault, and is taken back by, when the ledger is lost."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zipfile

import pytest
from tests.live.aws_world import ACCOUNT, REGION, cloud, context
from tests.live.test_aws import acls, states, subnets_of

from stormgate.faults.backends import FaultRequest
from stormgate.faults.backends.aws import BACKEND, FAMILIES, lock, marks
from stormgate.faults.backends.aws.session import Place
from stormgate.faults.errors import CannotBreak, NotWhole
from stormgate.faults.inject import inject
from stormgate.faults.looks.leftovers import undo_left
from stormgate.faults.state import ProcessOwner
from stormgate.faults.undo import undo_all

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("xdg"))
    with cloud() as made:
        yield made
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture
def aws(server):
    server.reset()
    yield server
    lock.give_all_back()


def tags(aws):
    found = aws.client("ec2").describe_tags()["Tags"]
    return [one for one in found if one["Key"].startswith(marks.UNDO)]


def test_a_fault_stands_on_what_it_breaks_until_it_is_undone(aws, tmp_path):
    [ours] = aws.instances(1, app="shop")
    part = aws.component("ec2", ours)
    run = context(tmp_path / "run", part)
    inject(run, [part], "stop")
    assert {one["ResourceId"] for one in tags(aws)} == {ours}
    undo_all(run)
    assert tags(aws) == []
    assert states(aws, [ours]) == ["running"]


def test_a_lost_ledger_is_made_up_for_by_what_stands_on_aws(aws, tmp_path):
    """Three kinds in one account: the force is for a run that this very process is."""
    ours, shut = aws.instances(2, app="shop"), aws.instances(1, app="shut")
    subnets = subnets_of(aws, f"{REGION}b")
    before = acls(aws, subnets)
    parts = [
        aws.component("ec2", tags={"app": "shop"}, name="app"),
        aws.component("nacl", *subnets, name="net"),
        aws.component("security_group", *shut, name="gate"),
    ]
    run = context(tmp_path / "run", *parts)
    inject(run, parts[:1], "stop")
    inject(run, parts[1:], "blackhole")
    run.watch.end()
    (tmp_path / "run" / "undo.ndjson").unlink()
    kept = undo_left(run.target, 20.0)
    assert len(kept.failed) == kept.alive == 3
    assert states(aws, ours) == ["stopped", "stopped"]
    found = undo_left(run.target, 20.0, force=True)
    assert (found.failed, len(found.undone)) == ((), 3), found
    assert states(aws, ours) == ["running", "running"]
    assert acls(aws, subnets) == before
    assert tags(aws) == []
    assert undo_left(run.target, 5.0) == type(found)(("aws",), (), ())


def test_what_another_run_s_fault_is_written_on_is_no_place_for_a_second(aws, tmp_path):
    [ours] = aws.instances(1, app="shop")
    part = aws.component("ec2", ours)
    left = [{"Key": f"{marks.UNDO}ffff-1of2", "Value": "x"}]
    aws.client("ec2").create_tags(Resources=[ours], Tags=left)
    with pytest.raises(NotWhole, match=f"{ours} is marked as broken by fault ffff"):
        inject(context(tmp_path / "run", part), [part], "stop")
    found = undo_left(context(tmp_path / "run", part).target, 5.0)
    assert "an undo mark of which a piece is missing" in found.failed[0]


def a_function(aws):
    role = aws.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as code:
        code.writestr("a.py", "x = 1")
    aws.client("lambda").create_function(
        FunctionName="pay",
        Runtime="python3.12",
        Role=role["Arn"],
        Handler="a.b",
        Code={"ZipFile": packed.getvalue()},
    )
    return aws.component("lambda", "pay", name="pay"), "throttle"


def a_health_check(aws):
    dns = aws.client("route53")
    config = {"IPAddress": "192.0.2.1", "Port": 80, "Type": "HTTP"}
    made = dns.create_health_check(CallerReference="a", HealthCheckConfig=config)
    check = made["HealthCheck"]["Id"]
    zone = dns.create_hosted_zone(Name="shop.example.", CallerReference="z")["HostedZone"]["Id"]
    record = {"Name": "shop.example.", "Type": "A", "TTL": 5, "SetIdentifier": "a", "Weight": 1}
    record |= {"HealthCheckId": check, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    changes = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=changes)
    return aws.component("route53", check, name="way"), "invert"


def a_group(aws):
    scaling = aws.client("autoscaling")
    kind = {"ImageId": "ami-12c6146b", "InstanceType": "t2.micro"}
    scaling.create_launch_configuration(LaunchConfigurationName="lc", **kind)
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchConfigurationName="lc",
        MinSize=1,
        MaxSize=2,
        VPCZoneIdentifier=subnets_of(aws, f"{REGION}a")[0],
    )
    return aws.component("asg", "web", name="web"), "suspend"


def a_target_group(aws):
    elb, ec2 = aws.client("elbv2"), aws.client("ec2")
    subnets = [subnets_of(aws, f"{REGION}{zone}")[0] for zone in "ab"]
    vpc = ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    made = elb.create_target_group(Name="tg", Protocol="HTTP", Port=80, VpcId=vpc)
    group = made["TargetGroups"][0]["TargetGroupArn"]
    balancer = elb.create_load_balancer(Name="lb", Subnets=subnets)["LoadBalancers"][0]
    listener = {"LoadBalancerArn": balancer["LoadBalancerArn"], "Protocol": "HTTP", "Port": 80}
    elb.create_listener(**listener, DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": aws.instances(1)[0]}])
    return aws.component("elb", "tg", name="tg"), "detach"


def a_template(aws):
    arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{aws.instances(1)[0]}"
    aws.slowly("fis::experiment", 12)
    made = aws.client("fis").create_experiment_template(
        clientToken="t",
        description="stop a box",
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/fis",
        stopConditions=[{"source": "none"}],
        targets={"box": {"resourceType": "aws:ec2:instance", "selectionMode": "ALL",
                         "resourceArns": [arn]}},
        actions={"stop": {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": "box"}}},
        experimentOptions={"emptyTargetResolutionMode": "fail"},
    )["experimentTemplate"]["id"]  # fmt: skip
    return aws.component("fis", made, name="fis"), "run"


@pytest.mark.parametrize("make", [a_function, a_health_check, a_group, a_target_group, a_template])
def test_every_service_that_has_tags_is_taken_back_by_them(aws, tmp_path, make):
    part, mode = make(aws)
    family, place = FAMILIES[part.handle["service"]], Place.of(part.handle)
    [thing] = family.things(place, part.handle)
    run = context(tmp_path / "run", part)
    token = "ab12"
    model = BACKEND.modes_of(part.handle)[mode]
    asked = FaultRequest(
        part=part, mode=mode, params=model().model_dump(), token=token, target=run.target
    )
    record = BACKEND.plan(asked)
    BACKEND.apply(part, record, threading.Event())
    assert marks.tokens(place, family.tags, thing) == {token}
    with pytest.raises((CannotBreak, NotWhole)):
        BACKEND.plan(asked)
    kept = undo_left(run.target, 20.0)
    assert kept.alive == 1, kept
    found = undo_left(run.target, 20.0, force=True)
    assert (found.failed, len(found.undone)) == ((), 1), found
    assert BACKEND.is_whole(part, record).seen
    assert marks.tokens(place, family.tags, thing) == set()


def lease_of(aws, owner, run="elsewhere"):
    value = json.dumps({"owner": owner, "run": run})
    aws.client("ssm").put_parameter(Name=f"{lock.PATH}/1", Value=value, Type="String")


def leases(aws):
    found = aws.client("ssm").get_parameters_by_path(Path=lock.PATH)["Parameters"]
    return [one["Name"].rpartition("/")[2] for one in found]


AWAY = {**ProcessOwner.this().to_dict(), "boot": "another", "machine": "another/elsewhere"}


def test_a_run_on_another_machine_keeps_an_account_s_region_to_itself(aws, tmp_path):
    [ours] = aws.instances(1, app="shop")
    part = aws.component("ec2", ours)
    lease_of(aws, AWAY)
    with pytest.raises(CannotBreak, match=r"eu-west-1 is in use by process \d+ on elsewhere"):
        inject(context(tmp_path / "run", part), [part], "stop")
    assert states(aws, [ours]) == ["running"]
    rows = BACKEND.check(part, ["stop"], context(tmp_path / "run", part).target)
    assert "lease" in [row.what for row in rows if not row.ok]


def test_a_lease_that_nobody_renews_is_taken_over_and_given_back(aws, tmp_path, monkeypatch):
    [ours] = aws.instances(1, app="shop")
    part = aws.component("ec2", ours)
    lease_of(aws, AWAY)
    run = context(tmp_path / "run", part)
    with monkeypatch.context() as patch:
        patch.setattr(lock, "DURATION_S", -1.0)
        inject(run, [part], "stop")
    assert leases(aws) == ["1", "2"], "that of the dead one stays: nobody can have its number"
    undo_all(run)
    assert leases(aws) == ["1"]


def test_of_all_who_want_a_lease_at_once_one_has_it(aws):
    """Processes as of several machines: none can look at another's."""
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", WANTS, aws.url, str(number)],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    said = [one.stdout.readline().strip() for one in begun]
    for one in begun:
        one.communicate("done\n", timeout=60)
    assert sorted(said) == ["held", "refused", "refused"]
    assert leases(aws) == []


WANTS = """
import sys
from dataclasses import replace
from stormgate.faults.backends.aws import lock
from stormgate.faults.backends.aws.session import Place
from stormgate.faults.errors import CannotBreak
from stormgate.faults.state import ProcessOwner
mine = replace(ProcessOwner.this(), boot=sys.argv[2], machine="machine/" + sys.argv[2])
ProcessOwner.this = classmethod(lambda cls: mine)
place = Place("123456789012", "eu-west-1", None, sys.argv[1])
try:
    lock.hold(place, "token")
    print("held", flush=True)
except CannotBreak as error:
    print("refused", flush=True)
sys.stdin.readline()
lock.let_go(place, "token")
"""
