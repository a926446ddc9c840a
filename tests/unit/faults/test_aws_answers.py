"""What AWS answers on bad days, and what no stand-in of it can do: cache failover, zonal shifts, a
Multi-AZ instance that really moves.
"""

import json
import threading
import time
from dataclasses import replace

import pytest
from tests.unit.faults.aws_answers import ACCOUNT, answer_json, error, scripted, xml

from stormgate.faults.backends import FaultRequest
from stormgate.faults.backends.aws import BACKEND, session
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.faults.looks.leftovers import undo_left
from stormgate.model import Component, Observe, Target

ATTRIBUTES = {"awsAccounts": ACCOUNT, "awsRegions": "eu-west-1"}
TARGET = Target(name="shop", attributes=ATTRIBUTES)
SECRET = "wJalrXUtnFEMI-not-a-real-key"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    session.forget_sessions()
    with scripted() as made:
        yield made
    session.forget_sessions()


def component(script, service, name, **handle):
    whole = {"service": service, "account": ACCOUNT, "region": "eu-west-1", "ids": [name]}
    whole |= {"endpoint_url": script.url, "zone": None, "tags": {}, "profile": None, **handle}
    return Component(name="shop", kind="service", backend="aws", handle=whole)


def planned(part, mode, **params):
    model = BACKEND.modes_of(part.handle)[mode]
    request = FaultRequest(
        part=part, mode=mode, params=model(**params).model_dump(), token="t0", target=TARGET
    )
    return BACKEND.plan(request)


def applied(part, record):
    BACKEND.apply(part, record, threading.Event())


def caches(primary, status="available", roles=True, failover="enabled", members=("n-1", "n-2")):
    rows = "".join(
        f"<NodeGroupMember><CacheClusterId>{name}</CacheClusterId>"
        f"<PreferredAvailabilityZone>eu-west-1{zone}</PreferredAvailabilityZone>"
        + (f"<CurrentRole>{'primary' if name == primary else 'replica'}</CurrentRole>" * roles)
        + "</NodeGroupMember>"
        for name, zone in zip(members, "ab", strict=False)
    )
    node = (
        f"<NodeGroup><NodeGroupId>0001</NodeGroupId><Status>{status}</Status>"
        f"<NodeGroupMembers>{rows}</NodeGroupMembers></NodeGroup>"
    )
    group = (
        f"<ReplicationGroup><ReplicationGroupId>c</ReplicationGroupId><Status>{status}</Status>"
        f"<AutomaticFailover>{failover}</AutomaticFailover><NodeGroups>{node}</NodeGroups>"
        "</ReplicationGroup>"
    )
    inside = f"<ReplicationGroups>{group}</ReplicationGroups>"
    return xml("DescribeReplicationGroups", inside)


def test_a_cache_fails_over_when_its_replica_is_primary(script):
    part = component(script, "elasticache", "c")
    script.on["DescribeReplicationGroups"] = caches("n-1")
    script.on["TestFailover"] = xml("TestFailover")
    record = planned(part, "failover")
    applied(part, record)
    assert script.asked[-1] == (
        "TestFailover",
        {"Version": "2015-02-02", "ReplicationGroupId": "c", "NodeGroupId": "0001"},
    )
    assert not BACKEND.in_effect(part, record).seen, "accepted is not done"
    script.on["DescribeReplicationGroups"] = caches("n-2", "modifying")
    assert BACKEND.in_effect(part, record).saw == "n-2 is primary, n-1 before"
    assert not BACKEND.is_whole(part, record).seen
    script.on["DescribeReplicationGroups"] = caches("n-2")
    assert BACKEND.is_whole(part, record).seen


def test_where_roles_are_not_told_the_events_prove_a_cache_failover(script):
    part = component(script, "elasticache", "c")
    script.on["DescribeReplicationGroups"] = caches("n-1", roles=False)
    record = planned(part, "failover")

    def events(*messages):
        rows = "".join(f"<Event><Message>{one}</Message></Event>" for one in messages)
        return xml("DescribeEvents", f"<Events>{rows}</Events>")

    called = "Test Failover API called for node group 0001"
    script.on["DescribeEvents"] = events(called)
    assert not BACKEND.in_effect(part, record).seen
    done = "Failover from primary node n-1 to replica node n-2 completed"
    script.on["DescribeEvents"] = events(called, done)
    assert BACKEND.in_effect(part, record).saw == done


@pytest.mark.parametrize(
    ("answer", "handle", "refusal", "why"),
    [
        (caches("n-1", "modifying"), {}, NotWhole, "c is modifying"),
        (caches("n-1", failover="disabled"), {}, CannotBreak, "does not fail over by itself"),
        (caches("n-1", members=("n-1",)), {}, CannotBreak, "no replica to take over"),
        (caches("n-1"), {"zone": "eu-west-1b"}, CannotBreak, "primary is in eu-west-1a"),
        (error("ReplicationGroupNotFoundFault", status=404), {}, CannotBreak, "nothing is sel"),
        (error("AccessDenied"), {}, CannotBreak, "check --permissions"),
    ],
)
def test_a_cache_that_cannot_fail_over_is_not_asked_to(script, answer, handle, refusal, why):
    script.on["DescribeReplicationGroups"] = answer
    with pytest.raises(refusal, match=why):
        planned(component(script, "elasticache", "c", **handle), "failover")
    assert script.count("TestFailover") == 0


def test_aws_may_refuse_a_failover_for_today(script):
    part = component(script, "elasticache", "c")
    script.on["DescribeReplicationGroups"] = caches("n-1")
    script.on["TestFailover"] = error("APICallRateForCustomerExceededFault", "15 in 24 hours")
    with pytest.raises(NotApplied, match="15 in 24 hours"):
        applied(part, planned(part, "crash"))


def instance(zone, status="available", multi="true"):
    inside = (
        f"<DBInstance><DBInstanceIdentifier>db</DBInstanceIdentifier><MultiAZ>{multi}</MultiAZ>"
        f"<DBInstanceStatus>{status}</DBInstanceStatus>"
        f"<AvailabilityZone>{zone}</AvailabilityZone></DBInstance>"
    )
    return xml("DescribeDBInstances", f"<DBInstances>{inside}</DBInstances>")


def test_a_multi_az_instance_moves_to_another_zone(script):
    part = component(script, "rds", "db", zone="eu-west-1a")
    script.on["DescribeDBClusters"] = error("DBClusterNotFoundFault", status=404)
    script.on["DescribeDBInstances"] = instance("eu-west-1a")
    script.on["RebootDBInstance"] = xml("RebootDBInstance")
    record = planned(part, "crash")
    applied(part, record)
    assert script.asked[-1][1]["ForceFailover"] == "true"
    assert not BACKEND.in_effect(part, record).seen
    script.on["DescribeDBInstances"] = instance("eu-west-1b", "rebooting")
    assert BACKEND.in_effect(part, record).seen
    assert not BACKEND.is_whole(part, record).seen
    script.on["DescribeDBInstances"] = instance("eu-west-1b")
    assert BACKEND.is_whole(part, record).seen


def test_a_reboot_is_seen_while_it_lasts_and_by_its_event_afterwards(script):
    part = component(script, "rds", "db")
    script.on["DescribeDBClusters"] = error("DBClusterNotFoundFault", status=404)
    script.on["DescribeDBInstances"] = instance("eu-west-1a", multi="false")
    script.on["DescribeEvents"] = xml("DescribeEvents", "<Events/>")
    record = planned(part, "reboot")
    with pytest.raises(CannotBreak, match="is not Multi-AZ"):
        planned(part, "failover")
    assert not BACKEND.in_effect(part, record).seen
    script.on["DescribeDBInstances"] = instance("eu-west-1a", "rebooting", "false")
    assert BACKEND.in_effect(part, record).seen
    script.on["DescribeDBInstances"] = instance("eu-west-1a", multi="false")
    told = "<Events><Event><Message>DB instance restarted</Message></Event></Events>"
    script.on["DescribeEvents"] = xml("DescribeEvents", told)
    assert BACKEND.in_effect(part, record).saw == "DB instance restarted"


def test_a_zonal_shift_is_ours_alone_and_is_cancelled(script):
    shifts = []
    resource = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/1"

    def start(given):
        shifts.append({**given, "zonalShiftId": "shift-1", "status": "ACTIVE"})
        return answer_json(shifts[-1], 201)

    def managed(_):
        away = any(one["awayFrom"] == "euw1-az1" for one in shifts)
        weights = {"euw1-az1": 0.0 if away else 1.0, "euw1-az2": 1.0}
        return answer_json({"appliedWeights": weights, "zonalShifts": []})

    def cancel(_):
        shifts.pop(0)
        return answer_json({})

    quoted = resource.replace(":", "%3A").replace("/", "%2F")
    script.on[f"GET /managedresources/{quoted}"] = managed
    script.on["GET /zonalshifts"] = lambda _: answer_json({"items": shifts})
    script.on["POST /zonalshifts"] = start
    script.on["DELETE /zonalshifts/shift-1"] = cancel
    part = component(script, "arc", resource, zone="euw1-az1")
    record = planned(part, "shift_away", expires_min=30)
    applied(part, record)
    assert shifts[0]["expiresIn"] == "30m"
    assert BACKEND.in_effect(part, record).seen
    with pytest.raises(NotWhole, match="is away from euw1-az1 already"):
        planned(part, "shift_away")
    left = BACKEND.is_whole(part, record)
    assert not left.seen
    assert "by hand: aws arc-zonal-shift cancel-zonal-shift" in left.saw
    BACKEND.undo(part, record, 5)
    assert BACKEND.is_whole(part, record).seen
    # A shift of somebody else's is not ours to cancel.
    shifts.append({"zonalShiftId": "shift-2", "awayFrom": "euw1-az1", "comment": "an outage"})
    BACKEND.undo(part, record, 5)
    assert len(shifts) == 1
    with pytest.raises(CannotBreak, match="not in euw1-az9"):
        planned(component(script, "arc", resource, zone="euw1-az9"), "shift_away")


def test_what_is_throttled_is_tried_again_while_there_is_time(script):
    part = component(script, "elasticache", "c")
    left = [error("Throttling", "Rate exceeded"), error("RequestLimitExceeded")]
    script.on["DescribeReplicationGroups"] = lambda _: left.pop() if left else caches("n-1")
    assert planned(part, "failover")["primary_before"] == "n-1"
    record = planned(part, "failover")
    script.on["TestFailover"] = error("Throttling", "Rate exceeded")
    script.on["DescribeReplicationGroups"] = error("Throttling", "Rate exceeded")
    begun = time.monotonic()
    seen = BACKEND.in_effect(part, record)
    assert not seen.seen
    assert "Rate exceeded" in seen.saw
    assert time.monotonic() - begun < 30, "a look ends by itself, however long AWS throttles"


def test_a_server_that_says_nothing_is_given_up(script, monkeypatch):
    monkeypatch.setattr(session, "_READ_S", 0.3)
    part = component(script, "elasticache", "c")
    script.on["DescribeReplicationGroups"] = caches("n-1")
    record = planned(part, "failover")
    script.silent = True
    with pytest.raises(NotApplied, match=r"elasticache test-failover at http://127.0.0.1:\d+: Rea"):
        applied(part, record)


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired"])
def test_expired_credentials_are_one_line_and_the_undo_says_what_is_left(script, code):
    functions = {"function": "f", "prior": 7, "mode": "throttle"}
    part = component(script, "lambda", "f")
    path = "GET /2019-09-30/functions/f/concurrency"
    script.on[path] = answer_json({"__type": code, "Message": "The token is expired"}, 403)
    with pytest.raises(UndoFailed) as raised:
        BACKEND.undo(part, functions, 5)
    told = str(raised.value)
    assert "\n" not in told
    assert "renew the credentials" in told
    assert "aws lambda put-function-concurrency --function-name f" in told
    assert "--reserved-concurrent-executions 7 --region eu-west-1" in told
    assert SECRET not in told


def test_an_api_that_is_gone_leaves_the_fault_open_and_says_how_to_go_on(script):
    part = component(script, "lambda", "f")
    record = {"function": "f", "prior": None, "mode": "throttle"}
    part.handle["endpoint_url"] = "http://127.0.0.1:9"
    with pytest.raises(UndoFailed, match="aws lambda delete-function-concurrency"):
        BACKEND.undo(part, record, 1)
    assert not BACKEND.is_whole(part, record).seen


def test_without_credentials_nothing_is_asked_of_the_network(script, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    session.forget_sessions()
    # An address for documentation: nobody answers there.
    part = component(script, "elasticache", "c", endpoint_url="http://192.0.2.1:9")
    with pytest.raises(CannotBreak, match="no AWS credentials here"):
        planned(part, "failover")
    script.on["DescribeReplicationGroups"] = caches("n-1")
    assert planned(component(script, "elasticache", "c"), "failover"), "a lab here needs none"


def test_a_command_by_hand_goes_where_the_fault_went(script):
    part = component(script, "arc", "arn:aws:x", zone="euw1-az1", profile="ops")
    place = session.Place.of(part.handle)
    line = place.by_hand("ec2", "start-instances", "--instance-ids", "i-1")
    assert line == (
        "aws ec2 start-instances --instance-ids i-1 --region eu-west-1 --profile ops "
        f"--endpoint-url {script.url}"
    )


ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/gate/me"


def simulated(**decisions):
    rows = "".join(
        f"<member><EvalActionName>{name.replace('_', ':', 1)}</EvalActionName>"
        f"<EvalDecision>{said}</EvalDecision></member>"
        for name, said in decisions.items()
    )
    inside = f"<EvaluationResults>{rows}</EvaluationResults><IsTruncated>false</IsTruncated>"
    return xml("SimulatePrincipalPolicy", inside)


ALLOWED = {
    "elasticache_DescribeReplicationGroups": "allowed",
    "elasticache_DescribeEvents": "allowed",
    "elasticache_TestFailover": "allowed",
    "ssm_GetParametersByPath": "allowed",
    "ssm_PutParameter": "allowed",
    "ssm_DeleteParameter": "allowed",
}


@pytest.mark.parametrize(
    ("said", "ok", "told"),
    [
        (simulated(**ALLOWED), True, "6 calls are allowed"),
        (simulated(**{**ALLOWED, "elasticache_TestFailover": "implicitDeny"}), False,
         "elasticache:TestFailover: implicitDeny"),
        (simulated(elasticache_TestFailover="allowed"), False, "DescribeEvents: nothing"),
        (error("AccessDenied"), False, "not known: iam simulate-principal-policy: AccessDenied"),
    ],
)  # fmt: skip
def test_a_preflight_asks_iam_what_is_allowed(script, said, ok, told):
    who = f"<Account>{ACCOUNT}</Account><Arn>{ROLE}</Arn>"
    script.on["GetCallerIdentity"] = xml("GetCallerIdentity", who)
    script.on["DescribeReplicationGroups"] = caches("n-1")
    script.on["SimulatePrincipalPolicy"] = said
    part = component(script, "elasticache", "c")
    rows = BACKEND.check(part, ["failover"], TARGET)
    assert [(row.what, row.ok) for row in rows] == [
        ("account", True), ("failover", True), ("permissions", ok)
    ]  # fmt: skip
    assert told in rows[-1].saw
    asked = dict(script.asked)["SimulatePrincipalPolicy"]
    assert asked["PolicySourceArn"] == f"arn:aws:iam::{ACCOUNT}:role/gate"


def test_a_preflight_says_what_would_be_refused(script):
    script.on["DescribeReplicationGroups"] = caches("n-1", failover="disabled")
    part = component(script, "elasticache", "c")
    elsewhere = Target(name="shop", allow=("10.0.0.0/8",), attributes=ATTRIBUTES)
    rows = BACKEND.check(part, ["failover"], elsewhere)
    assert [(row.what, row.ok) for row in rows] == [("account", True), ("failover", False)]
    assert "does not fail over by itself" in rows[1].saw
    stranger = Target(name="shop", attributes={**ATTRIBUTES, "awsRegions": "us-east-1"})
    assert not BACKEND.check(part, ["failover"], stranger)[0].ok
    assert script.count("TestFailover") == 0


def test_the_policy_holds_what_the_faults_call_and_no_more(script):
    parts = [component(script, "elasticache", "c"), component(script, "lambda", "f")]
    whose, _, text = BACKEND.permissions([(one, ["crash"]) for one in parts]).partition("\n")
    assert whose == f"# account {ACCOUNT}"
    (statement,) = json.loads(text)["Statement"]
    assert {name.partition(":")[0] for name in statement["Action"]} == {
        "sts", "elasticache", "lambda", "ssm"
    }  # fmt: skip
    assert BACKEND.permissions([(parts[0], [])]) == ""


def test_what_stood_behind_an_api_of_this_machine_is_gone_with_it(script):
    here = component(script, "elasticache", "c")
    assert not BACKEND.are_gone([here])
    nobody = component(script, "elasticache", "c", endpoint_url="http://127.0.0.1:9")
    assert BACKEND.are_gone([nobody])
    assert not BACKEND.are_gone([nobody, here])
    answers = Observe(protocol="tcp", address=script.url.removeprefix("http://"))
    assert not BACKEND.are_gone([replace(nobody, observe=answers)]), "it still serves"
    assert not BACKEND.are_gone([component(script, "elasticache", "c", endpoint_url=None)])


def test_without_a_ledger_nobody_calls_an_account_clean(script):
    shift = component(script, "arc", "arn:aws:x", zone="euw1-az1")
    found = undo_left(replace(TARGET, components=(shift,)), 5)
    assert found.undone == ()
    assert "broken of arc stands in its ledger alone" in found.failed[0]
    over = replace(TARGET, components=(component(script, "elasticache", "c"),))
    assert undo_left(over, 5).failed == (), "a failover is over by itself"
    assert script.asked == []
