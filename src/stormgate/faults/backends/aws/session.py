"""Calls to AWS: one client for each service and place, one-line reasons, and no call that outlasts
its deadline. The library's own retries are off: what is throttled is tried again here, while there
is time.
"""

from __future__ import annotations

import functools
import shlex
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from stormgate.faults.errors import CannotBreak
from stormgate.net.allow import AllowList
from stormgate.system.secrets import know

_CONNECT_S = 3.0
_READ_S = 10.0
_PAUSE_S = 0.25
_LOOK_S = 3.0
_NOT_HERE = "AWS needs the extra: pip install 'stormgate[aws]'"
_THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "PriorRequestNotComplete",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "EC2ThrottledException",
        "ServiceUnavailable",
        "Unavailable",
        "InternalError",
        "InternalFailure",
    }
)
_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId"}
)
_DENIED = ("AccessDenied", "UnauthorizedOperation", "NotAuthorized", "AuthFailure")


class AwsError(Exception):
    """A call that did not succeed: `code` as AWS calls it, and one line of what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code

    @property
    def vanished(self) -> bool:
        """Whether what was asked for is not there (any more)."""
        return "NotFound" in self.code or self.code in {"404", "NoSuchHealthCheck"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where calls go: an account's region, by a profile's credentials, at AWS or elsewhere."""

    account: str
    region: str
    profile: str | None = None
    endpoint_url: str | None = None

    @classmethod
    def of(cls, handle: Mapping[str, Any]) -> Place:
        """From a component's handle."""
        profile, url = handle.get("profile"), handle.get("endpoint_url")
        return cls(str(handle["account"]), str(handle["region"]), profile, url)

    def call(self, service: str, operation: str, *, within_s: float = _LOOK_S, **given: Any) -> Any:
        """One call, again while AWS throttles and `within_s` lasts. Raises AwsError."""
        end = time.monotonic() + within_s
        caller(self)
        while True:
            try:
                client = _client(self, service, within_s > _LOOK_S)
                return getattr(client, operation)(**given)
            except Exception as error:
                told = _told(self, service, operation, error)
                if told.code not in _THROTTLED or time.monotonic() + _PAUSE_S >= end:
                    raise told from error
            time.sleep(_PAUSE_S)

    def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[Any]:
        """The items under `key` of all pages of a listing. Raises AwsError."""
        more: dict[str, Any] = {}
        while True:
            page = self.call(service, operation, **given, **more)
            yield from page.get(key) or ()
            token = next((name for name in _TOKENS if page.get(name)), None)
            if token is None:
                return
            more = {_TOKENS[token]: page[token]}

    def by_hand(self, service: str, command: str, *words: str) -> str:
        """The same as a command line, for a person."""
        line = ["aws", service, command, *words, "--region", self.region]
        if self.profile:
            line += ["--profile", self.profile]
        if self.endpoint_url:
            line += ["--endpoint-url", self.endpoint_url]
        return shlex.join(line)


_FOR_NOBODY = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}
_TOKENS = {
    "NextToken": "NextToken",
    "nextToken": "nextToken",
    "NextMarker": "Marker",
    "Marker": "Marker",
}
_lock = threading.Lock()


def account_here(region: str, profile: str | None, endpoint_url: str | None) -> str:
    """The account that the credentials here are of. Raises AwsError."""
    place = Place("", region, profile, endpoint_url)
    try:
        return str(_client(place, "sts", True).get_caller_identity().get("Account"))
    except Exception as error:
        raise _told(place, "sts", "get_caller_identity", error) from error


@functools.lru_cache(maxsize=256)
def caller(place: Place) -> tuple[str, str]:
    """Whose credentials these are, by account and ARN: asked once. Raises AwsError when they are
    another account's.
    """
    try:
        answer = _client(place, "sts", True).get_caller_identity()
    except Exception as error:
        raise _told(place, "sts", "get_caller_identity", error) from error
    found = str(answer.get("Account"))
    if found != place.account:
        raise AwsError(
            "OtherAccount",
            f"the credentials are of account {found}, and the component is of {place.account}: "
            "nothing was asked of it",
        )
    return found, str(answer.get("Arn"))


def _client(place: Place, service: str, patient: bool) -> Any:
    with _lock:
        return _made(place, service, patient)


@functools.lru_cache(maxsize=256)
def _made(place: Place, service: str, patient: bool) -> Any:
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S if patient else _LOOK_S,
        retries={"total_max_attempts": 1},
        proxies={},
        parameter_validation=True,
    )
    keys = {} if _has_credentials(place) else dict(_FOR_NOBODY)
    region = "us-east-1" if service == "route53" and place.endpoint_url is None else place.region
    return _session(place.profile).client(
        service, region_name=region, endpoint_url=place.endpoint_url, config=config, **keys
    )


def on_this_machine(host: str) -> bool:
    """Whether a host is this very one, by its loopback."""
    return AllowList(("127.0.0.0/8", "::1/128")).permits_host(host)


def _has_credentials(place: Place) -> bool:
    """Whether there are any; on this very machine (a lab) none are needed. Raises AwsError."""
    if _session(place.profile).get_credentials() is not None:
        return True
    if on_this_machine(urlsplit(place.endpoint_url or "").hostname or ""):
        return False
    raise AwsError(
        "NoCredentials",
        "no AWS credentials here: export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name "
        "a `profile` of ~/.aws/credentials in the handle",
    )


@functools.lru_cache(maxsize=16)
def _session(profile: str | None) -> Any:
    """A session whose credentials come from the environment or a file: whatever asks the network
    for them would have to be in the target's `allow`, and is not asked.
    """
    try:
        import boto3
        import botocore.session
    except ImportError as error:
        raise CannotBreak(_NOT_HERE) from error
    core = botocore.session.Session(profile=profile)
    resolver = core.get_component("credential_provider")
    for name in ("iam-role", "container-role"):
        resolver.remove(name)
    session = boto3.Session(botocore_session=core)
    found = session.get_credentials()
    if found is not None:
        frozen = found.get_frozen_credentials()
        know("AWS_SECRET_ACCESS_KEY", frozen.secret_key)
        know("AWS_SESSION_TOKEN", frozen.token)
    return session


def _told(place: Place, service: str, operation: str, error: Exception) -> AwsError:
    """Whatever a client raises, as one line."""
    if isinstance(error, AwsError):
        return error
    if isinstance(error, CannotBreak):
        return AwsError("NotInstalled", str(error))
    action = f"{service} {operation.replace('_', '-')}"
    answer = getattr(error, "response", None)
    if isinstance(answer, Mapping):
        found = answer.get("Error") or {}
        code = str(found.get("Code") or type(error).__name__)
        message = f"{action}: {code}: {found.get('Message') or 'no reason given'}"
        if code in _EXPIRED:
            forget_sessions()  # a file that was renewed is read again
            message += " (renew the credentials, then: stormgate restore)"
        elif code.startswith(_DENIED):
            message += " (stormgate check --permissions prints the policy it needs)"
        return AwsError(code, message)
    where = place.endpoint_url or f"AWS in {place.region}"
    return AwsError(type(error).__name__, f"{action} at {where}: {type(error).__name__}: {error}")


def forget_sessions() -> None:
    """Credentials that were renewed are read again."""
    for cache in (caller, _made, _session):
        cache.cache_clear()
