"""What a target document may say of a Kubernetes component, and whom its context leads to."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from stormgate.faults import backends
from stormgate.faults.backends.kubernetes import MODES
from stormgate.faults.backends.kubernetes.handle import KubernetesHandle, shape, told
from stormgate.faults.backends.kubernetes.kubeconfig import access
from stormgate.faults.backends.kubernetes.pods import label_selector
from stormgate.faults.errors import CannotBreak
from stormgate.faults.expansion import parts_of
from stormgate.model import Component, Target

CONFIG = """
apiVersion: v1
kind: Config
current-context: production
clusters:
  - {name: a, cluster: {server: "https://10.1.2.3:6443/"}}
  - {name: bad, cluster: {server: "ftp://x"}}
contexts:
  - {name: staging, context: {cluster: a, user: me}}
  - {name: broken, context: {cluster: bad, user: me}}
  - {name: dangling, context: {cluster: nowhere, user: me}}
"""
WEB = {"context": "staging", "namespace": "shop", "deployment": "web"}


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (WEB, "deployment", "deployment/web in shop"),
        ({"context": "c", "namespace": "s", "labels": {"app": "x"}}, "pods", "pods app=x in s"),
        ({"context": "c", "node": "n1"}, "nodes", "node/n1"),
        ({"context": "c", "region": "r", "zone": "z"}, "nodes", "nodes of region r, zone z"),
        ({**WEB, "zone": "z"}, "deployment", "deployment/web in shop"),
        ({"context": "c", "namespace": "s", "lease": "boss"}, "lease", "lease/boss in s"),
    ],
)
def test_a_handle_is_one_kind_of_thing(given, kind, words):
    handle = KubernetesHandle.model_validate(given).model_dump()
    assert (shape(handle), told(handle)) == (kind, words)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"namespace": "s", "deployment": "web"}, "Field required"),
        ({"context": "c"}, "name one of deployment"),
        ({"context": "c", "deployment": "web"}, "deployment needs a namespace"),
        ({"context": "c", "labels": {"app": "x"}}, "labels needs a namespace"),
        ({**WEB, "service": "web"}, "deployment and service: a component is one of them"),
        ({**WEB, "labels": {"app": "x"}}, "deployment and labels"),
        ({"context": "c", "namespace": "s", "zone": "z"}, "nodes are in no namespace"),
        ({"context": "c", "node": "n", "zone": "z"}, "drop region and zone"),
        ({**WEB, "deployment": "../secrets"}, "String should match pattern"),
        ({**WEB, "namespace": "a/b"}, "String should match pattern"),
        ({"context": "c", "namespace": "s", "labels": {"a": "x,b=y"}}, "should match pattern"),
        ({**WEB, "replicas": 3}, "Extra inputs"),
    ],
)
def test_a_handle_that_means_nothing_or_two_things_is_refused(given, problem):
    with pytest.raises(ValidationError, match=problem):
        KubernetesHandle.model_validate(given)


def test_a_context_is_named_and_leads_to_its_own_server(tmp_path):
    path = tmp_path / "config"
    path.write_text(CONFIG)
    found = access({"context": "staging"}, {"KUBECONFIG": str(path)})
    assert (found.server, found.host) == ("https://10.1.2.3:6443", "10.1.2.3")
    handle = {"context": "staging", "kubeconfig": str(path)}
    assert backends.get("kubernetes").hosts(handle) == ("10.1.2.3",)


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        ("prod", "has no context 'prod' .it has broken, dangling, staging"),
        ("broken", "context 'broken' has a cluster 'bad' without a server"),
        ("dangling", "has a cluster 'nowhere' without a server"),
    ],
)
def test_a_context_that_leads_nowhere_says_why(tmp_path, context, problem):
    path = tmp_path / "config"
    path.write_text(CONFIG)
    with pytest.raises(CannotBreak, match=problem):
        access({"context": context, "kubeconfig": str(path)}, {})


def test_a_kubeconfig_that_is_missing_or_no_yaml_says_so(tmp_path):
    with pytest.raises(CannotBreak, match="there is no kubeconfig"):
        access({"context": "c", "kubeconfig": str(tmp_path / "none")}, {})
    for text, why in (("{", "is not YAML"), ("- a", "is no kubeconfig"), ("\xff", "cannot be")):
        (tmp_path / "bad").write_bytes(text.encode("latin-1"))
        with pytest.raises(CannotBreak, match=why):
            access({"context": "c", "kubeconfig": str(tmp_path / "bad")}, {})


def test_the_first_of_several_kubeconfigs_wins(tmp_path):
    (tmp_path / "one").write_text(CONFIG)
    (tmp_path / "two").write_text(CONFIG.replace("10.1.2.3", "10.9.9.9"))
    listed = f"{tmp_path / 'none'}:{tmp_path / 'one'}:{tmp_path / 'two'}"
    assert access({"context": "staging"}, {"KUBECONFIG": listed}).host == "10.1.2.3"


@pytest.mark.parametrize("mode", sorted(backends.get("kubernetes").refuses))
def test_what_cannot_be_done_is_refused_by_name_with_what_comes_nearest(mode):
    handle = {"context": "staging", "zone": "a"} if mode in MODES["deployment"] else WEB
    part = Component(name="web", kind="service", backend="kubernetes", handle=handle)
    with pytest.raises(CannotBreak, match=f"web: no {mode}: .*nearest: "):
        parts_of(Target(name="t", components=(part,)), part, mode)


def test_an_empty_selector_never_takes_a_whole_namespace():
    with pytest.raises(CannotBreak, match="every pod of the namespace"):
        label_selector({})
    found = label_selector(
        {
            "matchLabels": {"app": "x"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    assert found == "app=x,tier in (a,b),!old"


def test_reading_a_target_imports_no_client():
    code = (
        "import sys; from stormgate.faults import backends; "
        "backends.get('kubernetes').modes_of({'node': 'a'}); print('kubernetes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
