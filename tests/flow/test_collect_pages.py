"""The corpus's page in a real browser: hostile rows, a phone, light and dark, every character drawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy import Answer, command

playwright = pytest.importorskip("playwright.sync_api")

__all__ = ["command"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="Chromium is not installed; scripts/test-system-packages.sh installs it"
    ),
]

HOSTILE = "</style></div><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
LONG_WORD = "https://example.org/" + "a" * 300

DRAWN = """
characters => {
  const canvas = document.createElement('canvas'), size = 32;
  canvas.width = canvas.height = size;
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  pen.font = '24px ' + getComputedStyle(document.body).fontFamily;
  const picture = text => {
    pen.clearRect(0, 0, size, size);
    pen.fillText(text, 2, 25);
    return pen.getImageData(0, 0, size, size).data.join();
  };
  const missing = picture('\\u{10FFFE}');
  return [...characters].filter(each => picture(each) === missing);
}
"""
"""Characters that look like one that no font has."""

WIDE = """
() => [...document.querySelectorAll('main *')]
  .filter(node => node.getBoundingClientRect().right > document.documentElement.clientWidth && !node.closest('.scroll'))
  .map(node => node.outerHTML.slice(0, 80))
"""
"""What stands out of the page at the right."""

FAINT = """
() => {
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
  const background = node => {
    if (!node) return [255, 255, 255];
    const own = numbers(getComputedStyle(node).backgroundColor);
    return (own[3] ?? 1) === 1 ? own : over(own, background(node.parentElement));
  };
  const light = rgb => {
    const [r, g, b] = rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = new Set();
  for (const node of document.querySelectorAll('main *')) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())) continue;
    const below = background(node), ink = over(numbers(getComputedStyle(node).color), below);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const letters = getComputedStyle(node), large = parseFloat(letters.fontSize) >= 18.7 && letters.fontWeight >= 700;
    if (contrast < (large ? 3 : 4.5)) faint.add(node.outerHTML.slice(0, 80) + ' ' + contrast.toFixed(2));
  }
  return [...faint];
}
"""
"""Texts with less contrast than 4.5 : 1, large ones than 3 : 1 (WCAG 2.2, 1.4.3)."""


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture
def report(tmp_path: Path, command: Callable[..., Answer]) -> Path:
    """The page of a corpus of preferences, made by the command itself; some rows want to break it."""
    lines = [
        {
            "prompt": f"第{n}題：推薦一套軟體？ {HOSTILE if n == 3 else ''}",
            "chosen": f"這套軟體的品質很好，預設的設定就夠用了。{n}",
            "rejected": f"這套軟件的品質很好，預設的設定就夠用了。{n} {LONG_WORD if n == 4 else ''}",
        }
        for n in range(40)
    ]
    lines += [lines[5], lines[5], {"prompt": "", "chosen": "沒有提問。", "rejected": "也沒有。"}]
    name = "壞<b>名字&amp;.jsonl"
    (tmp_path / name).write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    answer = command("collect", f"sources={tmp_path / name}", f"out={tmp_path / 'corpus'}", "bad=skip")
    assert answer.code == 0, answer.err
    return tmp_path / "corpus" / "report.html"


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (360, "light"), (360, "dark")])
def test_the_page_holds(browser: playwright.Browser, report: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, locale="zh-TW")
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert said == [report.as_uri()], "nothing is fetched, nothing complains"
    assert page.title() == "翰林：語料報告"
    assert not page.locator("main script, main img").count()
    assert page.evaluate(WIDE) == []
    assert page.evaluate(FAINT) == []
    text = page.locator("main").inner_text()
    assert HOSTILE in text and "<b>名字&amp;" in text
    assert page.evaluate(DRAWN, "".join(sorted(set(text) - set(" \n\t\u3000")))) == []
    assert page.evaluate(DRAWN, "山\ue123") == ["\ue123"], "the check itself works"
    shown = [heading.partition(" ")[0] for heading in page.locator("h2").all_inner_texts()]
    assert shown == ["漏斗", "長度", "繁簡與語言", "來源", "種類與年代", "重複最多的", "隨機抽出的資料", "被排除的資料"]
    assert page.locator("section:has(h2:text('隨機抽出的資料')) .row").count() == 20
    pair = page.locator(".pair").first.locator("> div")
    tops = [pair.nth(side).bounding_box()["y"] for side in (0, 1)]
    assert (tops[0] == tops[1]) == (width > 1000), "side by side on a screen, below each other on a phone"
    context.close()
