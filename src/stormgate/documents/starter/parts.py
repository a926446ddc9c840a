"""A component of the starter's target, by how it runs."""

from __future__ import annotations

from importlib import resources
from urllib.parse import urlsplit


def component(kind: str, part: str, region: str, url: str) -> str:
    """The YAML of one component under `components`, without its last line break."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    template = resources.files(__package__ or __name__).joinpath(f"component-{kind}.yaml")
    text = template.read_text(encoding="utf-8").rstrip("\n")
    values = {
        "PART_HERE": part,
        "REGION_HERE": region,
        "FILE_HERE": part.replace("/", "-"),
        "ADDRESS_HERE": f"{host}:{port}",
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text
