"""The chat page in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from serving import HOLDING, Running, Script, running, scripted

from hanlin.core.text.tokenizer import Tokenizer

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
INSTALL = "scripts/test-system-packages.sh installs it on Debian and Ubuntu"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason=f"Chromium is not installed; {INSTALL}"),
]


@dataclass
class Opened:
    """A page, and what it did behind the scenes."""

    page: playwright.Page
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def ask(self, text: str) -> None:
        self.page.fill("#entry", text)
        self.page.press("#entry", "Enter")

    def answers(self) -> playwright.Locator:
        return self.page.locator(".answered .text")

    def wait_until_written(self) -> None:
        playwright.expect(self.page.locator("#send")).to_be_visible()


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def server(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory, script: Script) -> Iterator[Running]:
    with running(scripted(tiny_tokenizer, script, tmp_path_factory.mktemp("scripted")), name="chat") as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    playwright.expect.set_options(timeout=10_000)
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: playwright.Browser, server: Running, script: Script) -> Iterator[Opened]:
    """A fresh profile on the page, with the model's usual script; nothing may go wrong unseen."""
    script.text, script.seconds_per_token, script.broken_after = HOLDING, 0.0, None
    script.prompts.clear()
    context = browser.new_context(locale="zh-TW")
    opened = Opened(context.new_page())
    opened.page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("request", lambda request: opened.requested.append(request.url))
    opened.page.goto(server.url)
    playwright.expect(opened.page.locator("#model")).to_have_text("chat")
    yield opened
    context.close()
    assert server.wait_until_idle()


def test_it_loads_alone_and_quietly(opened: Opened, server: Running):
    playwright.expect(opened.page).to_have_title("chat · 翰林")
    playwright.expect(opened.page.locator("#examples button")).to_have_count(4)
    playwright.expect(opened.page.locator(".notice")).to_contain_text("不提供法律意見")
    assert opened.page.evaluate("document.activeElement.id") == "entry"
    assert [url for url in opened.requested if not url.startswith((server.url, "data:"))] == []
    assert opened.complaints == []


def test_a_typed_question_is_answered_as_a_stream(opened: Opened, script: Script):
    script.seconds_per_token = 0.02
    opened.ask("人民有無集會之自由？")
    playwright.expect(opened.page.locator(".asked .text")).to_have_text("人民有無集會之自由？")
    playwright.expect(opened.answers()).to_contain_text("人民有集會")
    assert opened.answers().inner_text() != HOLDING, "the first words are there before the last"
    playwright.expect(opened.page.locator("#stop")).to_be_visible()
    playwright.expect(opened.answers()).to_have_text(HOLDING)
    playwright.expect(opened.page.locator(".figures")).to_contain_text("個詞元 · 每秒")
    playwright.expect(opened.page.locator("#status")).to_contain_text("寫完了")
    assert opened.complaints == []


def test_an_example_is_one_click(opened: Opened):
    opened.page.click("#examples button >> nth=0")
    playwright.expect(opened.answers()).to_have_text(HOLDING)
    playwright.expect(opened.page.locator("#welcome")).to_be_hidden()


def test_the_stop_button_stops_and_keeps_what_was_written(opened: Opened, script: Script, server: Running):
    script.seconds_per_token = 0.05
    opened.ask("請說明")
    playwright.expect(opened.answers()).to_contain_text("人民")
    opened.page.click("#stop")
    playwright.expect(opened.page.locator(".figures")).to_contain_text("已停止")
    assert server.wait_until_idle(seconds=2)
    written = opened.answers().inner_text()
    assert HOLDING.startswith(written) and written != HOLDING
    assert opened.page.evaluate("document.activeElement.id") == "entry"


def test_enter_that_ends_a_composition_does_not_send(opened: Opened):
    """A real composition through the browser's input method interface, then the same key after it."""
    devtools = opened.page.context.new_cdp_session(opened.page)
    opened.page.evaluate("""() => {
        window.composing = [];
        document.addEventListener("keydown", (event) => window.composing.push(event.isComposing), true);
    }""")
    opened.page.focus("#entry")
    devtools.send("Input.imeSetComposition", {"text": "ㄒㄧㄢˋ", "selectionStart": 4, "selectionEnd": 4})
    # As from a real input method, which takes the key for itself: no character follows it.
    devtools.send(
        "Input.dispatchKeyEvent", {"type": "rawKeyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    )
    devtools.send(
        "Input.dispatchKeyEvent", {"type": "keyUp", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    )
    assert opened.page.evaluate("window.composing") == [True]
    devtools.send("Input.insertText", {"text": "憲"})
    playwright.expect(opened.page.locator(".asked")).to_have_count(0)
    playwright.expect(opened.page.locator("#entry")).to_have_value("憲")
    opened.page.keyboard.press("Enter")
    playwright.expect(opened.page.locator(".asked .text")).to_have_text("憲")


def test_the_key_code_of_input_methods_does_not_send(opened: Opened):
    """Safari ends the composition first and then reports the Enter that ended it, as key code 229."""
    opened.page.fill("#entry", "憲法")
    opened.page.dispatch_event("#entry", "keydown", {"key": "Enter", "keyCode": 229, "bubbles": True})
    playwright.expect(opened.page.locator(".asked")).to_have_count(0)


def test_shift_and_enter_is_a_new_line(opened: Opened):
    opened.page.fill("#entry", "甲")
    opened.page.press("#entry", "Shift+Enter")
    opened.page.keyboard.type("乙")
    playwright.expect(opened.page.locator("#entry")).to_have_value("甲\n乙")
    playwright.expect(opened.page.locator(".asked")).to_have_count(0)


def test_markup_is_shown_as_text(opened: Opened, script: Script):
    attack = "<img src=x onerror=\"document.title='攻陷'\"><script>document.title='攻陷'</script>"
    script.text = attack
    opened.ask(attack)
    playwright.expect(opened.answers()).to_have_text(attack)
    playwright.expect(opened.page.locator(".asked .text")).to_have_text(attack)
    assert opened.page.locator("main img, main script").count() == 0
    assert opened.page.title() == "chat · 翰林"
    assert opened.complaints == []


def test_clearing_also_stops(opened: Opened, script: Script, server: Running, tiny_tokenizer: Tokenizer):
    script.seconds_per_token = 0.05
    opened.ask("請說明")
    playwright.expect(opened.answers()).to_contain_text("人民")
    opened.page.get_by_role("button", name="清除對話").click()
    playwright.expect(opened.page.locator("#welcome")).to_be_visible()
    playwright.expect(opened.page.locator(".asked, .answered")).to_have_count(0)
    assert server.wait_until_idle(seconds=2)
    script.seconds_per_token = 0.0
    opened.ask("再問")
    playwright.expect(opened.answers()).to_have_text(HOLDING)
    assert "請說明" not in _last_prompt(script, tiny_tokenizer), "what was cleared is not sent again"


def test_writing_again_replaces_the_last_answer(opened: Opened, script: Script):
    opened.ask("請說明")
    playwright.expect(opened.answers()).to_have_text(HOLDING)
    script.text = "人民有訴訟之權。"
    opened.page.get_by_role("button", name="重新產生").click()
    playwright.expect(opened.answers()).to_have_text("人民有訴訟之權。")
    assert len(script.prompts) == 2 and script.prompts[0] == script.prompts[1]


def test_settings_are_used_and_remembered(opened: Opened, script: Script):
    bodies = []
    opened.page.on("request", lambda request: bodies.append(request.post_data_json) if request.post_data else None)
    opened.page.get_by_role("button", name="設定").click()
    opened.page.fill("#temperature", "0.3")
    opened.page.fill("#top_p", "0.5")
    opened.page.fill("#max_tokens", "3")
    opened.page.fill("#system", "請簡短回答。")
    opened.page.get_by_role("button", name="完成").click()
    opened.ask("請說明")
    playwright.expect(opened.page.locator(".figures")).to_contain_text("3 個詞元")
    playwright.expect(opened.page.locator(".figures")).to_contain_text("已達長度上限")
    assert (bodies[0]["temperature"], bodies[0]["top_p"], bodies[0]["max_tokens"]) == (0.3, 0.5, 3)
    assert bodies[0]["messages"][0] == {"role": "system", "content": "請簡短回答。"}
    opened.page.reload()
    playwright.expect(opened.page.locator("#max_tokens")).to_have_value("3")


def test_a_failure_is_explained_in_place_and_can_be_tried_again(opened: Opened, script: Script):
    script.broken_after = 2
    opened.ask("請說明")
    failure = opened.page.get_by_role("alert")
    playwright.expect(failure).to_contain_text("模型產生文字時出錯")
    script.broken_after = None
    failure.get_by_role("button", name="重試").click()
    playwright.expect(opened.answers()).to_have_text(HOLDING)
    playwright.expect(failure).to_have_count(0)


def test_a_server_that_is_gone_is_explained(opened: Opened):
    opened.page.route("**/v1/chat/completions", lambda route: route.abort())
    opened.ask("請說明")
    playwright.expect(opened.page.get_by_role("alert")).to_contain_text("連不上伺服器")
    opened.page.unroute("**/v1/chat/completions")
    opened.page.get_by_role("button", name="重試").click()
    playwright.expect(opened.answers()).to_have_text(HOLDING)


def test_a_long_conversation_gives_up_its_oldest_turns(opened: Opened, script: Script, tiny_tokenizer: Tokenizer):
    """The context is 512 tokens; three turns of this length are more."""
    for place in range(3):
        opened.ask(f"第{place}問：" + "憲法保障人民之自由與權利，" * 12)
        playwright.expect(opened.answers()).to_have_count(place + 1)
        playwright.expect(opened.answers().last).to_have_text(HOLDING)
        opened.wait_until_written()
    playwright.expect(opened.page.locator(".note").last).to_contain_text("內容太長")
    said = _last_prompt(script, tiny_tokenizer)
    assert "第0問" not in said and "第2問" in said


def test_continuing_a_text(opened: Opened, script: Script):
    opened.page.get_by_role("button", name="續寫").first.click()
    opened.ask("人民之言論自由，")
    passage = opened.page.locator(".passage .text")
    playwright.expect(passage).to_have_text("人民之言論自由，" + HOLDING)
    opened.page.get_by_role("button", name="接著寫").click()
    playwright.expect(passage).to_have_text("人民之言論自由，" + HOLDING * 2)
    assert len(script.prompts[1]) > len(script.prompts[0])
    opened.page.get_by_role("button", name="對話", exact=True).click()
    playwright.expect(opened.page.locator("#welcome")).to_be_visible()


def test_a_server_with_a_token_asks_for_it(browser: playwright.Browser, tiny_tokenizer: Tokenizer, tmp_path: Path):
    loaded = scripted(tiny_tokenizer, Script(), tmp_path)
    with running(loaded, token="secret") as guarded, browser.new_context(locale="zh-TW") as context:
        page = context.new_page()
        page.goto(guarded.url)
        playwright.expect(page.get_by_role("alert")).to_contain_text("需要存取權杖")
        page.get_by_role("button", name="設定").click()
        page.fill("#token", "secret")
        page.get_by_role("button", name="完成").click()
        page.get_by_role("button", name="重試").click()
        playwright.expect(page.locator("#model")).to_have_text("tiny")
        playwright.expect(page.get_by_role("alert")).to_have_count(0)


def test_a_base_model_opens_in_the_mode_it_can_do(
    browser: playwright.Browser, tiny_tokenizer: Tokenizer, tmp_path: Path
):
    untaught = Tokenizer(tiny_tokenizer.backend, {**tiny_tokenizer.settings, "chat_template": ""})
    with running(scripted(untaught, Script(), tmp_path)) as base, browser.new_context(locale="zh-TW") as context:
        page = context.new_page()
        page.goto(base.url)
        playwright.expect(page.locator("#mode-text")).to_have_attribute("aria-pressed", "true")
        playwright.expect(page.locator("#welcome-title")).to_have_text("給一個開頭")


def test_one_of_several_models_is_chosen(browser: playwright.Browser, tiny_tokenizer: Tokenizer, tmp_path: Path):
    other = scripted(tiny_tokenizer, Script(text="另一個模型。"), tmp_path)
    first = scripted(tiny_tokenizer, Script(), tmp_path)
    with (
        running(first, name="chat", others={"other": other}) as several,
        browser.new_context(locale="zh-TW") as context,
    ):
        page = context.new_page()
        page.goto(several.url)
        playwright.expect(page.locator("#models option")).to_have_text(["chat", "other"])
        page.select_option("#models", "other")
        page.fill("#entry", "請說明")
        page.press("#entry", "Enter")
        playwright.expect(page.locator(".answered .text")).to_have_text("另一個模型。")
        playwright.expect(page).to_have_title("other · 翰林")
        page.reload()
        playwright.expect(page.locator("#models")).to_have_value("other")


def test_one_model_is_no_choice(opened: Opened):
    playwright.expect(opened.page.locator("#models")).to_be_hidden()


def test_thoughts_are_folded(opened: Opened, script: Script):
    script.text = "<think>\n先想一想。\n</think>\n\n下雨。"
    opened.ask("天氣？")
    playwright.expect(opened.page.locator(".answered > .text")).to_have_text("下雨。")
    thought = opened.page.locator(".thought")
    playwright.expect(thought.locator(".text")).to_be_hidden()
    thought.locator("summary", has_text="思考過程").click()
    playwright.expect(thought.locator(".text")).to_have_text("先想一想。")
    script.text = HOLDING
    opened.ask("再問")
    playwright.expect(opened.page.locator(".answered > .text").last).to_have_text(HOLDING)
    assert opened.complaints == []


def test_calls_of_tools_can_be_read(opened: Opened):
    chunks = [
        {"content": "我查一下。"},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "天氣", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"城市": "<b>台北</b>"}'}}]},
    ]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in chunks]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    events = [f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n" for choice in choices]
    answer = {"content_type": "text/event-stream", "body": "".join([*events, "data: [DONE]\n\n"])}
    opened.page.route("**/v1/chat/completions", lambda route: route.fulfill(**answer))
    opened.ask("台北的天氣？")
    playwright.expect(opened.page.locator(".call")).to_have_text('呼叫工具：天氣{"城市": "<b>台北</b>"}')
    playwright.expect(opened.page.locator(".answered > .text")).to_have_text("我查一下。")
    assert opened.complaints == []


def test_chinese_has_glyphs(opened: Opened):
    """A missing glyph is the same box for every character; 體 and 灣 must differ from it and from each other."""
    if not shutil.which("fc-list") or not subprocess.check_output(["fc-list", ":lang=zh-tw"]).strip():
        pytest.skip(f"no font with Traditional Chinese; {INSTALL}")
    drawn = opened.page.evaluate("""() => ["體", "灣", "\\uf8fe"].map((character) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
        const context = canvas.getContext("2d");
        context.font = "48px " + getComputedStyle(document.body).fontFamily;
        context.fillText(character, 4, 52);
        return canvas.toDataURL();
    })""")
    assert len(set(drawn)) == 3


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(opened: Opened, script: Script, width: int, scheme: str):
    script.text = "x" * 400
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.set_viewport_size({"width": width, "height": 700})
    opened.ask("w" * 300)
    opened.wait_until_written()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        opened.page.evaluate(
            "(() => { const m = document.querySelector('main'); return m.scrollWidth - m.clientWidth; })()"
        )
        == 0
    )


def _last_prompt(script: Script, tokenizer: Tokenizer) -> str:
    """What the model read last."""
    return tokenizer.decode(script.prompts[-1])
