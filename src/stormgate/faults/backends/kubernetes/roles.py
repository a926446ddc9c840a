"""What breaking needs to be allowed, as the roles that allow exactly that, and whether it is."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from stormgate.faults.backends.kubernetes.api import GROUPS, Cluster, KubernetesError
from stormgate.faults.backends.kubernetes.lock import OF_NODES, PERMISSION
from stormgate.faults.backends.kubernetes.ways import ClusterMode, Permission
from stormgate.faults.declared import CheckRow

# (context, namespace): the rules there; no namespace: in the whole cluster.
Rules = dict[tuple[str, str | None], dict[str, set[str]]]

NAME = "stormgate"
NAME_TO_LOOK = "stormgate-restore"


def needed(handle: Mapping[str, object], modes: Iterable[ClusterMode]) -> Rules:
    """What a component's modes need, undo and the target's lock included."""
    context, inside = str(handle["context"]), handle.get("namespace")
    namespace = None if inside is None else str(inside)
    found: Rules = {}

    def add(one: Permission, where: str | None) -> None:
        verbs = found.setdefault((context, where), {}).setdefault(one.resource, set())
        verbs.update(one.verbs)

    for mode in modes:
        add(PERMISSION, namespace or OF_NODES)
        for one in mode.permissions(handle):
            add(one, None if one.everywhere else namespace)
    return found


def merged(many: Iterable[Rules]) -> Rules:
    """Several needs as one."""
    whole: Rules = {}
    for one in many:
        for where, rules in one.items():
            for resource, verbs in rules.items():
                whole.setdefault(where, {}).setdefault(resource, set()).update(verbs)
    return whole


def documents(rules: Rules, name: str = NAME) -> str:
    """The roles, as YAML that kubectl applies, with the command that gives each to somebody."""
    return "---\n".join(
        _role(context, namespace, rules[(context, namespace)], name)
        for context, namespace in sorted(rules, key=lambda where: (where[0], where[1] or ""))
    )


def review(cluster: Cluster, rules: Rules) -> Sequence[CheckRow]:
    """One row a place: whether this context's user may do all of it, asked of the API server
    itself.
    """
    rows = []
    for (_, namespace), wanted in sorted(rules.items(), key=str):
        where = f"in {namespace}" if namespace else "in the whole cluster"
        try:
            denied = [
                f"{verb} {resource}"
                for resource, verbs in sorted(wanted.items())
                for verb in sorted(verbs)
                if not _may(cluster, namespace, resource, verb)
            ]
        except KubernetesError as error:
            rows.append(CheckRow(f"permissions {where}", False, str(error), "see the error"))
            continue
        count = sum(map(len, wanted.values()))
        saw = f"may not {', '.join(denied)}" if denied else f"all {count} that are needed"
        fix = "give it the role that `stormgate check --permissions` prints"
        rows.append(CheckRow(f"permissions {where}", not denied, saw, fix))
    return rows


def _role(
    context: str, namespace: str | None, rules: Mapping[str, Collection[str]], name: str
) -> str:
    kind = "Role" if namespace else "ClusterRole"
    inside = f", namespace: {namespace}" if namespace else ""
    binding = "rolebinding" if namespace else "clusterrolebinding"
    flag = f" -n {namespace}" if namespace else ""
    lines = [
        f"# kubectl --context {context} create {binding} {name}{flag} "
        f"--{kind.lower()}={name} --user=WHOM",
        "apiVersion: rbac.authorization.k8s.io/v1",
        f"kind: {kind}",
        f"metadata: {{name: {name}{inside}}}",
        "rules:",
    ]
    for resource, verbs in sorted(rules.items()):
        words = ", ".join(sorted(verbs))
        lines.append(
            f"  - {{apiGroups: [{json.dumps(_group(resource))}], "
            f'resources: ["{resource}"], verbs: [{words}]}}'
        )
    return "\n".join(lines) + "\n"


def _group(resource: str) -> str:
    path = GROUPS[resource.partition("/")[0]]
    return path.split("/")[1] if path.startswith("apis/") else ""


def _may(cluster: Cluster, namespace: str | None, resource: str, verb: str) -> bool:
    plural, _, sub = resource.partition("/")
    asked = {"verb": verb, "group": _group(resource), "resource": plural}
    asked |= {"subresource": sub} if sub else {}
    asked |= {"namespace": namespace} if namespace else {}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": asked},
    }
    answer = cluster.create("selfsubjectaccessreviews", None, body)
    return (answer.get("status") or {}).get("allowed") is True
