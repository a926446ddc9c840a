"""Faults on AWS, over HTTP against a server that keeps state as AWS does: selected, proven by
describing, written down, taken back exactly, also by another process.
"""

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest
from click.testing import CliRunner
from tests.live.aws_world import ACCOUNT, REGION, cloud, context

from stormgate.commands.discover import command as discover
from stormgate.documents import load_target
from stormgate.faults.backends.aws import FAMILIES
from stormgate.faults.context import make_context
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed, Unproven
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.looks.watch import in_effect
from stormgate.faults.restore import restore
from stormgate.faults.undo import undo_all
from stormgate.judge.journal import problems
from stormgate.model import to_json

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
    return server


def states(aws, ids):
    found = aws.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
    return [one["State"]["Name"] for each in found for one in each["Instances"]]


def acls(aws, subnets):
    found = aws.client("ec2").describe_network_acls()["NetworkAcls"]
    return {
        one["SubnetId"]: acl["NetworkAclId"]
        for acl in found
        for one in acl["Associations"]
        if one["SubnetId"] in subnets
    }


def subnets_of(aws, zone):
    chosen = [{"Name": "availability-zone", "Values": [zone]}]
    found = aws.client("ec2").describe_subnets(Filters=chosen)["Subnets"]
    return [one["SubnetId"] for one in found]


@pytest.mark.parametrize("mode", ["stop", "crash"])
def test_instances_of_a_tag_and_zone_are_stopped_and_only_they_are_started_again(
    aws, tmp_path, mode
):
    ours, elsewhere = aws.instances(2, app="shop"), aws.instances(1, f"{REGION}b", app="shop")
    others = aws.instances(1, app="other")
    part = aws.component("ec2", tags={"app": "shop"}, zone=f"{REGION}a")
    run = context(tmp_path / "run", part)
    rows = inject(run, [part], mode)
    assert "2 instances: stopped" in rows[0]["proof"][0]["saw"]
    assert states(aws, ours) == ["stopped", "stopped"]
    assert states(aws, elsewhere + others) == ["running", "running"]
    aws.client("ec2").stop_instances(InstanceIds=others)
    undo_all(run)
    assert states(aws, ours) == ["running", "running"]
    assert states(aws, others) == ["stopped"], "what somebody else stopped is not ours to start"


def test_another_process_restores_by_what_the_ledger_says(aws, tmp_path):
    ours = aws.instances(2, app="shop")
    part = aws.component("ec2", tags={"app": "shop"})
    inject(context(tmp_path / "run", part), [part], "stop")
    # The tags have changed meanwhile: what is undone is what was broken, by its ids.
    aws.client("ec2").delete_tags(Resources=ours, Tags=[{"Key": "app"}])
    report = restore(tmp_path / "run", 20)
    assert report.clean, report
    assert states(aws, ours) == ["running", "running"]
    assert open_entries(tmp_path / "run") == []
    assert "wJalr" not in (tmp_path / "run" / "undo.ndjson").read_text()


@pytest.mark.parametrize(
    ("handle", "attributes", "why"),
    [
        ({"tags": {"app": "nobody"}}, {}, "nothing is selected: there is no ec2 app=nobody"),
        ({"ids": ["i-0123456789abcdef0"]}, {}, "nothing is selected"),
        ({"tags": {"app": "shop"}, "zone": f"{REGION}c"}, {}, f"in {REGION}c"),
        ({"tags": {"app": "shop"}}, {"awsAccounts": "999999999999"}, "not in the target's"),
        ({"tags": {"app": "shop"}}, {"awsRegions": "us-east-1"}, "region eu-west-1 is not in"),
        ({"tags": {"app": "shop"}, "account": "999999999999"}, {"awsAccounts": "999999999999"},
         f"the credentials are of account {ACCOUNT}"),
    ],
)  # fmt: skip
def test_nothing_is_asked_for_what_is_not_there_or_not_listed(
    aws, tmp_path, handle, attributes, why
):
    ours = aws.instances(1, app="shop")
    part = aws.component("ec2", **handle)
    run = context(tmp_path / "run", part, **attributes)
    with pytest.raises(CannotBreak, match=why):
        inject(run, [part], "stop")
    assert states(aws, ours) == ["running"]
    assert not (tmp_path / "run" / "undo.ndjson").exists()


def test_an_instance_that_is_stopped_already_is_no_place_for_a_fault(aws, tmp_path):
    ours = aws.instances(2, app="shop")
    aws.client("ec2").stop_instances(InstanceIds=ours[:1])
    part = aws.component("ec2", tags={"app": "shop"})
    with pytest.raises(NotWhole, match=f"{ours[0]} is stopped"):
        inject(context(tmp_path / "run", part), [part], "stop")
    assert states(aws, ours[1:]) == ["running"]


def test_an_instance_that_nothing_would_bring_back_is_not_terminated(aws, tmp_path):
    ours = aws.instances(1, app="shop")
    part = aws.component("ec2", *ours)
    with pytest.raises(CannotBreak, match="in no auto scaling group"):
        inject(context(tmp_path / "run", part), [part], "terminate")
    assert states(aws, ours) == ["running"]


def test_what_vanished_meanwhile_is_dirty_and_says_how_to_go_on(aws, tmp_path):
    ours = aws.instances(1, app="shop")
    part = aws.component("ec2", *ours)
    run = context(tmp_path / "run", part)
    inject(run, [part], "stop")
    aws.client("ec2").terminate_instances(InstanceIds=ours)
    with pytest.raises(UndoFailed, match=f"aws ec2 start-instances --instance-ids {ours[0]}"):
        undo_all(run, deadline_s=1)
    assert len(open_entries(run.folder)) == 1


def test_a_zone_is_cut_off_by_its_subnets_and_gets_its_own_lists_back(aws, tmp_path):
    own, far = subnets_of(aws, f"{REGION}a"), subnets_of(aws, f"{REGION}b")
    vpc = aws.client("ec2").describe_subnets(SubnetIds=own)["Subnets"][0]["VpcId"]
    special = aws.client("ec2").create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    chosen = [{"Name": "association.subnet-id", "Values": own}]
    listed = aws.client("ec2").describe_network_acls(Filters=chosen)["NetworkAcls"][0]
    association = next(one for one in listed["Associations"] if one["SubnetId"] == own[0])
    aws.client("ec2").replace_network_acl_association(
        AssociationId=association["NetworkAclAssociationId"], NetworkAclId=special
    )
    before = acls(aws, own + far)
    assert before[own[0]] == special
    part = aws.component("nacl", *own, zone=f"{REGION}a")
    run = context(tmp_path / "run", part)
    rows = inject(run, [part], "blackhole")
    assert "1 subnets are behind a list that denies all" in rows[0]["proof"][0]["saw"]
    during = acls(aws, own + far)
    assert during[own[0]] not in before.values()
    assert during[far[0]] == before[far[0]]
    with pytest.raises(NotWhole, match="is cut off by fault"):
        inject(context(tmp_path / "second", part), [part], "blackhole")
    undo_all(run)
    assert acls(aws, own + far) == before
    found = aws.client("ec2").describe_network_acls()["NetworkAcls"]
    assert during[own[0]] not in [acl["NetworkAclId"] for acl in found], "ours is deleted"
    undo_all(run)


def test_somebody_else_who_put_the_subnet_right_is_seen_and_not_undone(aws, tmp_path):
    own = subnets_of(aws, f"{REGION}a")
    part = aws.component("nacl", *own)
    run = context(tmp_path / "run", part)
    before = acls(aws, own)
    inject(run, [part], "blackhole")
    chosen = [{"Name": "association.subnet-id", "Values": own}]
    ours = aws.client("ec2").describe_network_acls(Filters=chosen)["NetworkAcls"][0]
    aws.client("ec2").replace_network_acl_association(
        AssociationId=ours["Associations"][0]["NetworkAclAssociationId"],
        NetworkAclId=before[own[0]],
    )
    entry = open_entries(run.folder)[0]
    assert not in_effect(entry).seen
    undo_all(run)
    assert acls(aws, own) == before


def test_interfaces_are_shut_in_and_get_their_groups_back(aws, tmp_path):
    ours = aws.instances(1)
    ec2 = aws.client("ec2")

    def groups():
        found = ec2.describe_instances(InstanceIds=ours)["Reservations"][0]["Instances"][0]
        return [one["GroupName"] for one in found["NetworkInterfaces"][0]["Groups"]]

    before = groups()
    part = aws.component("security_group", *ours)
    run = context(tmp_path / "run", part)
    inject(run, [part], "blackhole")
    during = ec2.describe_security_groups(GroupNames=groups())["SecurityGroups"][0]
    assert during["GroupName"].startswith("stormgate-")
    assert during["IpPermissions"] == during["IpPermissionsEgress"] == []
    undo_all(run)
    assert groups() == before
    left = [one["GroupName"] for one in ec2.describe_security_groups()["SecurityGroups"]]
    assert not [name for name in left if name.startswith("stormgate-")]


@pytest.mark.parametrize(
    ("params", "writer"), [({}, "b-1"), ({"to": "a-2"}, "a-2")], ids=["chosen", "named"]
)
def test_a_failover_finds_its_target_and_proves_that_another_writes(aws, tmp_path, params, writer):
    aws.cluster()
    part = aws.component("rds", "orders", zone=f"{REGION}a")
    run = context(tmp_path / "run", part)
    rows = inject(run, [part], "failover", params)
    assert aws.writer() == writer
    assert rows[0]["proof"][0]["saw"] == f"{writer} writes, a-1 before"
    undo_all(run)
    assert aws.writer() == writer, "back again would be another failover, to be judged"


@pytest.mark.parametrize(
    ("handle", "params", "why"),
    [
        ({"zone": f"{REGION}b"}, {}, "a-1, which writes, is in eu-west-1a, not in eu-west-1b"),
        ({}, {"to": "c-1"}, r"'c-1' is no available reader of orders \(there are a-2, b-1\)"),
        ({}, {"to": "a-1"}, "'a-1' is no available reader"),
    ],
)
def test_a_failover_without_a_target_is_refused(aws, tmp_path, handle, params, why):
    aws.cluster()
    part = aws.component("rds", "orders", **handle)
    with pytest.raises(CannotBreak, match=why):
        inject(context(tmp_path / "run", part), [part], "failover", params)
    assert aws.writer() == "a-1"


def test_of_two_faults_at_once_one_that_cannot_be_made_takes_back_the_other(
    aws, tmp_path, monkeypatch
):
    ours = aws.instances(1, app="shop")
    aws.cluster()
    parts = [aws.component("ec2", *ours), aws.component("rds", "orders", name="orders")]
    run = context(tmp_path / "run", *parts)
    planned = FAMILIES["rds"].plan

    def plan_then_lose(wanted):
        record = planned(wanted)
        # It is deleted between the look and the call.
        aws.client("rds").delete_db_instance(DBInstanceIdentifier=record["chosen"])
        return record

    monkeypatch.setattr(FAMILIES["rds"], "plan", plan_then_lose)
    with pytest.raises(NotApplied, match=r"rds failover-db-cluster: .*b-1"):
        inject(run, parts, "crash")
    assert states(aws, ours) == ["running"]
    rows = (run.folder / "timeline.ndjson").read_text().splitlines()
    assert [json.loads(row)["event"] for row in rows].count("fault.cleared") == 2


def group_of(aws, name="web"):
    listed = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return listed["AutoScalingGroups"][0]


@pytest.fixture
def web(aws):
    """An auto scaling group of two, in two zones."""
    asg = aws.client("autoscaling")
    asg.create_launch_configuration(
        LaunchConfigurationName="lc", ImageId="ami-12c6146b", InstanceType="t2.micro"
    )
    subnets = [subnets_of(aws, f"{REGION}{zone}")[0] for zone in "ab"]
    asg.create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchConfigurationName="lc",
        MinSize=2,
        MaxSize=4,
        DesiredCapacity=2,
        VPCZoneIdentifier=",".join(subnets),
    )
    return [one["InstanceId"] for one in group_of(aws)["Instances"]]


def test_a_group_resumes_exactly_what_the_fault_suspended(aws, tmp_path, web):
    asg = aws.client("autoscaling")
    asg.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["AZRebalance"])
    instances = aws.component("ec2", *web)
    with pytest.raises(CannotBreak, match="'web' would replace it while it is stopped"):
        inject(context(tmp_path / "early", instances), [instances], "stop")
    part = aws.component("asg", "web", name="group")
    run = context(tmp_path / "run", part, instances)
    wanted = ["AZRebalance", "HealthCheck", "ReplaceUnhealthy", "Terminate"]
    inject(run, [part], "suspend", {"processes": wanted})
    assert sorted(p["ProcessName"] for p in group_of(aws)["SuspendedProcesses"]) == wanted
    inject(run, [instances], "stop")
    undo_all(run)
    assert states(aws, web) == ["running", "running"]
    assert [p["ProcessName"] for p in group_of(aws)["SuspendedProcesses"]] == ["AZRebalance"]


def test_a_group_loses_a_zone_and_gets_its_subnets_back(aws, tmp_path, web):
    before = group_of(aws)["VPCZoneIdentifier"]
    part = aws.component("asg", "web", zone=f"{REGION}a")
    run = context(tmp_path / "run", part)
    inject(run, [part], "zone_loss")
    assert group_of(aws)["VPCZoneIdentifier"] == before.split(",")[1]
    assert states(aws, web) == ["terminated", "terminated"]
    undo_all(run)
    assert set(group_of(aws)["VPCZoneIdentifier"].split(",")) == set(before.split(","))


def test_targets_of_a_zone_are_deregistered_and_come_back_on_their_ports(aws, tmp_path):
    elb, ec2 = aws.client("elbv2"), aws.client("ec2")
    subnets = [subnets_of(aws, f"{REGION}{zone}")[0] for zone in "ab"]
    vpc = ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    made = elb.create_target_group(Name="tg", Protocol="HTTP", Port=80, VpcId=vpc)
    group = made["TargetGroups"][0]["TargetGroupArn"]
    balancer = elb.create_load_balancer(Name="lb", Subnets=subnets)["LoadBalancers"][0]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    (near,), (far,) = aws.instances(1), aws.instances(1, f"{REGION}b")
    targets = [{"Id": near, "Port": 8080}, {"Id": far, "Port": 8081}]
    elb.register_targets(TargetGroupArn=group, Targets=targets)

    def registered():
        found = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {(one["Target"]["Id"], one["Target"]["Port"]) for one in found}

    part = aws.component("elb", "tg", zone=f"{REGION}a")
    run = context(tmp_path / "run", part)
    inject(run, [part], "detach")
    assert registered() == {(far, 8081)}
    undo_all(run)
    assert registered() == {(near, 8080), (far, 8081)}


@pytest.mark.parametrize("prior", [None, 7])
def test_a_function_gets_back_what_it_had_reserved(aws, tmp_path, prior):
    functions = aws.client("lambda")
    role = aws.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as code:
        code.writestr("a.py", "x = 1")
    functions.create_function(
        FunctionName="f",
        Runtime="python3.12",
        Role=role["Arn"],
        Handler="a.b",
        Code={"ZipFile": packed.getvalue()},
    )

    def reserved():
        answer = functions.get_function_concurrency(FunctionName="f")
        return answer.get("ReservedConcurrentExecutions")

    if prior is not None:
        functions.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=prior)
    part = aws.component("lambda", "f")
    run = context(tmp_path / "run", part)
    inject(run, [part], "throttle")
    assert reserved() == 0
    undo_all(run)
    assert reserved() == prior


def test_a_health_check_is_inverted_and_says_how_long_users_take_to_move(aws, tmp_path):
    dns = aws.client("route53")
    config = {"IPAddress": "192.0.2.1", "Port": 80, "Type": "HTTP", "RequestInterval": 10}
    made = dns.create_health_check(CallerReference="a", HealthCheckConfig=config)
    check = made["HealthCheck"]["Id"]
    part = aws.component("route53", check)
    with pytest.raises(CannotBreak, match="no record follows health check"):
        inject(context(tmp_path / "idle", part), [part], "invert")
    zone = dns.create_hosted_zone(Name="shop.example.", CallerReference="z")["HostedZone"]["Id"]
    record = {
        "Name": "www.shop.example.",
        "Type": "A",
        "TTL": 45,
        "SetIdentifier": "first",
        "Failover": "PRIMARY",
        "HealthCheckId": check,
        "ResourceRecords": [{"Value": "192.0.2.1"}],
    }
    changes = [{"Action": "CREATE", "ResourceRecordSet": record}]
    dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    run = context(tmp_path / "run", part)
    rows = inject(run, [part], "invert")
    assert rows[0]["proof"][0]["saw"].endswith("30 s to notice, 45 s in resolvers")
    undo_all(run)
    found = dns.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    assert found["Inverted"] is False


def test_an_experiment_template_that_could_succeed_over_nothing_is_refused(aws, tmp_path):
    fis, (box,) = aws.client("fis"), aws.instances(1)
    arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{box}"

    def template(mode, arns):
        target = {"resourceType": "aws:ec2:instance", "selectionMode": "ALL"}
        chosen = {"resourceArns": arns} if arns else {"resourceTags": {"app": "nobody"}}
        action = {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": "box"}}
        made = fis.create_experiment_template(
            clientToken=f"{mode}{bool(arns)}",
            description="stop a box",
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/fis",
            stopConditions=[{"source": "none"}],
            targets={"box": {**target, **chosen}},
            actions={"stop": action},
            experimentOptions={"emptyTargetResolutionMode": mode},
        )
        return made["experimentTemplate"]["id"]

    skipping = aws.component("fis", template("skip", [arn]))
    with pytest.raises(CannotBreak, match="succeeds over nothing"):
        inject(context(tmp_path / "skip", skipping), [skipping], "run")
    aws.slowly("fis::experiment", 8)
    empty = aws.component("fis", template("fail", []))
    with pytest.raises(Unproven):
        inject(context(tmp_path / "empty", empty), [empty], "run", proof_s=1)
    part = aws.component("fis", template("fail", [arn]))
    run = context(tmp_path / "run", part)
    rows = inject(run, [part], "run")
    assert rows[0]["proof"][0]["saw"] == "it runs; targets resolved: box: 1"
    undo_all(run)
    ended = [one["state"]["status"] for one in fis.list_experiments()["experiments"]]
    assert ended[-1] == "stopped"
    assert set(ended) <= {"stopped", "completed"}, "the one over nothing was not left running"


def test_a_native_experiment_that_did_nothing_has_failed(aws, tmp_path):
    """chaostoolkit-aws calls an empty list a success; Chaos Toolkit believes it."""
    (box,) = aws.instances(1)

    def action(name, module, func, **arguments):
        provider = {"type": "python", "module": f"chaosaws.{module}.actions", "func": func}
        return {"type": "action", "name": name, "provider": {**provider, "arguments": arguments}}

    experiment = {
        "title": "t",
        "description": "d",
        "configuration": {"aws_region": REGION},
        "method": [
            action("stop", "ec2", "stop_instances", instance_ids=[box]),
            action("detach", "ec2", "detach_random_volume", instance_ids=[]),
            action("fail-over", "rds", "failover_db_cluster", db_cluster_identifier="orders"),
        ],
        "rollbacks": [
            action("start", "ec2", "start_instances", instance_ids=[box]),
        ],
    }
    run = context(tmp_path / "run")
    (tmp_path / "trial.json").write_text(json.dumps(experiment))
    (tmp_path / "target.json").write_text(json.dumps(to_json(run.target)))
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": aws.url,
        "STORMGATE_TARGET": str(tmp_path / "target.json"),
        "STORMGATE_EVIDENCE": str(run.folder),
    }
    command = [sys.executable, "-m", "stormgate.chaos.run", str(tmp_path / "trial.json")]
    done = subprocess.run(
        [*command, "--fault", "trial"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    journal = json.loads((run.folder / "journals" / "trial.json").read_bytes())
    told = {one["activity"]["name"]: one["status"] for one in journal["run"]}
    assert told == {"stop": "succeeded", "detach": "failed", "fail-over": "failed"}, done.stderr
    whys = [problem.why for problem in problems(journal)]
    assert [why.partition(":")[0] for why in whys] == ["'detach' failed", "'fail-over' failed"]
    assert states(aws, [box]) == ["running"]


def test_a_first_target_document_comes_from_the_account_itself(aws, tmp_path, web, monkeypatch):
    aws.cluster()
    aws.instances(2, f"{REGION}b", Name="app")
    aws.client("rds").create_db_instance(
        DBInstanceIdentifier="alone", Engine="postgres", DBInstanceClass="db.t3.micro",
        MasterUsername="root", MasterUserPassword="hunter2-hunter2", AllocatedStorage=20,
    )  # fmt: skip
    queue = aws.client("sqs").create_queue(QueueName="mail", tags={"app": "shop"})
    assert queue["QueueUrl"]
    command = ["aws", "--region", REGION, "--endpoint-url", aws.url, "--name", "found"]
    told = CliRunner().invoke(discover, command, standalone_mode=False)
    assert told.return_value == 0, told.output
    (tmp_path / "target.yaml").write_text(told.stdout)
    monkeypatch.setenv("FRONT_URL", "http://127.0.0.1:1")
    found = load_target(tmp_path / "target.yaml")
    parts = {one.name: one for one in found.components}
    assert parts[f"{REGION}b/app"].handle["service"] == "ec2"
    assert len(parts[f"{REGION}b/app"].handle["ids"]) == 2
    assert f"{REGION}a/web" in parts, "a group can lose either of its zones"
    assert f"{REGION}a/orders" in parts, "a cluster stands where it is written"
    assert f"{REGION}a/{web[0]}" not in parts, "an instance of a group is the group's"
    assert set(parts[f"{REGION}b"].parts) == {f"{REGION}b/app", f"{REGION}b/web"}
    assert parts[f"subnets:{REGION}a"].kind == "link"
    assert "# - database alone: nothing takes over (not Multi-AZ)" in told.stdout
    assert f"# - arn:aws:sqs:{REGION}:{ACCOUNT}:mail: no mode for it" in told.stdout
    # What was found can be broken as it stands there.
    run = make_context(found, tmp_path, fault="trial", seed=1)
    inject(run, [parts[f"{REGION}b"]], "blackhole")
    undo_all(run)


def test_discovery_that_may_not_ask_says_so(aws):
    nobody = ["--endpoint-url", "http://127.0.0.1:9"]
    told = CliRunner().invoke(discover, ["aws", "--region", REGION, *nobody], standalone_mode=False)
    assert told.return_value == 2
    assert "Error: sts get-caller-identity at http://127.0.0.1:9" in told.output
    told = CliRunner().invoke(discover, ["aws", "--region", REGION, "--tag", "app"])
    assert told.exit_code == 2
    assert "--tag wants KEY=VALUE" in told.output
