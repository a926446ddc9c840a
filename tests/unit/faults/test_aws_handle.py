"""What a target document may say of a component of AWS, and whom it will contact."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from pydantic import ValidationError

from stormgate.documents import DocumentErrors, load_target
from stormgate.faults import backends
from stormgate.faults.backends.aws import FAMILIES, AwsBackend, lock
from stormgate.faults.backends.aws.handle import AwsHandle, listed
from stormgate.faults.errors import CannotBreak
from stormgate.faults.expansion import parts_of
from stormgate.model import Component, Target

EC2 = {"service": "ec2", "account": "123456789012", "region": "eu-west-1", "ids": ["i-1"]}
TARGET = """apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: shop}
spec:
  allow: [127.0.0.0/8, sts.eu-west-1.amazonaws.com, ssm.eu-west-1.amazonaws.com]
  regions: [{name: home, latitude: 0, longitude: 0}]
  populations:
    - {name: us, share: 1, latitude: 0, longitude: 0, edges: [e], links: {e: "http://127.0.0.1:1"}}
  components:
    - name: app
      kind: service
      backend: aws
      handle: %s
"""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ids": []}, "it selects nothing"),
        ({"service": "s3"}, "Input should be 'ec2'"),
        ({"account": "12345"}, "account"),
        ({"account": 123456789012}, "account"),
        ({"region": "europe"}, "region"),
        ({"service": "rds", "tags": {"a": "b"}}, "rds is chosen by ids"),
        ({"service": "rds", "ids": ["a", "b"]}, "write one id"),
        ({"service": "arc"}, "needs the zone"),
        ({"endpointUrl": "127.0.0.1:5000"}, "is not the address of an AWS API"),
        ({"endpointUrl": "http://127.0.0.1:0"}, "is not the address of an AWS API"),
        ({"endpointUrl": "http://me:secret@127.0.0.1:5000"}, "carries credentials"),
        ({"ids": ["i-1 --force"]}, "ids"),
        ({"profile": "a b"}, "profile"),
        ({"instances": ["i-1"]}, "Extra inputs"),
    ],
)
def test_a_handle_that_means_nothing_is_refused(change, why):
    with pytest.raises(ValidationError) as raised:
        AwsHandle.model_validate({**EC2, **change})
    assert why in str(raised.value)
    assert "me:secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "hosts"),
    [
        ({}, {"sts.eu-west-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com",
              "autoscaling.eu-west-1.amazonaws.com", "ssm.eu-west-1.amazonaws.com"}),
        ({"region": "cn-north-1", "service": "rds"},
         {"sts.cn-north-1.amazonaws.com.cn", "rds.cn-north-1.amazonaws.com.cn",
          "ssm.cn-north-1.amazonaws.com.cn"}),
        ({"endpoint_url": "http://127.0.0.1:5000"}, {"127.0.0.1"}),
    ],
)  # fmt: skip
def test_it_contacts_the_hosts_of_its_own_region_alone(change, hosts):
    assert set(AwsBackend().hosts({**EC2, **change})) == hosts


def test_a_host_that_is_not_allowed_is_said_with_its_line(tmp_path: Path):
    path = tmp_path / "target.yaml"
    handle = '{service: rds, account: "123456789012", region: eu-west-1, ids: [orders]}'
    path.write_text(TARGET % handle)
    with pytest.raises(DocumentErrors) as raised:
        load_target(path)
    (problem,) = raised.value.problems
    assert (problem.line, problem.message) == (
        13,
        "host 'rds.eu-west-1.amazonaws.com' is not in allow",
    )


def test_each_service_has_its_own_modes():
    backend = backends.get("aws")
    assert set(backend.modes_of(EC2)) == {"stop", "crash", "terminate"}
    assert set(backend.modes_of({**EC2, "service": "nacl"})) == {"blackhole"}
    assert set(backend.modes) <= set(backends.known_modes())


@pytest.mark.parametrize(("text", "words"), [(None, ()), ("a, b c", ("a", "b", "c")), (" ", ())])
def test_a_list_is_read_from_an_attribute(text, words):
    assert listed(text) == words


def test_nothing_of_aws_is_imported_before_something_is_asked_of_it():
    """A process that only knows the backend must stay free of boto3, locust's above all."""
    code = (
        "import sys; from stormgate.faults import backends; backends.known_modes();"
        "print([name for name in sys.modules if name.split('.')[0] in {'boto3', 'botocore'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("mode", "nearest"), [("freeze", "crash is nearest"), ("slow", "service fis, mode run")]
)
def test_what_aws_has_no_call_for_is_refused_with_what_comes_nearest(mode, nearest):
    part = Component(name="app", kind="service", backend="aws", handle=EC2)
    with pytest.raises(CannotBreak, match=f"app: no {mode}: .*{nearest}"):
        parts_of(Target(name="shop", components=(part,)), part, mode)


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
@pytest.mark.parametrize("service", sorted(FAMILIES))
def test_the_hosts_are_those_that_boto3_itself_would_ask(region, service):
    clients = (*FAMILIES[service].clients, *lock.CLIENTS)
    urls = [boto3.client(name, region_name=region).meta.endpoint_url for name in clients]
    asked = AwsBackend().hosts({**EC2, "service": service, "region": region})
    assert list(asked) == [urlsplit(url).hostname for url in urls]


def test_where_a_component_is_not_known_yet_a_failover_may_be_told_either():
    for params in ({"to": "b-1"}, {"node_group": "0001"}):
        AwsBackend.modes["failover"].model_validate(params)
    rds, cache = ({**EC2, "service": one} for one in ("rds", "elasticache"))
    with pytest.raises(ValidationError):
        AwsBackend().modes_of(rds)["failover"].model_validate({"node_group": "0001"})
    with pytest.raises(ValidationError):
        AwsBackend().modes_of(cache)["failover"].model_validate({"to": "b-1"})
