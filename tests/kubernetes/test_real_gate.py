"""Whole gates with users on a real control plane: a region of it is lost under the very experiment
that the lab's region is lost under.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml
from tests.kubernetes.plane import CONTEXT, HERE, HOST, free_port
from tests.kubernetes.test_real_faults import DEPLOYMENTS, deploy, wait_ready
from tests.live.gate.bench import ROOT, SLO, Suite

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]

REGIONS = {"eu-west": (53.35, -6.26), "eu-central": (50.11, 8.68), "us-east": (39.04, -77.49)}
USERS = """\
from stormgate.load import GeoUser, get

class Visitor(GeoUser):
    rate_per_s = 1

    def flow(self, session):
        yield get("/", name="home", timeout_s=2)
"""
REGION_LOSS = """\
    - name: region-loss
      experiment: ../experiments/region-loss.yaml
      configuration: {{region: eu-west, hold_s: {hold_s}}}
      recovery: 3s"""
# Any mode, of any component.
ANY = """\
title: Users are served while {mode} of {component} stands
description: It is broken, held and taken back.
controls:
  - {{name: stormgate, provider: {{type: python, module: stormgate.chaos.control}}}}
runtime: {{rollbacks: {{strategy: always}}}}
method:
  - type: action
    name: break-it
    provider:
      type: python
      module: stormgate.chaos.actions
      func: break_component
      arguments: {{component: {component}, mode: {mode}, proof_s: 10{more}}}
  - type: action
    name: hold
    provider:
      {{type: python, module: stormgate.chaos.actions, func: hold, arguments: {{seconds: 6}}}}
rollbacks:
  - type: action
    name: undo
    provider: {{type: python, module: stormgate.chaos.actions, func: undo}}
  - type: action
    name: wait-until-whole
    provider: {{type: python, module: stormgate.chaos.actions, func: wait_until_whole}}
"""
FAULT = """\
    - {{name: {name}, experiment: ../experiments/{name}.yaml, recovery: 2s}}
"""
GATE = """\
apiVersion: stormgate.dev/v1
kind: ReleaseGate
metadata: {{name: plane}}
spec:
  target: ../targets/plane.yaml
  load: {{locustfile: ../loadtests/users.py, ratePerS: 60, users: 60}}
  seed: 7
  confidence: 95%
  sloRefs: [answers]
  phases: {{warmup: 2s, steady: 8s, final: 2s}}
  faults:
{faults}
  objectives:
    - {{name: availability, kind: availability, slo: answers, phases: [steady]}}
    - {{name: failover, kind: failover, lte: 5s, within: 2s, by: [population]}}
  validity: {{maxSendLagP99: 2s, minAchieved: 10%, maxCpu: 100%}}
  abort: {{maxFaultDuration: 90s}}
"""


@pytest.fixture(scope="module")
def gateway(plane):
    """The address of what stands in front of the cluster."""
    port = free_port()
    plane.start("gateway", sys.executable, str(HERE / "gateway.py"), str(plane.config), str(port))
    end = time.monotonic() + 10
    while True:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/status", timeout=2).close()
            return f"{HOST}:{port}"
        except OSError:
            assert time.monotonic() < end, (plane.folder / "gateway.log").read_text()
            time.sleep(0.05)


@pytest.fixture
def web(plane):
    """Deploys `web`; gone at the end."""
    yield lambda **spec: (deploy(plane, "web", 6, **spec), wait_ready(plane, "web", 6))
    plane.call("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Background"})
    plane.call("DELETE", "api/v1/namespaces/shop/services/web", {})
    wait_ready(plane, "web", 0)
    nodes = plane.call("GET", "api/v1/nodes")[1]["items"]
    assert not any(node["spec"].get("taints") for node in nodes)


def target_of(plane, address, told):
    """`told`: there is a status document, and each region can be looked at from outside; else only
    the cluster itself says how it is.
    """

    basis = {"context": CONTEXT, "kubeconfig": str(plane.config)}

    def nodes(region):
        seen = {"protocol": "http", "address": address, "path": f"/regions/{region}"}
        return {
            "name": f"{region}/nodes",
            "kind": "nodes",
            "region": region,
            "backend": "kubernetes",
            "handle": {**basis, "region": region},
            **({"observe": seen} if told else {}),
        }

    def group(region):
        return {
            "name": region,
            "kind": "region",
            "region": region,
            "backend": "group",
            "parts": [f"{region}/nodes"],
        }

    web = {
        "name": "web",
        "kind": "service",
        "backend": "kubernetes",
        "handle": {**basis, "namespace": "shop", "deployment": "web"},
        "traffic": "assured",
    }
    return {
        "apiVersion": "stormgate.dev/v1",
        "kind": "Target",
        "metadata": {"name": "plane"},
        "spec": {
            "environment": "test",
            "allow": ["127.0.0.0/8"],
            "regions": [
                {"name": name, "latitude": at[0], "longitude": at[1]}
                for name, at in REGIONS.items()
            ],
            "populations": [
                {
                    "name": "everyone",
                    "share": 1.0,
                    "latitude": 51.5,
                    "longitude": 0.0,
                    "edges": ["gateway"],
                    "links": {"gateway": f"http://{address}"},
                }
            ],
            "components": [*map(nodes, REGIONS), *map(group, REGIONS), web],
            "observe": {"region": "x-region", "zone": "x-zone", "pod": "x-pod"},
            **({"statusUrl": f"http://{address}/status"} if told else {}),
        },
    }


def suite(plane, address, folder, hold_s, told=True):
    for name in ("loadtests", "targets", "slas", "experiments"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "experiments" / "region-loss.yaml", folder / "experiments")
    (folder / "loadtests" / "users.py").write_text(USERS)
    (folder / "targets" / "plane.yaml").write_text(yaml.safe_dump(target_of(plane, address, told)))
    made = Suite(folder)
    made.gate.write_text(SLO + GATE.format(faults=REGION_LOSS.format(hold_s=hold_s)))
    return made


def of_kind(verdict, kind):
    return next(one for one in verdict["objectives"] if one["kind"] == kind)


def test_replicas_in_every_zone_pass_the_loss_of_a_region(plane, gateway, web, tmp_path):
    web()
    gate = suite(plane, gateway, tmp_path, hold_s=8).start()
    assert gate.end() == 0, gate.said()
    [observed] = [row for row in gate.timeline() if row["event"] == "fault.observed"]
    platform, users = observed["proof"]
    assert "2 nodes (node-a1, node-a2) hold none of the" in platform["saw"]
    told = re.fullmatch(
        r"[1-9]\d* of \d+ answers in the 10 s before named it in a label, "
        r"(?:then \d+ more until \d+\.\d\d s after the injection, and )?"
        r"none of [1-9]\d* (?:since|to requests since then)",
        users["saw"],
    )
    assert told, users
    assert not any(row["event"] == "fault.lost" for row in gate.timeline())


def test_replicas_in_one_zone_fail_it(plane, gateway, web, tmp_path):
    web(nodeSelector={"topology.kubernetes.io/region": "eu-west"})
    gate = suite(plane, gateway, tmp_path, hold_s=9, told=False).start()
    assert gate.end() == 1, gate.said()
    assert of_kind(gate.verdict(), "failover")["verdict"] == "FAIL"
    assert of_kind(gate.verdict(), "availability")["verdict"] == "PASS"


def test_pods_drains_and_zones_are_lost_one_after_the_other_and_users_are_served(
    plane, gateway, web, tmp_path
):
    web()
    made = suite(plane, gateway, tmp_path, hold_s=0)
    several = {
        "crash": ("web", ", share: half of"),
        "drain": ("eu-west/nodes", ""),
        "zone_loss": ("us-east/nodes", ""),
        "scale_down": ("web", ", replicas: 2"),
    }
    faults = ""
    for mode, (component, more) in several.items():
        text = ANY.format(component=component, mode=mode, more=more)
        name = mode.replace("_", "-")
        (tmp_path / "experiments" / f"{name}.yaml").write_text(text)
        faults += FAULT.format(name=name)
    made.gate.write_text(SLO + GATE.format(faults=faults))
    gate = made.start()
    assert gate.end() == 0, gate.said()
    seen = [row for row in gate.timeline() if row["event"] == "fault.observed"]
    assert [row["mode"] for row in seen] == list(several)
    cleared = [row for row in gate.timeline() if row["event"] == "fault.cleared"]
    assert len(cleared) == len(several)
    assert not any(row["event"] == "fault.lost" for row in gate.timeline())


def test_a_gate_that_is_killed_in_mid_fault_is_restored(plane, gateway, web, tmp_path):
    web()
    made = suite(plane, gateway, tmp_path, hold_s=60)
    gate = made.start()
    gate.until_event("fault.observed")
    for pid in [gate.process.pid, *gate.seen]:  # everything it started, too: nobody tidies up
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    gate.process.wait()
    nodes = plane.call("GET", "api/v1/nodes")[1]["items"]
    assert sum(bool(node["spec"].get("taints")) for node in nodes) == 2
    argv = [sys.executable, "-m", "stormgate.cli", "restore"]
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "undone: eu-west (crash)" in done.stdout
