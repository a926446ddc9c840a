"""Before a run: whose credentials these are, what each mode would break, and whether it is allowed;
the policy that allows it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from stormgate.faults.backends.aws import lock
from stormgate.faults.backends.aws.family import Family, Wanted
from stormgate.faults.backends.aws.handle import hosts
from stormgate.faults.backends.aws.session import AwsError, Place, caller
from stormgate.faults.declared import CheckRow, Parameters
from stormgate.faults.errors import ChaosError
from stormgate.model import Component, Target
from stormgate.net.allow import AllowList

_IDENTITY = "sts:GetCallerIdentity"
_SIMULATE = "iam:SimulatePrincipalPolicy"
_FIX = "stormgate check --permissions prints the policy that is needed"


def policies(wanted: Iterable[tuple[Component, Family]]) -> str:
    """One IAM policy for each account, as JSON below a line that says whose it is."""
    needed: dict[str, set[str]] = {}
    for part, family in wanted:
        needed.setdefault(str(part.handle["account"]), {_IDENTITY}).update(family.actions())
    return "\n".join(
        f"# account {account}\n{json.dumps(_policy(actions), indent=2)}\n"
        for account, actions in sorted(needed.items())
    )


def rows(
    part: Component, family: Family, modes: Collection[str], target: Target
) -> Sequence[CheckRow]:
    """What `stormgate check` shows of a component. Looks, and changes nothing."""
    place = Place.of(part.handle)
    try:
        _, arn = caller(place)
    except AwsError as error:
        return [CheckRow("account", False, str(error), "export credentials of that account")]
    found = [CheckRow("account", True, f"{place.account} {place.region}, as {arn}")]
    found += [_planned(part, family, mode, place) for mode in sorted(modes)]
    found += _held(place) if modes else []
    if modes and AllowList(target.allow).permits_host(hosts(part.handle, ("iam",))[0]):
        found += _simulated(place, arn, family)
    return found


def _held(place: Place) -> list[CheckRow]:
    """A row where another run has the account's region, or nobody can tell."""
    try:
        holder = lock.living_holder(place)
    except AwsError as error:
        return [CheckRow("lease", False, str(error), _FIX)]
    told = f"{place.account} {place.region} is in use by {holder}"
    return [CheckRow("lease", False, told, "wait for that run, or stop it")] if holder else []


def _planned(part: Component, family: Family, mode: str, place: Place) -> CheckRow:
    """What the mode would break now, with its parameters as they are by default."""
    model = family.modes[mode]
    try:
        params = _defaults(model)
        family.plan(Wanted(part.name, place, part.handle, mode, params, "check"))
    except (AwsError, ChaosError) as error:
        return CheckRow(mode, False, str(error), "correct the handle, or mend what is broken")
    return CheckRow(mode, True, f"it is there, and could be broken; cost: {family.cost}")


def _defaults(model: type[Parameters]) -> Mapping[str, Any]:
    return model().model_dump()


def _simulated(place: Place, arn: str, family: Family) -> list[CheckRow]:
    """Whether IAM says that all calls are allowed. Where it does not say, nobody knows."""
    try:
        answer = place.call(
            "iam",
            "simulate_principal_policy",
            within_s=10,
            PolicySourceArn=_of_role(arn),
            ActionNames=list(family.actions()),
        )
    except AwsError as error:
        fix = f"allow {_SIMULATE}, or leave IAM's host out of the target's allow"
        return [CheckRow("permissions", False, f"not known: {error}", fix)]
    said = {one["EvalActionName"]: one["EvalDecision"] for one in answer["EvaluationResults"]}
    denied = [f"{name}: {said.get(name, 'nothing')}" for name in family.actions()
              if said.get(name) != "allowed"]  # fmt: skip
    if denied:
        return [CheckRow("permissions", False, ", ".join(denied), _FIX)]
    return [CheckRow("permissions", True, f"{len(said)} calls are allowed, as IAM simulates them")]


def _of_role(arn: str) -> str:
    """An assumed role's session as the role itself, which is what IAM simulates."""
    if ":assumed-role/" not in arn:
        return arn
    head, _, tail = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{tail.partition('/')[0]}"


def _policy(actions: Iterable[str]) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}
