"""The pages that a newcomer follows: every link leads somewhere, and what is shown can be read."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stormgate.documents import load_target

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: shop}
spec:
  environment: test
  allow: [127.0.0.0/8]
  regions: [{name: home, latitude: 0, longitude: 0}]
  populations:
    - name: everyone
      share: 100%
      latitude: 0
      longitude: 0
      edges: [home]
      links: {home: "http://127.0.0.1:8080"}
"""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", head)).strip() for head in heads]
    return {head.lower().replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", prose)
    assert links
    for path, anchor in links:
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{page.name}: {path}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_yaml_that_is_shown_can_be_read(page: Path, tmp_path: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        list(YAML(typ="safe").load_all(block))
        if block.startswith("components:"):
            target = tmp_path / "shop.yaml"
            shown = "".join(f"  {line}\n" for line in block.splitlines())
            target.write_text(TARGET + shown)
            assert load_target(target).components
