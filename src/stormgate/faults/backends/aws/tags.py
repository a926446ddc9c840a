"""Tags of the services that have some: where what a fault keeps is written on the thing it breaks.

Each has its own calls for them. A store reads and writes the tags of one thing by its id, as the
family's records and handles name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from stormgate.faults.backends.aws.session import Place

_WITHIN_S = 20.0


class TagStore:
    """All of it raises AwsError. `most`: how many of the tags that a thing may have may be ours."""

    permissions: ClassVar[tuple[str, ...]]
    most: ClassVar[int] = 30

    def put(self, place: Place, thing: str, tags: Mapping[str, str]) -> None:
        """Add them."""
        raise NotImplementedError

    def of(self, place: Place, thing: str) -> Mapping[str, str]:
        """Those of a thing."""
        raise NotImplementedError

    def take(self, place: Place, thing: str, keys: Sequence[str]) -> None:
        """Take some off."""
        raise NotImplementedError


class Ec2Tags(TagStore):
    """Instances, subnets and interfaces."""

    permissions = ("ec2:CreateTags", "ec2:DeleteTags", "ec2:DescribeTags")

    def put(self, place: Place, thing: str, tags: Mapping[str, str]) -> None:
        given = {"Resources": [thing], "Tags": _pairs(tags)}
        place.call("ec2", "create_tags", within_s=_WITHIN_S, **given)

    def of(self, place: Place, thing: str) -> Mapping[str, str]:
        chosen = [{"Name": "resource-id", "Values": [thing]}]
        return _read(place.pages("ec2", "describe_tags", "Tags", Filters=chosen))

    def take(self, place: Place, thing: str, keys: Sequence[str]) -> None:
        given = {"Resources": [thing], "Tags": [{"Key": key} for key in keys]}
        place.call("ec2", "delete_tags", within_s=_WITHIN_S, **given)


class GroupTags(TagStore):
    """Auto scaling groups, by name."""

    permissions = (
        "autoscaling:CreateOrUpdateTags",
        "autoscaling:DeleteTags",
        "autoscaling:DescribeTags",
    )

    def put(self, place: Place, thing: str, tags: Mapping[str, str]) -> None:
        whose = {**_group(thing), "PropagateAtLaunch": False}
        given = [{**whose, **one} for one in _pairs(tags)]
        place.call("autoscaling", "create_or_update_tags", within_s=_WITHIN_S, Tags=given)

    def of(self, place: Place, thing: str) -> Mapping[str, str]:
        chosen = [{"Name": "auto-scaling-group", "Values": [thing]}]
        return _read(place.pages("autoscaling", "describe_tags", "Tags", Filters=chosen))

    def take(self, place: Place, thing: str, keys: Sequence[str]) -> None:
        given = [{**_group(thing), "Key": key} for key in keys]
        place.call("autoscaling", "delete_tags", within_s=_WITHIN_S, Tags=given)


class TargetGroupTags(TagStore):
    """Target groups, by ARN."""

    permissions = (
        "elasticloadbalancing:AddTags",
        "elasticloadbalancing:RemoveTags",
        "elasticloadbalancing:DescribeTags",
    )

    def put(self, place: Place, thing: str, tags: Mapping[str, str]) -> None:
        given = {"ResourceArns": [thing], "Tags": _pairs(tags)}
        place.call("elbv2", "add_tags", within_s=_WITHIN_S, **given)

    def of(self, place: Place, thing: str) -> Mapping[str, str]:
        answer = place.call("elbv2", "describe_tags", ResourceArns=[thing])
        return _read(one for each in answer["TagDescriptions"] for one in each["Tags"])

    def take(self, place: Place, thing: str, keys: Sequence[str]) -> None:
        given = {"ResourceArns": [thing], "TagKeys": list(keys)}
        place.call("elbv2", "remove_tags", within_s=_WITHIN_S, **given)


class FunctionTags(TagStore):
    """Functions, by ARN."""

    permissions = ("lambda:TagResource", "lambda:UntagResource", "lambda:ListTags")

    def put(self, place: Place, thing: str, tags: Mapping[str, str]) -> None:
        given = {"Resource": thing, "Tags": dict(tags)}
        place.call("lambda", "tag_resource", within_s=_WITHIN_S, **given)

    def of(self, place: Place, thing: str) -> Mapping[str, str]:
        answer = place.call("lambda", "list_tags", Resource=thing)
        return dict(answer.get("Tags") or {})

    def take(self, place: Place, thing: str, keys: Sequence[str]) -> None:
        given = {"Resource": thing, "TagKeys": list(keys)}
        place.call("lambda", "untag_resource", within_s=_WITHIN_S, **given)


class HealthCheckTags(TagStore):
    """Health checks, by id. They may have ten tags in all."""

    permissions = ("route53:ChangeTagsForResource", "route53:ListTagsForResource")
    most = 8

    def put(self, place: Place, thing: str, tags: Mapping[str, str]) -> None:
        given: dict[str, Any] = {**_check(thing), "AddTags": _pairs(tags)}
        place.call("route53", "change_tags_for_resource", within_s=_WITHIN_S, **given)

    def of(self, place: Place, thing: str) -> Mapping[str, str]:
        given: dict[str, Any] = _check(thing)
        answer = place.call("route53", "list_tags_for_resource", **given)
        return _read(answer["ResourceTagSet"].get("Tags") or ())

    def take(self, place: Place, thing: str, keys: Sequence[str]) -> None:
        given: dict[str, Any] = {**_check(thing), "RemoveTagKeys": list(keys)}
        place.call("route53", "change_tags_for_resource", within_s=_WITHIN_S, **given)


class TemplateTags(TagStore):
    """Experiment templates, by ARN."""

    permissions = ("fis:TagResource", "fis:UntagResource", "fis:ListTagsForResource")

    def put(self, place: Place, thing: str, tags: Mapping[str, str]) -> None:
        given = {"resourceArn": thing, "tags": dict(tags)}
        place.call("fis", "tag_resource", within_s=_WITHIN_S, **given)

    def of(self, place: Place, thing: str) -> Mapping[str, str]:
        answer = place.call("fis", "list_tags_for_resource", resourceArn=thing)
        return dict(answer.get("tags") or {})

    def take(self, place: Place, thing: str, keys: Sequence[str]) -> None:
        given = {"resourceArn": thing, "tagKeys": list(keys)}
        place.call("fis", "untag_resource", within_s=_WITHIN_S, **given)


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _read(found: Iterable[Mapping[str, Any]] | Iterator[Mapping[str, Any]]) -> dict[str, str]:
    return {str(one["Key"]): str(one.get("Value") or "") for one in found}


def _group(name: str) -> dict[str, str]:
    return {"ResourceId": name, "ResourceType": "auto-scaling-group"}


def _check(name: str) -> dict[str, str]:
    return {"ResourceType": "healthcheck", "ResourceId": name}
