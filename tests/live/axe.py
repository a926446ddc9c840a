"""axe-core in a tab: what it finds that keeps people out. Its script comes with a package that is
nobody's dependency (`axe-core-python`, or a newer one with `axe-playwright-python`); it is looked
for and read, never imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.live.chromium import Tab

PACKAGES = ("axe_playwright_python", "axe_core_python")
_RUN = """axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map(
  (one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((n) => n.html.slice(0, 120))}`))"""


def axe_script() -> Path | None:
    """Where axe-core lies, if it is here."""
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            if (script := Path(place) / "axe.min.js").is_file():
                return script
    return None


def violations(tab: Tab, script: Path) -> list[str]:
    """The rules of axe-core that the page in this tab breaks, each with where."""
    tab.run(f"{script.read_text(encoding='utf-8')};undefined")
    found: list[str] = tab.run(_RUN)
    return found
