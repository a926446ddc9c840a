"""The report page in a browser: nothing leaves it, nothing in it runs but its own script, and it
can be used by keyboard, on a phone and without a script.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.golden.report_cases import CASES, HOSTILE, hostile, write_run
from tests.live.axe import axe_script, violations
from tests.live.chromium import BROWSER, Tab, browser

from stormgate.evidence import open_run
from stormgate.model import Verdict
from stormgate.report import report_html

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here"),
]
READY = "document.documentElement.dataset.ready === 'yes'"
NAMES = HOSTILE.replace("\x00", "") + "مرحبا 🌩 \u200f"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as new_tab:
        yield new_tab()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("pages")
    plain = open_run(write_run(root / "run"))
    strange = open_run(write_run(root / "strange", words=NAMES, seconds=50))
    texts = {
        "pass": report_html(CASES[Verdict.PASS], plain),
        "fail": report_html(CASES[Verdict.FAIL], plain),
        "hostile": report_html(hostile(), strange),
        "without a run": report_html(CASES[Verdict.ERROR]),
    }
    for name, text in texts.items():
        (root / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (root / f"{name}.html").as_uri() for name in texts}


@pytest.mark.parametrize("name", ["pass", "fail", "hostile", "without a run"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_asks_for_nothing_throws_nothing_and_fits(
    tab: Tab, pages: dict[str, str], name: str, width: int
) -> None:
    tab.open(pages[name], width)
    assert tab.run(READY) == (name != "without a run")
    assert [one for one in tab.asked if one != pages[name]] == []
    assert tab.said == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("document.querySelectorAll('h1').length") == 1


def test_what_others_wrote_is_text_wherever_it_stands(tab: Tab, pages: dict[str, str]) -> None:
    tab.open(f"{pages['hostile']}#t=39")
    assert tab.said == []
    assert tab.run("[...document.scripts].length") == 2
    assert tab.run("document.images.length") == 0
    for place in ("#readout", "svg.timeline", ".multiples", ".distributions", "table.objectives"):
        shown = tab.run(f"document.querySelector('{place}').textContent")
        assert "<script>alert(1)</script>" in shown, place
    assert "🌩" in tab.run("document.querySelector('#readout').textContent")


def test_what_is_injected_all_the_same_does_not_run(tab: Tab, pages: dict[str, str]) -> None:
    tab.open(pages["fail"])
    tab.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.evil = 1';"
        " document.body.append(s); const i = document.createElement('img');"
        " i.src = 'http://127.0.0.1:9/x'; document.body.append(i);"
        " document.body.insertAdjacentHTML('beforeend', '<p onclick=\"evil=2\" id=bait>x</p>');"
        " document.getElementById('bait').click(); })()"
    )
    assert tab.run("typeof window.evil") == "undefined"
    tab.until(lambda: [tab.run("0"), len(tab.said) >= 3][1])
    assert all("Content Security Policy" in one for one in tab.said), tab.said


def test_a_second_can_be_linked_and_walked_by_keyboard(tab: Tab, pages: dict[str, str]) -> None:
    tab.open(f"{pages['fail']}?t=38.6")
    told = tab.run("document.getElementById('readout').innerText")
    assert "38 to 39 s" in told
    assert "refused" in told
    assert "fault.requested" in told
    tab.run("document.querySelector('.scroll').focus()")
    tab.key("Escape")
    assert tab.run("document.getElementById('readout').hidden") is True
    whole = tab.run("document.querySelector('svg.plot').getAttribute('viewBox')")
    tab.key("+", "+")
    closer = tab.run("document.querySelector('svg.plot').getAttribute('viewBox')")
    assert float(closer.split()[2]) == pytest.approx(float(whole.split()[2]) / 2)
    boxes = "[...document.querySelectorAll('svg.plot')].map(p => p.getAttribute('viewBox'))"
    boxes = f"new Set({boxes}.map(box => box.split(' ').slice(0, 3).join())).size"
    assert tab.run(boxes) == 1
    tab.key("ArrowRight")
    tab.key("Enter", "\r")
    assert "39 to 40 s" in tab.run("document.getElementById('readout').innerText")
    assert tab.run("location.hash").startswith("#t=39")
    tab.key("0", "0")
    assert tab.run("document.querySelector('svg.plot').getAttribute('viewBox')") == whole
    assert tab.said == []


def test_everything_that_can_be_used_is_reached_by_tab_and_has_a_name(
    tab: Tab, pages: dict[str, str]
) -> None:
    tab.open(pages["fail"])
    wanted = tab.run("document.querySelectorAll('.tools button, .tools select, summary').length")
    reached: set[str] = set()
    for _ in range(400):
        tab.key("Tab")
        # What is focused, named as a person would hear it, and seen to be focused.
        found = tab.run(
            "(() => { const e = document.activeElement; if (e === document.body) return null;"
            " const name = e.getAttribute('aria-label') || (e.labels && e.labels[0] && e.labels[0]"
            ".textContent) || e.textContent; const s = getComputedStyle(e);"
            " return [e.tagName, name.trim().slice(0, 60), s.outlineStyle !== 'none', e.closest("
            "'.tools') ? 'tools' : e.tagName === 'SUMMARY' ? 'summary' : '', [...document"
            ".querySelectorAll('*')].indexOf(e)]; })()"
        )
        if found is None:
            break
        assert found[1], found
        assert found[2], found
        if found[3]:
            reached.add(str(found[4]))
    assert len(reached) == wanted


def test_lines_are_drawn_by_what_is_chosen(tab: Tab, pages: dict[str, str]) -> None:
    tab.open(pages["fail"])
    tab.run(
        "(() => { const by = document.getElementById('by'); by.value = 'population';"
        " by.dispatchEvent(new Event('change')); })()"
    )
    names = tab.run(
        "[...document.querySelectorAll('svg.p-latency-free path title')].map(t => t.textContent)"
    )
    assert sorted(names) == sorted(
        ["frankfurt", "london", "new-york", "san-francisco", "sao-paulo", "singapore"]
    )
    assert "singapore" in tab.run("document.getElementById('legend-latency-free').innerText")


def test_without_a_script_everything_is_there_but_what_the_script_adds(
    tab: Tab,
    pages: dict[str, str],
) -> None:
    tab.open(pages["fail"], script=False)
    tree = tab.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    html = tab.call("DOM.getOuterHTML", nodeId=tree)["outerHTML"]
    assert "<button" not in html
    for words in (
        "Decided by",
        'svg class="timeline"',
        "Numbers: Share of good answers",
        "The worst",
    ):
        assert words in html
    # On paper of 190 mm between its margins nothing is cut off at the right.
    tab.call("Emulation.setEmulatedMedia", media="print")
    tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=718,
        height=1000,
        deviceScaleFactor=1,
        mobile=False,
    )
    assert tab.run("document.documentElement.scrollWidth") <= 718
    tab.call("Emulation.setEmulatedMedia", media="")
    pdf = tab.call("Page.printToPDF")["data"]
    assert len(pdf) > 50_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_told_from_what_they_stand_on(
    tab: Tab, pages: dict[str, str], scheme: str
) -> None:
    """WCAG 2.1, 1.4.3: at least 4.5 to 1 for words of the page's size."""
    tab.open(pages["fail"])
    tab.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    faint = tab.run(
        """(() => {
        const parts = (c) => c.match(/[\\d.]+/g).map(Number);
        const light = (c) => { const [r, g, b] = parts(c).map(v => { v /= 255;
          return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ground = (e) => { for (let up = e; up; up = up.parentElement) {
          const c = getComputedStyle(up).backgroundColor, p = parts(c);
          if (p.length < 4 || p[3] > 0) return c; } return 'rgb(255,255,255)'; };
        const bad = [];
        const words = 'p, td, th, h1, h2, h3, summary, a, small, dt, dd, li, .chip, svg text';
        for (const e of document.querySelectorAll(words)) {
          if (!e.textContent.trim()) continue;
          const s = getComputedStyle(e), c = e.namespaceURI.includes('svg') ? s.fill : s.color;
          const a = light(c), b = light(ground(e));
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (ratio < 4.5) bad.push([e.tagName, e.textContent.slice(0, 30), ratio]);
        }
        return bad.slice(0, 5); })()"""
    )
    tab.call("Emulation.setEmulatedMedia", features=[])
    assert faint == []


AXE = axe_script()


@pytest.mark.slow  # a second on a quiet machine, half a minute on a busy one
@pytest.mark.timeout(600)
@pytest.mark.skipif(AXE is None, reason="no axe-core is installed here (axe-core-python)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width"), [("fail", 1280), ("pass", 390), ("without a run", 390)])
def test_axe_finds_nothing_that_keeps_people_out(
    tab: Tab, pages: dict[str, str], name: str, width: int, scheme: str
) -> None:
    assert AXE is not None
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    with tab.patient(300):
        tab.open(pages[name], width)
        tab.call("Emulation.setEmulatedMedia", features=features)
        try:
            assert violations(tab, AXE) == []
            # It finds what is there to be found.
            tab.run(
                "document.querySelector('main').replaceWith(...document.querySelector('main').childNodes)"
            )
            assert any(one.startswith("landmark-one-main") for one in violations(tab, AXE))
        finally:
            tab.call("Emulation.setEmulatedMedia", features=[])
