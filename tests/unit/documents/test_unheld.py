"""What the gate at the socket cannot hold is said before a run."""

from __future__ import annotations

from pathlib import Path

from stormgate.documents.unheld import shown_secrets, unheld
from stormgate.model import Component, Fault, Load, Plan, Target

EXPERIMENT = """
steady-state-hypothesis:
  probes: [{type: probe, name: ping, provider: {type: process, path: /bin/ping, arguments: x}}]
method:
  - {type: action, name: web, provider: {type: http, url: "http://127.0.0.1:1/"}}
  - type: action
    name: ours
    provider: {type: python, module: m, func: f}
    controls: [{name: c, provider: {type: process, path: hook.sh}}]
"""


def test_programs_of_components_and_experiments_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(EXPERIMENT)
    web = Component(
        name="web",
        kind="service",
        backend="process",
        handle={"pid_file": "/run/web", "start": ["systemctl", "start", "web"]},
    )
    db = Component(
        name="db",
        kind="database",
        backend="command",
        handle={
            "apply": {"crash": ["stop.sh"], "freeze": ["stop.sh", "-f"]},
            "undo": {"crash": ["start.sh"]},
            "observe": ["look.sh"],
        },
    )
    link = Component(name="l", kind="link", backend="toxiproxy", handle={"url": "u", "proxy": "p"})
    fault = Fault(name="f", experiment="x.yaml", recovery_s=1)
    plan = Plan(
        gate="g",
        seed=1,
        confidence=0.95,
        target=Target(name="t", components=(web, db, link)),
        load=Load(locustfile="l.py", rate_per_s=1, users=1),
        warmup_s=1,
        steady_s=1,
        final_s=1,
        faults=(fault, fault),
        objectives=(),
    )
    assert unheld(plan, tmp_path) == [
        "component web: systemctl",
        "component db: look.sh, stop.sh, start.sh",
        "x.yaml: process provider of 'ping': /bin/ping",
        "x.yaml: process provider of 'c': hook.sh",
    ]
    assert len(unheld(plan, tmp_path / "nowhere")) == 2


def test_secrets_among_the_arguments_of_a_process_are_named() -> None:
    experiment = {
        "configuration": {
            "region": "eu",
            "a": {"type": "env", "key": "A"},
            "db_password": "x",
            "b": {"type": "env", "key": "B"},
        },
        "secrets": {"shop": {"c": {"type": "env", "key": "C"}}},
    }
    shown = {"arguments": ["${region}", "-a${a}", {"--c": "${c}"}, "${db_password} ${other}"]}
    assert shown_secrets(shown, experiment) == ["a", "c", "db_password"]
    assert shown_secrets({"arguments": "--x ${b}"}, experiment) == ["b"]
    assert shown_secrets({"arguments": "${region}"}, experiment) == []
    assert shown_secrets({}, {"configuration": None, "secrets": []}) == []
