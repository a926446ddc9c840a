"""Experiments of other people: what Chaos Toolkit would refuse is refused at its line before the
run, and what it takes is taken.
"""

import socket
import textwrap
from pathlib import Path

import pytest

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate

GATE, TRIAL = "slas/release.yaml", "experiments/web-loss.yaml"
EXPERIMENT = """\
title: Somebody else's
description: A native experiment.
{more}
method:
  - type: action
    name: break
    provider: {{type: python, module: os, func: rename, arguments: {{src: a, dst: b}}}}
"""
PROBE = """\
steady-state-hypothesis:
  title: fine
  probes:
    - type: probe
      name: looks
      tolerance: {tolerance}
      provider: {{type: http, url: "http://127.0.0.1:1/"}}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path, "shop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(suite: Path, more: str = "", text: str = "") -> list[str]:
    """Write the experiment; its lines."""
    text = text or EXPERIMENT.format(more=more)
    (suite / TRIAL).write_text(text)
    return text.splitlines()


def problems(suite: Path) -> list[str]:
    try:
        load_gate(suite / GATE)
    except DocumentErrors as error:
        return [str(problem) for problem in error.problems]
    return []


def tolerance(value: str) -> str:
    return PROBE.format(tolerance=value)


WRONG = [
    ("configuration:\n  comp: {type: env, key: NOT_SET_HERE}", "comp:", "NOT_SET_HERE"),
    ("secrets:\n  shop:\n    token: {type: env, key: NOT_SET_HERE}", "secrets|shop", "NOT_SET"),
    (tolerance("{type: nosuch}"), "tolerance", "type 'nosuch' is unsupported"),
    (tolerance("{type: range, range: [1]}"), "tolerance", "two values"),
    (tolerance("{type: range, range: [a, 2]}"), "tolerance", "lower boundary must be a number"),
    (tolerance("{type: regex, pattern: '('}"), "tolerance", "seems invalid"),
    (tolerance("{type: jsonpath, path: ''}"), "tolerance", "cannot be empty"),
    (tolerance("true").replace("  title: fine\n", ""), "hypothesis", "has no title"),
    ("tags: [a, 3]", "title:", "tags must be a non-empty string"),
]
ACTIVITY = [
    ("pauses: {before: 1s}", "pauses", "before pause must be a number"),
    ("background: soon", "background", "background must be a boolean"),
    ("timeout: long", "timeout", "timeout must be a number"),
]
PROVIDERS = [
    ("{type: python, module: chaosnosuch.pod, func: kill}", "could not find Python module"),
    ("{type: python, module: os, func: nosuch}", "does not expose a function called 'nosuch'"),
    ("{type: python, module: os, func: rename, arguments: {src: a}}", "dst' (pos 2)|missing"),
    ("{type: process, path: /nosuch/tool}", "path '/nosuch/tool' cannot be found"),
    ("{type: http}", "must have a URL"),
]


@pytest.mark.parametrize(("more", "line", "says"), WRONG, ids=[w[2] for w in WRONG])
def test_what_chaos_toolkit_refuses_is_refused_at_its_line(suite, more, line, says):
    lines = write(suite, more)
    (found,) = problems(suite)
    assert says in found
    where = lines[int(found.split(":")[1]) - 1]
    assert found.startswith(f"{TRIAL}:")
    assert any(word in where for word in line.split("|")), where


@pytest.mark.parametrize(("more", "line", "says"), ACTIVITY, ids=[w[0] for w in ACTIVITY])
def test_an_activity_is_refused_at_its_line(suite, more, line, says):
    lines = write(suite, text=EXPERIMENT.format(more="") + f"    {more}\n")
    (found,) = problems(suite)
    assert says in found
    assert line in lines[int(found.split(":")[1]) - 1]


@pytest.mark.parametrize(("provider", "says"), PROVIDERS, ids=[w[0] for w in PROVIDERS])
def test_a_provider_is_refused_at_its_line(suite, provider, says):
    text = EXPERIMENT.format(more="")
    old = "{type: python, module: os, func: rename, arguments: {src: a, dst: b}}"
    assert old in text
    lines = write(suite, text=text.replace(old, provider))
    (found,) = problems(suite)
    assert any(word in found for word in says.split("|")), found
    assert "provider:" in lines[int(found.split(":")[1]) - 1]


@pytest.mark.parametrize("more", ["controls: 5", "controls: [5]", "configuration: [1]", "tags: 7"])
def test_what_has_no_shape_is_a_problem_and_no_traceback(suite, more):
    starter = (suite / TRIAL).read_text()
    key = more.partition(":")[0]
    lines, skipping = [], False
    for line in starter.splitlines():
        skipping = line.startswith(f"{key}:") or (skipping and line.startswith((" ", "-")))
        if not skipping:
            lines.append(line)
    write(suite, text="\n".join([*lines, more]) + "\n")
    found = problems(suite)
    assert found
    assert all(problem.startswith((TRIAL, GATE)) for problem in found)


def test_an_anchor_named_again_is_refused_as_chaos_toolkit_does(suite):
    write(suite, "x-a: &a 1\nx-b: &a 2\nx-c: *a")
    (found,) = problems(suite)
    assert "duplicate anchor 'a'" in found


def test_a_reference_to_nothing(suite):
    write(suite, text=EXPERIMENT.format(more="") + "  - {ref: nowhere}\n")
    (found,) = problems(suite)
    assert "'nowhere' is not in the experiment" in found


TAKEN = [
    tolerance("{type: jsonpath, path: '$.a', expect: [1]}"),
    tolerance("{type: range, range: [1, 2]}"),
    "x-owner: ops\ncontributions: {availability: high}",
    "secrets:\n  shop: {token: abc}\nconfiguration: {}",
    "configuration:\n  port: {type: env, key: NOT_SET_HERE, default: 3}",
    "configuration:\n  at: {type: probe, name: at, provider: {type: python, module: os, func: getcwd}}",  # noqa: E501
]


@pytest.mark.parametrize("more", TAKEN, ids=[t[:40] for t in TAKEN])
def test_what_chaos_toolkit_takes_is_taken(suite, more):
    write(suite, more)
    assert problems(suite) == []


def test_functions_that_only_importing_shows(suite):
    (suite / "odd.py").write_text(
        textwrap.dedent("""\
        from os.path import *
        import os
        aliased = os.remove
        def _made():
            def inner(path): pass
            return inner
        closure = _made()
        try:
            def guarded(path): pass
        except ImportError:
            pass
        """)
    )
    calls = [("odd", name) for name in ("aliased", "closure", "guarded", "exists")]
    activities = "".join(
        f"  - {{type: action, name: {func}, timeout: 3, dry: actions, provider: {{type: python, "
        f"module: {module}, func: {func}, timeout: 3, "
        "arguments: {path: '$${x} ${token}'}}}\n"
        for module, func in calls
    )
    write(suite, text=EXPERIMENT.format(more="secrets: {s: {token: abc}}") + activities)
    assert problems(suite) == []
    write(suite, text=EXPERIMENT.format(more="") + activities.replace("closure", "closed"))
    assert any("does not expose" in problem for problem in problems(suite))


def test_the_gates_value_wins_over_a_variable_that_is_not_set(suite):
    write(suite, "configuration:\n  comp: {type: env, key: NOT_SET_HERE}")
    path = suite / GATE
    text = path.read_text()
    path.write_text(
        text.replace("recovery: 10s", "recovery: 10s\n      configuration: {comp: web}")
    )
    assert problems(suite) == []


def test_importing_sends_no_packet_and_prints_nothing(suite, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (suite / "greedy.py").write_text(
            f"import socket\nprint('hello')\nsocket.create_connection(('127.0.0.1', {port}))\n"
            "def act(): pass\n"
        )
        text = EXPERIMENT.format(more="").replace(
            "module: os, func: rename", "module: greedy, func: act"
        )
        write(suite, text=text.replace(", arguments: {src: a, dst: b}", ""))
        (found,) = problems(suite)
        assert "importing it needs the network" in found
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    assert "hello" not in capfd.readouterr().out


def test_a_module_that_ends_its_process_is_a_problem_not_a_pass(suite):
    (suite / "ends.py").write_text("import os\nos._exit(0)\n")
    text = EXPERIMENT.format(more="").replace("module: os, func", "module: ends, func")
    write(suite, text=text)
    (found,) = problems(suite)
    assert "could not be asked" in found


DRIVER = EXPERIMENT.replace(
    "{{type: python, module: os, func: rename, arguments: {{src: a, dst: b}}}}",
    "{{type: python, module: {module}, func: {func}, arguments: {arguments}}}",
)


@pytest.mark.parametrize(
    ("module", "func", "arguments", "why"),
    [
        ("chaosaws.rds.actions", "failover_db_cluster", "{db_cluster_identifier: a}",
         "failover_db_cluster without target_db_instance_identifier cannot do anything"),
        ("chaosaws.rds.actions", "failover_db_cluster",
         "{db_cluster_identifier: a, target_db_instance_identifier: b}", None),
        ("chaosaws.ec2.actions", "stop_instances", "{instance_ids: []}",
         "stop_instances: instance_ids is empty, and selects nothing"),
        ("chaosaws.ec2.actions", "stop_instances", "{instances: [i-1]}",
         "takes no argument 'instances'"),
        ("chaosaws.ec2.actions", "stop_instances", "{instance_ids: [i-1]}", None),
        ("chaosaws.lambda.actions", "invoke_function", "{}", "chaosaws.lambda"),
        ("chaosk8s.pod.actions", "exec_in_pods", "{cmd: ls}",
         "exec_in_pods without container_name cannot do anything"),
        ("chaosk8s.pod.actions", "exec_in_pods", "{cmd: [kill, '-9', '1'], container_name: a}",
         "PID 1 of a container ignores it"),
        ("chaosk8s.pod.actions", "exec_in_pods", "{cmd: kill -STOP 1, container_name: a}",
         "PID 1 of a container ignores it"),
        ("chaosk8s.pod.actions", "exec_in_pods", "{cmd: kill -9 17, container_name: a}", None),
        ("chaosk8s.node.actions", "delete_nodes", "{all: true}", "raises a TypeError"),
        ("chaosk8s.deployment.actions", "delete_deployment", "{ns: shop}",
         "without name or label_selector takes everything of its namespace"),
        ("chaosk8s.deployment.actions", "delete_deployment", "{name: web}", None),
        ("chaosk8s.daemonset.actions", "delete_daemon_set", "{ns: shop}",
         "takes everything of its namespace"),
        ("chaosk8s.node.actions", "cordon_node", "{}", "takes everything of the whole cluster"),
        ("chaosk8s.node.actions", "drain_nodes", "{timeout: 9}",
         "takes everything of the whole cluster"),
        ("chaosk8s.node.actions", "drain_nodes", "{pod_label_selector: app=web}",
         "pod_label_selector without pod_namespace is passed over, and takes every node"),
        ("chaosk8s.node.actions", "drain_nodes",
         "{pod_label_selector: app=web, pod_namespace: shop}", None),
        ("chaosk8s.node.actions", "drain_nodes", "{count: 2}", None),
        ("chaosk8s.pod.actions", "terminate_pods", "{label_selectr: a}", "takes no argument"),
    ],
)  # fmt: skip
def test_a_call_of_a_driver_that_cannot_do_anything_is_refused(suite, module, func, arguments, why):
    write(suite, text=DRIVER.format(more="", module=module, func=func, arguments=arguments))
    found = [one for one in problems(suite) if TRIAL in one]
    if why is None:
        assert found == []
    else:
        assert any(why in one and f"{TRIAL}:7: " in one for one in found), found
