"""`python -m stormgate.lab.cloud.server CONFIG`: moto's server, with what its calls do to the lab.

moto keeps the state and speaks the protocols; here its backends are wrapped where a call has to
act. Nothing of AWS's wire format is ours.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stormgate.lab.cloud.acts import Acts
from stormgate.lab.cloud.caches import Caches
from stormgate.lab.cloud.checks import Checks
from stormgate.lab.cloud.experiments import Experiments
from stormgate.lab.cloud.functions import ThrottledFunctions
from stormgate.lab.cloud.groups import ScalingGroups
from stormgate.lab.design.cloud import ACCOUNT, EDGES, is_edge, power
from stormgate.lab.design.wiring import HOST

_AMI = "ami-12c6146b"
_FORCE = threading.local()


class CloudLab:
    """Which of moto's things is which of the lab's."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.acts = Acts(config)
        self.zones: list[dict[str, Any]] = config["inventory"]["zones"]
        self.clusters: list[dict[str, Any]] = config["inventory"]["clusters"]
        self.instances: dict[str, str] = {}
        self.databases: dict[str, str] = {}
        self.subnets: dict[str, list[str]] = {}
        self.groups: set[str] = set()
        self.caches = Caches(self.acts)
        self.checks = Checks(self.acts)
        self.functions = ThrottledFunctions(config["inventory"]["reserved_files"])
        self.scaling = ScalingGroups(self.acts, self.instances, _AMI)

    def seed(self, url: str) -> None:
        """Make the things, and learn what moto calls them."""
        import boto3

        keys = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}

        @functools.cache  # one takes longer to make than what it is asked for
        def client(service: str, region: str) -> Any:
            return boto3.client(service, region_name=region, endpoint_url=url, **keys)

        for zone in self.zones:
            self._seed_zone(client("ec2", zone["region"]), zone)
        for cluster in self.clusters:
            self._seed_cluster(client("rds", cluster["region"]), cluster)
        for region in sorted({zone["region"] for zone in self.zones}):
            ec2 = client("ec2", region)
            self._seed_targets(client("elbv2", region), ec2, region)
            own = [zone for zone in self.zones if zone["region"] == region]
            self.scaling.seed(client("autoscaling", region), ec2, own)
        for zone in self.zones:
            self._seed_power(client("fis", zone["region"]), zone)
            self.caches.seed(client("elasticache", zone["region"]), zone)
            function = client("lambda", zone["region"])
            self.functions.seed(client("iam", zone["region"]), function, zone)
        self.checks.seed(client("route53", self.zones[0]["region"]), self.zones)

    def _seed_power(self, fis: Any, zone: dict[str, Any]) -> None:
        """A template of what an impaired zone loses: its instances stop, its subnet is cut off."""
        from moto.backends import get_backend

        base = f"arn:aws:ec2:{zone['region']}:{ACCOUNT}"
        boxes = [key for key, name in self.instances.items() if name in zone["instances"]]
        subnets = [key for key, links in self.subnets.items() if links == list(zone["links"])]
        every = {"selectionMode": "ALL"}
        ten = {"duration": "PT10M", "scope": "all"}
        made = fis.create_experiment_template(
            clientToken=power(zone["name"]),
            description=f"{zone['name']} without power",
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/fis",
            stopConditions=[{"source": "none"}],
            targets={
                "boxes": {**every, "resourceType": "aws:ec2:instance",
                          "resourceArns": [f"{base}:instance/{one}" for one in boxes]},
                "subnets": {**every, "resourceType": "aws:ec2:subnet",
                            "resourceArns": [f"{base}:subnet/{one}" for one in subnets]},
            },
            actions={
                "stop": {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": "boxes"},
                         "parameters": {"startInstancesAfterDuration": "PT10M"}},
                "cut": {"actionId": "aws:network:disrupt-connectivity",
                        "targets": {"Subnets": "subnets"}, "parameters": ten},
            },
            experimentOptions={"emptyTargetResolutionMode": "fail"},
        )["experimentTemplate"]  # fmt: skip
        # Its id is known before it is made, so that a target can name it.
        templates = get_backend("fis")[ACCOUNT][zone["region"]].experiment_templates
        template = templates.pop(made["id"])
        template.id = power(zone["name"])
        templates[template.id] = template

    def _seed_targets(self, elb: Any, ec2: Any, region: str) -> None:
        """The edges of a region of AWS, as what a load balancer sends its users to."""
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        more = {"Protocol": "HTTP", "Port": 80, "VpcId": vpc, "TargetType": "instance"}
        group = elb.create_target_group(Name=EDGES, **more)["TargetGroups"][0]["TargetGroupArn"]
        own = {
            name for zone in self.zones if zone["region"] == region for name in zone["instances"]
        }
        edges = [key for key, name in self.instances.items() if name in own and is_edge(name)]
        elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one} for one in edges])
        self.groups.add(group)

    def _seed_zone(self, ec2: Any, zone: dict[str, Any]) -> None:
        for name in zone["instances"]:
            tags = [{"Key": "Name", "Value": name}]
            made = ec2.run_instances(
                ImageId=_AMI,
                MinCount=1,
                MaxCount=1,
                Placement={"AvailabilityZone": zone["zone"]},
                TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
            )
            self.instances[made["Instances"][0]["InstanceId"]] = name
        chosen = [{"Name": "availability-zone", "Values": [zone["zone"]]}]
        subnet = ec2.describe_subnets(Filters=chosen)["Subnets"][0]["SubnetId"]
        ec2.create_tags(Resources=[subnet], Tags=[{"Key": "Name", "Value": zone["name"]}])
        self.subnets[subnet] = list(zone["links"])

    def _seed_cluster(self, rds: Any, cluster: dict[str, Any]) -> None:
        engine = {"Engine": "aurora-postgresql"}
        login = {"MasterUsername": "lab", "MasterUserPassword": "not-a-secret"}
        rds.create_db_cluster(DBClusterIdentifier=cluster["name"], **engine, **login)
        for instance, component, zone in cluster["members"]:
            rds.create_db_instance(
                DBInstanceIdentifier=instance,
                DBClusterIdentifier=cluster["name"],
                DBInstanceClass="db.r6g.large",
                AvailabilityZone=zone,
                **engine,
            )
            self.databases[instance] = component

    def components(self, instance_ids: Iterable[str]) -> list[str]:
        """The lab's processes behind instances; none for those that somebody else has made."""
        return [self.instances[name] for name in instance_ids if name in self.instances]


def wrap(lab: CloudLab) -> None:
    """Let moto's calls act on the lab."""
    from moto.ec2.models import EC2Backend
    from moto.ec2.responses.instances import InstanceResponse
    from moto.elbv2.models import ELBv2Backend
    from moto.fis.models import FISBackend
    from moto.rds.models import RDSBackend

    _around(InstanceResponse, "stop_instances", _noting_force)
    _around(EC2Backend, "stop_instances", lambda original: _ending(lab, original))
    _around(EC2Backend, "terminate_instances", lambda original: _ending(lab, original))
    _around(EC2Backend, "start_instances", lambda original: _starting(lab, original))
    _around(EC2Backend, "replace_network_acl_association", lambda original: _cutting(lab, original))
    for call, wanted in (("register_targets", True), ("deregister_targets", False)):
        _around(ELBv2Backend, call, _sending(lab, wanted))
    experiments = Experiments(lab.subnets, lab.acts)
    _around(FISBackend, "start_experiment", experiments.starting)
    _around(FISBackend, "stop_experiment", experiments.stopping)
    _around(RDSBackend, "failover_db_cluster", lambda original: _failing_over(lab, original))
    for one in (lab.caches, lab.checks, lab.functions, lab.scaling):
        one.wrap()


def _around(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def _noting_force(original: Any) -> Any:
    def stop_instances(self: Any) -> Any:
        _FORCE.value = str(self._get_param("Force")).lower() == "true"
        return original(self)

    return stop_instances


def _ending(lab: CloudLab, original: Any) -> Any:
    def end_instances(self: Any, instance_ids: list[str]) -> Any:
        answer = original(self, instance_ids)
        hard = getattr(_FORCE, "value", False) or "terminate" in original.__name__
        ending = [
            threading.Thread(target=lab.acts.end, args=(name,), kwargs={"hard": hard})
            for name in lab.components(instance_ids)
        ]
        for one in ending:
            one.start()
        for one in ending:
            one.join()
        return answer

    return end_instances


def _starting(lab: CloudLab, original: Any) -> Any:
    def start_instances(self: Any, instance_ids: list[str]) -> Any:
        answer = original(self, instance_ids)
        lab.acts.start_soon(lab.components(instance_ids))
        return answer

    return start_instances


def _cutting(lab: CloudLab, original: Any) -> Any:
    def replace_network_acl_association(self: Any, association_id: str, network_acl_id: str) -> Any:
        association = original(self, association_id, network_acl_id)
        links = lab.subnets.get(association.subnet_id, [])
        entries = self.get_network_acl(network_acl_id).network_acl_entries
        if any(entry.rule_action == "allow" for entry in entries):
            lab.acts.mend(links)
        else:
            lab.acts.cut(links)
        return association

    return replace_network_acl_association


def _sending(lab: CloudLab, wanted: bool) -> Callable[[Any], Any]:
    def around(original: Any) -> Any:
        def change_targets(self: Any, target_group_arn: str, instances: list[Any]) -> Any:
            answer = original(self, target_group_arn, instances)
            if target_group_arn in lab.groups:
                edges = lab.components([one["Id"] for one in instances])
                lab.acts.serve(edges, wanted=wanted, why=target_group_arn)
            return answer

        return change_targets

    return around


def _failing_over(lab: CloudLab, original: Any) -> Any:
    def failover_db_cluster(
        self: Any, db_cluster_identifier: str, target_db_instance_identifier: str | None = None
    ) -> Any:
        cluster = self.clusters.get(db_cluster_identifier)
        writer = cluster.writer if cluster is not None else None
        names = [one.db_instance_identifier for one in cluster.members] if cluster else []
        before = writer.db_instance_identifier if writer is not None else None
        chosen = target_db_instance_identifier or next((n for n in names if n != before), None)
        if before not in lab.databases or chosen not in lab.databases or before == chosen:
            return original(self, db_cluster_identifier, target_db_instance_identifier)
        lab.acts.end(lab.databases[before], hard=True)
        cluster.status = "failing-over"

        def finish() -> None:
            # What AWS would do: the reader takes over, the writer comes back as a reader.
            if lab.acts.took_over(lab.databases[chosen]):
                original(self, db_cluster_identifier, chosen)
            lab.acts.start_soon([lab.databases[before]])
            cluster.status = "available"

        threading.Thread(target=finish, daemon=True).start()
        return cluster

    return failover_db_cluster


def main() -> None:
    """Serve until ended."""
    config = json.loads(Path(sys.argv[1]).read_bytes())
    os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):  # type: ignore[misc]
        def log_request(self, *_: Any) -> None:
            """Every look is a call: nobody wants a line for each."""

    application = DomainDispatcherApplication(create_backend_app)
    lab = CloudLab(config)
    # On another port first: whoever sees the real one finds everything there.
    first = make_server(HOST, 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=first.serve_forever, daemon=True).start()
    lab.seed(f"http://{HOST}:{first.server_port}")
    first.shutdown()
    wrap(lab)
    with contextlib.suppress(OSError):  # no steward yet, and nothing is out
        # What an API before this one took out of service, nobody would put back.
        lab.acts.serve([], wanted=True, why="")

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("PATH_INFO") == "/healthz":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b"{}"]
        return application(environ, start_response)

    port = int(config["port"])
    make_server(HOST, port, serve, threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main()
