"""Adding to the lab as docs/lab.md tells it: a kind of process is one file, a defect is one file.

The files are written into folders that the lab's own packages look into, and a lab is started that
has never heard of them.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
import urllib.request
from pathlib import Path

import pytest

from stormgate.documents import load_target
from stormgate.lab.runtime.launch import launch

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
LAB = ROOT / "targets" / "lab.yaml"
# What a child of a child needs to find a newcomer's files beside ours.
_SITE = """
import importlib.util
if importlib.util.find_spec("stormgate") is not None:
    import stormgate.lab.{package} as package
    package.__path__.append({folder!r})
"""


def page_block(first_line: str) -> str:
    """The code block of docs/lab.md that begins with this line."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "lab.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(first_line)]
    return found


def environment(tmp_path: Path, package: str, name: str, source: str) -> dict[str, str]:
    folder = tmp_path / package
    folder.mkdir()
    (folder / f"{name}.py").write_text(textwrap.dedent(source))
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE.format(package=package, folder=str(folder)))
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "PYTHONPATH": path}


def asked(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        body: dict[str, object] = json.loads(answer.read())
        return body


def test_a_kind_of_process_is_one_file(tmp_path: Path) -> None:
    env = environment(tmp_path, "kinds", "greeter", page_block('"""A greeter'))
    lab = launch(load_target(LAB), state=tmp_path / "state", env=env, deadline_s=90)
    try:
        names = [part.name for part in lab.target.components if part.kind == "greeter"]
        assert names == [f"{region.name}/greeter" for region in lab.target.regions]
        one = lab.target.component(names[0])
        assert one.observe is not None
        assert asked(f"http://{one.observe.address}/healthz") == {"greets": one.region}
        assert one.name in lab.target.component(str(one.region)).parts
        components = asked(str(lab.target.status_url))["components"]
        assert isinstance(components, dict)
        assert components[one.name]["state"] == "up"
    finally:
        assert lab.stop() == 0


def test_a_defect_is_one_file(tmp_path: Path) -> None:
    env = environment(tmp_path, "defects", "rude_edges", page_block('"""Edges that'))
    lab = launch(
        load_target(LAB), state=tmp_path / "state", env=env, defect="rude-edges", deadline_s=90
    )
    try:
        assert lab.target.attributes["lab_defect"] == "rude-edges"
        population = lab.target.populations[0]
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(f"{population.links[population.edges[0]]}/profile")
        assert refused.value.code == 418
        refused.value.close()
    finally:
        assert lab.stop() == 0
