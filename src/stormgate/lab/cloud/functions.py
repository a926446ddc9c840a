"""Functions of Lambda that really refuse: the small models are some, and take no more calls at once
than is reserved for them.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

_ROLE = "lab-functions"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class ThrottledFunctions:
    """Which function is which of the lab's model servers: `files` say to each what is reserved."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = {name: Path(path) for name, path in files.items()}
        self._components: dict[tuple[str, str], str] = {}
        self._role = ""

    def seed(self, iam: Any, function: Any, zone: dict[str, Any]) -> None:
        """The functions of a zone."""
        for name, component in zone["functions"]:
            self._role = self._role or _role(iam)
            function.create_function(
                FunctionName=name,
                Runtime="python3.13",
                Role=self._role,
                Handler="model.answer",
                Code={"ZipFile": _code()},
            )
            self._components[zone["region"], name] = component

    def wrap(self) -> None:
        """Let moto's calls reach the servers."""
        from moto.awslambda.models import LambdaBackend

        put, delete = (
            LambdaBackend.put_function_concurrency,
            LambdaBackend.delete_function_concurrency,
        )

        def put_function_concurrency(backend: Any, function_name: str, count: Any) -> Any:
            answer = put(backend, function_name, count)
            self._reserve(backend, function_name, int(count))
            return answer

        def delete_function_concurrency(backend: Any, function_name: str) -> Any:
            answer = delete(backend, function_name)
            self._reserve(backend, function_name, None)
            return answer

        LambdaBackend.put_function_concurrency = put_function_concurrency
        LambdaBackend.delete_function_concurrency = delete_function_concurrency

    def _reserve(self, backend: Any, function_name: str, count: int | None) -> None:
        name = backend.get_function(function_name).function_name
        component = self._components.get((backend.region_name, name))
        if component is None:
            return  # somebody else's
        path = self._files[component]
        if count is None:
            path.unlink(missing_ok=True)
            return
        fresh = path.with_suffix(".new")
        fresh.write_text(str(count))
        os.replace(fresh, path)


def _role(iam: Any) -> str:
    made = iam.create_role(RoleName=_ROLE, AssumeRolePolicyDocument=json.dumps(_TRUST))
    return str(made["Role"]["Arn"])


def _code() -> bytes:
    """What moto wants to be given; nobody runs it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model.py", "def answer(event, context): ...\n")
    return packed.getvalue()
