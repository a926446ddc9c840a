"""The API of AWS for the lab, where `provision.lab.awsApi` asks for it: moto's own server, whose
calls act on the lab's processes and links. Program: cloud/server.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from stormgate.lab.design.cloud import NAME, inventory, wanted
from stormgate.lab.design.layout import Layout, Process
from stormgate.lab.kinds import Child, Host, ProcessKind
from stormgate.system import processes


class AwsApiKind(ProcessKind):
    """One, outside every region."""

    name = NAME
    rank = 10
    watched = False  # users do not need it
    start_s = (
        120.0  # it makes everything by some 80 calls first, which a busy machine takes long for
    )

    def parts(self, layout: Layout) -> Iterable[Process]:
        return [Process(self.name, self.name)] if wanted(layout.target) else []

    def spawn(self, host: Host, part: Process, log_path: Path) -> Child:
        wiring = host.wiring
        config = {
            "port": wiring.ports[part.name],
            "control": str(wiring.control),
            "status": f"http://{wiring.address('steward')}/status",
            "toxiproxy": str(wiring.toxiproxy_file),
            "inventory": inventory(wiring).to_json(),
        }
        path = wiring.config_path(part.name)
        path.write_text(json.dumps(config))
        argv = [sys.executable, "-m", "stormgate.lab.cloud.server", str(path)]
        return processes.spawn(argv, log_path=log_path)


KIND = AwsApiKind()
