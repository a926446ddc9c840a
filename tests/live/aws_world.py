"""A server that answers as AWS does (moto, over HTTP on loopback), with things in it to break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from tests.live.chaos_world import free_port

from stormgate.faults.backends.aws.session import forget_sessions
from stormgate.faults.context import Context, make_context
from stormgate.model import Component, Observe, Target

HOST = "127.0.0.1"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalr-not-a-real-key"}


class Cloud:
    """A running server, and boto3 clients of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, region: str = REGION) -> Any:
        if (service, region) not in self._clients:
            made = boto3.client(service, region_name=region, endpoint_url=self.url)
            self._clients[service, region] = made
        return self._clients[service, region]

    def reset(self) -> None:
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=20).close()

    def slowly(self, model: str, looks: int) -> None:
        """What moves on when it is looked at moves on after so many looks."""
        wanted = {"model_name": model, "transition": {"progression": "manual", "times": looks}}
        url = f"{self.url}/moto-api/state-manager/set-transition"
        request = urllib.request.Request(url, json.dumps(wanted).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=20).close()

    def component(
        self,
        service: str,
        *ids: str,
        name: str = "shop",
        observe: Observe | None = None,
        **handle: Any,
    ) -> Component:
        """A component of this cloud, as a target's document would make it."""
        whole = {"service": service, "account": ACCOUNT, "region": REGION, "ids": list(ids)}
        whole |= {"endpoint_url": self.url, "zone": None, "tags": {}, "profile": None, **handle}
        return Component(name=name, kind="service", backend="aws", handle=whole, observe=observe)

    def instances(self, count: int = 2, zone: str = f"{REGION}a", **tags: str) -> list[str]:
        named = [{"Key": key, "Value": value} for key, value in tags.items()]
        made = self.client("ec2").run_instances(
            ImageId="ami-12c6146b",
            MinCount=count,
            MaxCount=count,
            Placement={"AvailabilityZone": zone},
            TagSpecifications=[{"ResourceType": "instance", "Tags": named}] if named else [],
        )
        return sorted(one["InstanceId"] for one in made["Instances"])

    def cluster(self, name: str = "orders") -> None:
        """A cluster that a-1 writes, with readers beside it and in another zone."""
        rds = self.client("rds")
        login = {"MasterUsername": "root", "MasterUserPassword": "hunter2-hunter2"}
        rds.create_db_cluster(DBClusterIdentifier=name, Engine="aurora-postgresql", **login)
        for member, zone in (("a-1", "a"), ("a-2", "a"), ("b-1", "b")):
            rds.create_db_instance(
                DBInstanceIdentifier=member,
                DBClusterIdentifier=name,
                Engine="aurora-postgresql",
                DBInstanceClass="db.r6g.large",
                AvailabilityZone=f"{REGION}{zone}",
            )

    def writer(self, name: str = "orders") -> str:
        found = self.client("rds").describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
        members = found["DBClusterMembers"]
        return next(one["DBInstanceIdentifier"] for one in members if one["IsClusterWriter"])


def target(*components: Component, **attributes: str) -> Target:
    """A target of these, with the account and region on its list."""
    allowed = {"awsAccounts": ACCOUNT, "awsRegions": f"{REGION}, us-east-1", **attributes}
    return Target(name="shop", allow=("127.0.0.0/8",), components=components, attributes=allowed)


def context(folder: Path, *components: Component, **attributes: str) -> Context:
    folder.mkdir(exist_ok=True)
    return make_context(target(*components, **attributes), folder, fault="trial", seed=7)


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Started, and ended with its user."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    environment = {**os.environ, **KEYS}
    before = {name: os.environ.get(name) for name in KEYS}
    os.environ.update(KEYS)
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://{HOST}:{port}"
        _wait(url, server)
        yield Cloud(url)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        forget_sessions()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"moto's server did not answer at {url}")
