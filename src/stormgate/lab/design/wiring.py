"""Who listens where: the lab with its ports, files and addresses. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stormgate.lab.design.layout import Hop, Layout
from stormgate.lab.design.settings import LabSettings

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Wiring:
    """The lab with its ports: of processes by component name, of links by link name."""

    layout: Layout
    ports: Mapping[str, int]
    settings: LabSettings
    work: Path
    state: Path
    secret: str
    private_key: str = ""

    @property
    def control(self) -> Path:
        return self.work / "control.sock"

    @property
    def cluster(self) -> Path:
        return self.work / "cluster.json"

    @property
    def toxiproxy_file(self) -> Path:
        """Says where the lab's Toxiproxy answers, once it does."""
        return self.work / "toxiproxy.url"

    def data_dir(self, component: str) -> Path:
        """A database's folder."""
        return self.work / component.replace("/", ".")

    def config_path(self, component: str) -> Path:
        return self.work / "config" / f"{component.replace('/', '.')}.json"

    def pid_path(self, component: str) -> Path:
        return self.state / "pids" / f"{component.replace('/', '.')}.json"

    def log_path(self, component: str) -> Path:
        return self.state / "logs" / f"{component.replace('/', '.')}.log"

    def address(self, name: str) -> str:
        return f"{HOST}:{self.ports[name]}"

    def endpoint(self, name: str) -> dict[str, Any]:
        """Where a process listens itself, past every link."""
        return {"host": HOST, "port": self.ports[name]}

    def via(self, source: str, destination: str) -> dict[str, Any]:
        """Where `source` dials to reach `destination`."""
        return {"host": HOST, "port": self.ports[Hop(source, destination, 0).name]}

    def start_argv(self, component: str) -> list[str]:
        """The command that brings a component back."""
        return [
            sys.executable,
            "-m",
            "stormgate.lab.runtime.start",
            "--state",
            str(self.state),
            component,
        ]
