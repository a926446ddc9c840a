"""What the frozen drivers return when they did nothing, and call a success."""

import pytest

from stormgate.judge.journal import problems
from stormgate.judge.rules.vacuous import vacuous
from stormgate.model import Verdict

RUNNING = {"experiment": {"state": {"status": "initiating"}, "experimentOptions": {}}}
SKIPPING = {
    "experiment": {
        "state": {"status": "initiating"},
        "experimentOptions": {"emptyTargetResolutionMode": "skip"},
    }
}


@pytest.mark.parametrize(
    ("module", "func", "output", "why"),
    [
        ("chaosaws.ec2.actions", "stop_instances", [], "matched nothing"),
        ("chaosaws.ec2.actions", "stop_instances", {}, "matched nothing"),
        ("chaosaws.ec2.actions", "stop_instances", None, "returned nothing"),
        ("chaosaws.ec2.actions", "stop_instances", [{"StoppingInstances": []}], "is empty"),
        ("chaosaws.ec2.actions", "stop_instances",
         [{"StoppingInstances": [{"InstanceId": "i-1"}]}], None),
        ("chaosaws.asg.actions", "change_subnets", None, None),
        ("chaosaws.rds.actions", "failover_db_cluster", {"DBCluster": {}}, None),
        ("chaosaws.awslambda.actions", "invoke_function", {"FunctionError": "Unhandled"}, "Unhan"),
        ("chaosaws.cloudwatch.actions", "put_rule_targets", {"FailedEntryCount": 2}, "2 entries"),
        ("chaosaws.cloudwatch.actions", "put_rule_targets", {"FailedEntryCount": 0}, None),
        ("chaosaws.ssm.actions", "send_command", {"Command": {"Status": "TimedOut"}}, "TimedOut"),
        ("chaosaws.ssm.actions", "send_command", {"Command": {"Status": "Pending"}}, None),
        ("chaosaws.fis.actions", "start_experiment", RUNNING, None),
        ("chaosaws.fis.actions", "start_experiment", SKIPPING, "Unproven: "),
        ("chaosaws.fis.actions", "restore_availability_zone_power_after_interruption", [], "match"),
        ("chaosk8s.pod.actions", "exec_in_pods", [{"exit_code": "1"}], "ended with 1"),
        ("chaosk8s.pod.actions", "exec_in_pods", [{"exit_code": "0"}, {"exit_code": 0}], None),
        ("chaosk8s.pod.actions", "terminate_pods", [], "matched nothing"),
        ("chaosk8s.deployment.actions", "scale_deployment", None, None),
        ("chaosk8s.node.actions", "drain_nodes", ["node-1", "node-1"], "node-1 more than once"),
        ("chaosk8s.node.actions", "drain_nodes", ["node-1", "node-2"], None),
        ("chaosk8s.crd.actions", "create_custom_object",
         {"kind": "Status", "status": "Failure", "message": "it already exists"}, "already exists"),
        ("chaosk8s.crd.actions", "delete_custom_object",
         {"kind": "Status", "status": "Success"}, None),
        ("chaosaws.ec2.probes", "count_instances", [], None),
        ("chaosgcp.actions", "stop", [], None),
        ("stormgate.chaos.actions", "undo", [], None),
    ],
)  # fmt: skip
def test_what_is_no_success(module, func, output, why):
    told = vacuous(module, func, output)
    if why is None:
        assert told is None
    else:
        assert told is not None
        assert why in told


def journal(output, where="run"):
    provider = {"type": "python", "module": "chaosaws.ec2.actions", "func": "stop_instances"}
    activity = {"type": "action", "name": "stop", "provider": provider}
    done = {"activity": activity, "status": "succeeded", "output": output}
    method = [activity] if where == "run" else [{**activity, "name": "other"}]
    other = {"activity": method[0], "status": "succeeded", "output": [{"StoppingInstances": [1]}]}
    found = {
        "experiment": {"title": "t", "method": method, "rollbacks": []},
        "status": "completed",
        "run": [done if where == "run" else other],
        "rollbacks": [] if where == "run" else [done],
    }
    if where == "rollbacks":
        found["experiment"]["rollbacks"] = [activity]
    return found


def test_an_action_that_matched_nothing_failed_whoever_wrote_the_journal():
    assert problems(journal([{"StoppingInstances": [1]}])) == []
    (problem,) = problems(journal([]))
    assert problem.severity is Verdict.ERROR
    assert problem.why == (
        "'stop' failed: stop_instances returned []: it matched nothing, so nothing was done"
    )


def test_a_rollback_that_matched_nothing_undid_nothing():
    (problem,) = problems(journal([], "rollbacks"))
    assert problem.severity is Verdict.DIRTY
    assert "matched nothing" in problem.why
