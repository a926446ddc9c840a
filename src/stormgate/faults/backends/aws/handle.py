"""What a component of AWS is: which service, where, whose, and which of its things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from stormgate.faults.declared import Handle

Service = Literal[
    "ec2",
    "asg",
    "nacl",
    "security_group",
    "rds",
    "elasticache",
    "elb",
    "route53",
    "arc",
    "lambda",
    "fis",
]
# What AWS can be asked for by tags in one call; of the others there is one, by its id.
BY_TAGS = frozenset({"ec2", "asg", "nacl", "security_group"})
_GLOBAL = {"route53": "route53", "iam": "iam"}
_ENDPOINTS = {"elbv2": "elasticloadbalancing", "resourcegroupstaggingapi": "tagging"}
Id = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^[^\s$]+$")]


class AwsHandle(Handle):
    """`service` says what is broken (an instance, a subnet's access list, a database, …); `ids`, or
    `tags` and `zone`, which of them. `account` and `region` must also be in the target's
    `attributes` `awsAccounts` and `awsRegions`. `endpointUrl` is for a server other than AWS's own.
    """

    service: Service
    account: str = Field(pattern=r"^[0-9]{12}$")
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")
    zone: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")
    ids: list[Id] = Field(default_factory=list)
    tags: dict[str, str] = Field(default_factory=dict)
    profile: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+$")
    endpoint_url: str | None = None

    @field_validator("endpoint_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none
            known = False
        if not known or "$" in url:
            raise ValueError(f"{url!r} is not the address of an AWS API: http(s)://host:port")
        if parts.username or parts.password:
            raise ValueError("a URL carries credentials, which would enter the evidence")
        return url

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not self.ids and not self.tags:
            raise ValueError("it selects nothing: write ids, or tags (with a zone)")
        if self.tags and self.service not in BY_TAGS:
            raise ValueError(
                f"{self.service} is chosen by ids; tags choose {', '.join(sorted(BY_TAGS))}"
            )
        if self.service not in BY_TAGS and len(self.ids) != 1:
            raise ValueError(f"a component of {self.service} is one thing: write one id")
        if self.service == "arc" and self.zone is None:
            raise ValueError("a zonal shift needs the zone (its id, such as use1-az1) to leave")
        return self


def hosts(handle: Mapping[str, Any], clients: tuple[str, ...]) -> tuple[str, ...]:
    """Whom these clients contact: the endpoint, else AWS's own host of each in the region."""
    url = handle.get("endpoint_url")
    if url:
        return (urlsplit(str(url)).hostname or str(url),)
    region = str(handle.get("region"))
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return tuple(
        f"{_GLOBAL[name]}.{domain}"
        if name in _GLOBAL
        else f"{_ENDPOINTS.get(name, name)}.{region}.{domain}"
        for name in clients
    )


def listed(text: str | None) -> tuple[str, ...]:
    """The words of an attribute that is a list: `a, b` or `a b`."""
    return tuple((text or "").replace(",", " ").split())
