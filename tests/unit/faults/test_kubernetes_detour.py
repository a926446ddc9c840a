"""What a detour is made of, and what its counters say. Pure."""

from __future__ import annotations

import pytest

from stormgate.faults.backends.kubernetes.detour import objects
from stormgate.faults.errors import CannotBreak

RECORD = {
    "token": "t1",
    "run": "r",
    "image": "toxi:1",
    "before": {"app": "web"},
    "api_port": 8474,
    "ports": [
        {"key": "port-80", "port": 80, "listen": 8080, "target": "http"},
        {"key": "port-81", "port": 81, "listen": 9090, "target": 9090},
    ],
}
SERIES = 'toxiproxy_proxy_{what}_bytes_total{{direction="{way}",proxy="{proxy}"}} {count}'
METRICS = "# HELP toxiproxy_proxy_received_bytes_total x\n" + "\n".join(
    SERIES.format(what=what, way=way, proxy=proxy, count=count)
    for what, way, proxy, count in (
        ("received", "upstream", "port-80", "120"),
        ("received", "downstream", "port-80", "1e+03"),
        ("sent", "upstream", "port-80", "7"),
        ("received", "upstream", "port-81", "0"),
    )
)


def service(**spec):
    return {"metadata": {"name": "web"}, "spec": spec}


def pod(**ports):
    listed = [{"name": name, "containerPort": number} for name, number in ports.items()]
    return {"spec": {"containers": [{"ports": listed}]}}


def test_a_port_is_listened_on_as_the_pods_do():
    found = objects.ports_of(
        "web",
        service(ports=[{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 9090}]),
        [pod(), pod(http=8080)],
    )
    assert found == RECORD["ports"]


def test_a_port_without_a_target_is_its_own():
    assert objects.ports_of("web", service(ports=[{"port": 80}]), [])[0]["listen"] == 80


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"type": "ExternalName"}, "ExternalName"),
        ({"clusterIP": "None", "ports": [{"port": 1}]}, "headless"),
        ({"internalTrafficPolicy": "Local", "ports": [{"port": 1}]}, "would lose the traffic"),
        ({"ports": [{"port": 1, "protocol": "SCTP"}]}, "is SCTP, not TCP"),
        ({"ports": [{"port": 1, "targetPort": "x"}]}, "port named 'x'"),
        ({}, "it has no ports"),
    ],
)
def test_what_cannot_be_led_through_one_pod_is_refused(spec, why):
    with pytest.raises(CannotBreak, match=f"web: .*{why}"):
        objects.ports_of("web", service(**spec), [])


def test_the_pod_is_admitted_where_only_restricted_ones_are():
    spec = objects.deployment(RECORD)["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    # A Service that names its target port finds it in our pod, too.
    assert {"containerPort": 8080, "name": "http"} in container["ports"]


def test_both_parts_carry_the_whole_record():
    for made in (objects.deployment(RECORD), objects.shadow(RECORD)):
        assert made["metadata"]["name"] == "stormgate-t1"
        assert '"before":{"app":"web"}' in made["metadata"]["annotations"]["stormgate.dev/undo-t1"]


def test_the_proxy_s_own_port_gives_way():
    assert objects.api_port(RECORD["ports"]) == 8474
    assert objects.api_port([{"listen": 8474}]) == 18474


def test_what_came_in_counts_both_ways_and_nothing_that_was_sent():
    assert objects.received_bytes(METRICS) == {"port-80": 1120, "port-81": 0}
    assert objects.received_bytes("") == {}


def test_an_address_of_ipv6_is_written_in_brackets():
    assert objects.joined("fd00::1", 80) == "[fd00::1]:80"
    assert objects.joined("10.0.0.1", 80) == "10.0.0.1:80"
