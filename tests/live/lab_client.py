"""A user of the lab for the live tests: one request is one request, through the population's own
link.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from stormgate.model import Component, Target


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: Any


def request(
    base: str, method: str, path: str, *, token: str = "", body: Any = None, timeout_s: float = 3.0
) -> Reply:
    """One exchange on a fresh connection. Raises OSError or HTTPException."""
    parts = urlsplit(base)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
        return Reply(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            json.loads(data),
        )
    finally:
        connection.close()


def get_json(url: str) -> Any:
    parts = urlsplit(url)
    return request(f"http://{parts.netloc}", "GET", parts.path).body


class User:
    """Somebody in a population, who dials the edge that the steering table names first."""

    def __init__(self, target: Target, population: str, name: str) -> None:
        self.target = target
        self.population = next(p for p in target.populations if p.name == population)
        self.name = name
        self.token = request(
            self.population.links[self.edge()], "POST", "/login", body={"user": name}
        ).body["token"]

    def edge(self) -> str:
        assert self.target.steering.url is not None
        edge: str = get_json(self.target.steering.url)["populations"][self.population.name][0]
        return edge

    def call(self, method: str, path: str, body: Any = None) -> Reply:
        return request(
            self.population.links[self.edge()], method, path, token=self.token, body=body
        )

    def write(self) -> str | None:
        """Create a thread: its id when acknowledged, None when not."""
        identity = str(uuid.uuid4())
        try:
            reply = self.call(
                "POST", "/threads", {"id": identity, "sphere": "personal", "title": "live"}
            )
        except (OSError, ValueError, ConnectionError):
            return None
        return identity if reply.status == 201 else None


def until(true: Callable[[], Any], deadline_s: float, what: str) -> Any:
    """Wait for a condition, its value then."""
    end = time.monotonic() + deadline_s
    while not (value := true()):
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)
    return value


def whole(target: Target) -> bool:
    assert target.status_url is not None
    return bool(get_json(target.status_url)["whole"])


def role(target: Target, component: str) -> tuple[str, str]:
    assert target.status_url is not None
    entry = get_json(target.status_url)["components"][component]
    return entry["state"], entry["role"]


def primary_of(target: Target, shard: str) -> str:
    """The region whose node the steward holds for the shard's primary."""
    assert target.status_url is not None
    answer = get_json(target.status_url.replace("/status", "/cluster"))
    return str(answer[shard]["primary"])


def processes_of(target: Target, region: str) -> list[Component]:
    parts = [target.component(name) for name in target.component(region).parts]
    return [component for component in parts if component.backend == "process"]


def kill(component: Component) -> None:
    """SIGKILL exactly that process."""
    os.kill(json.loads(Path(component.handle["pid_file"]).read_text())["pid"], signal.SIGKILL)


def start(component: Component) -> None:
    """As the process backend does."""
    done = subprocess.run(
        list(component.handle["start"]), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def rows(target: Target, database: str, sql: str) -> list[tuple[Any, ...]]:
    """Straight from a node, not through a link."""
    observe = target.component(database).observe
    assert observe is not None
    host, _, port = observe.address.partition(":")
    with psycopg.connect(
        f"host={host} port={port} user=chenu dbname=postgres sslmode=disable"
    ) as connection:
        return connection.execute(sql.encode()).fetchall()
