"""The page in a headless Chromium: words, pictures, links, keys, a phone, the dark; and without JavaScript."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from picdesk.serving.desk import Desk
from tests.serving.conftest import desk_over
from tests.serving.threads import serving_in_a_thread

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("PICDESK_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (PICDESK_CHROMIUM=FILE)")
browser_test = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browsed")
    own = (
        f"data.root={small_data}",
        "split=all",
        "reranker=lexical",
        "reranker.weight=0.2",
        "serve.rate=0",
        "run_depth=12",
    )
    with desk_over(folder, *own) as desk:
        desk._prepare(desk.now)
        with serving_in_a_thread(desk) as found:
            yield found


@pytest.fixture(scope="module")
def smallest(desk: Desk) -> Iterator[str]:
    with serving_in_a_thread(desk) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def page_of(chromium: Any, width: int = 1280, height: int = 900, **more: Any) -> Iterator[Any]:
    """A page that fails the test for an error in its script, or for an address outside itself."""
    context = chromium.new_context(viewport={"width": width, "height": height}, **more)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    page.on("request", lambda asked: None if "//127.0.0.1:" in asked.url else errors.append(asked.url))
    page.set_default_timeout(20_000)
    try:
        yield page
        assert errors == []
    finally:
        context.close()


def widths(page: Any) -> list[float]:
    return [box["width"] for box in (one.bounding_box() for one in page.locator(".prints .thumb:visible").all()[:6])]


def test_smoke_words_find_pictures(chromium: Any, smallest: str) -> None:
    """With the fast tests where a browser is found."""
    with page_of(chromium) as page:
        page.goto(smallest)
        page.wait_for_function("document.activeElement.name === 'q'")
        page.keyboard.type("red picture 1")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?q=red+picture+1")
        assert page.locator(".prints .open .thumb").count() == 6
        assert min(widths(page)) >= 260


@browser_test
def test_words_then_large_then_more_like_it(chromium: Any, address: str) -> None:
    with page_of(chromium) as page:
        page.goto(address)
        page.fill("#q", "a flag with a star")
        page.click("text=Find >> nth=0")
        page.wait_for_selector(".prints")
        assert page.url.endswith("/?q=a+flag+with+a+star"), "what is empty, or as it is anyway, is not in the address"
        page.locator(".prints .open").nth(2).click()
        large = page.locator(".large:popover-open")
        assert large.bounding_box()["width"] >= 400
        assert large.locator("dt:text-is('author')").count() == 1, "with its credit"
        page.keyboard.press("Escape")
        assert page.locator(".large:popover-open").count() == 0
        page.locator("a.like").first.click()
        page.wait_for_selector(".asked-picture")
        assert "this one" in page.locator(".prints li").first.inner_text()
        assert page.locator(".texts li").count() == 12, "and the texts that are nearest"


@browser_test
@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_picture_is_chosen_dropped_or_pasted(chromium: Any, address: str, way: str, tmp_path: Path) -> None:
    with page_of(chromium) as page:
        page.goto(f"{address}/?q=flag")
        name = page.locator(".prints a.like").first.get_attribute("href").partition("like=")[2]
        content = page.request.get(f"{address}/images/{name}").body()
        if way == "choose":
            page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": content})
        else:
            page.evaluate(
                """([bytes, way]) => {
                    const carrier = new DataTransfer();
                    carrier.items.add(new File([new Uint8Array(bytes)], "mine.png", {type: "image/png"}));
                    const event = way === "drop"
                        ? new DragEvent("drop", {dataTransfer: carrier, bubbles: true, cancelable: true})
                        : new ClipboardEvent("paste", {clipboardData: carrier, bubbles: true, cancelable: true});
                    document.body.dispatchEvent(event);
                }""",
                [list(content), way],
            )
        page.wait_for_selector(".asked-picture")
        first = page.locator(".prints li").first
        assert first.locator("img").first.get_attribute("src").endswith(name), "it finds itself"
        assert "mine.png" in page.locator("h1").inner_text()
        assert page.locator(".texts li").count() == 12
        page.click("text=permalink")
        page.wait_for_url("**/?picture=*")
        assert page.locator(".prints li").first.locator("img").first.get_attribute("src").endswith(name)


@browser_test
def test_by_keyboard_alone(chromium: Any, address: str) -> None:
    with page_of(chromium) as page:
        page.goto(f"{address}/?q=flag")
        page.keyboard.press("ArrowRight")
        first = page.locator(".prints .open").first
        assert first.evaluate("one => one === document.activeElement"), "from the page itself into the pictures"
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "q"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        second = page.locator(".prints .open").nth(1)
        assert second.evaluate("one => one === document.activeElement")
        page.keyboard.press("Enter")
        assert page.locator(".large:popover-open").count() == 1
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowDown")
        columns = page.evaluate("columns()")
        assert columns >= 3
        assert page.locator(".prints .open").nth(1 + columns).evaluate("one => one === document.activeElement")
        page.keyboard.press("m")
        page.wait_for_url("**/?like=*")
        reached = set()
        for _ in range(30):  # by Tab alone everything can be reached
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.name || document.activeElement.className"))
        assert {"q", "go", "top_k", "min_score", "open"} <= reached


@browser_test
def test_the_weight_of_a_reranker_changes_the_order_and_stands_in_the_address(chromium: Any, address: str) -> None:
    with page_of(chromium) as page:
        page.goto(f"{address}/?q=flag+of+the+united+kingdom")
        before = page.locator(".prints .of").all_inner_texts()
        slider = page.locator("input[type=range]")
        slider.evaluate(
            "one => { one.value = 1; one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); }"
        )
        page.wait_for_url("**exical=1*")
        assert page.locator("output").inner_text() == "1"
        assert page.locator(".prints .of").all_inner_texts() != before
        assert "reranker.weight=1" in page.locator(".same code").text_content()
        page.check("input[name=fold]")
        page.wait_for_url("**fold=1*")


@browser_test
def test_the_form_asks_by_the_values_that_it_was_given(chromium: Any, address: str) -> None:
    with page_of(chromium) as page:
        page.goto(address)
        name = page.locator("input[type=range]").get_attribute("name")
        page.goto(f"{address}/?q=flag&{name}=0.33&fold=0")
        assert page.locator("input[type=range]").input_value() == "0.33"
        assert not page.is_checked("input[name=fold]")
        page.fill("[name=min_score]", "0.0125")
        page.focus("#q")
        page.keyboard.insert_text(" of a long article" * 200)
        page.keyboard.press("Enter")
        page.wait_for_url("**min_score=0.0125**")
        assert parse_qs(urlsplit(page.url).query)[name] == ["0.33"]
        assert len(page.locator("#q").input_value()) >= 3600


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(chromium: Any, address: str, scheme: str) -> None:
    with page_of(chromium, 390, 844, color_scheme=scheme, has_touch=True) as page:
        page.goto(f"{address}/?q=flag")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert min(widths(page)) >= 340
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        lightness = sum(map(int, re.findall(r"\d+", dark)[:3]))
        assert (lightness < 120) is (scheme == "dark")
        boxes = page.locator(".ask button:visible, .ask input:visible").all()
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in (one.bounding_box() for one in boxes))


@browser_test
def test_without_javascript_the_plain_case_works(chromium: Any, address: str) -> None:
    with page_of(chromium, java_script_enabled=False) as page:
        page.goto(address)
        page.fill("#q", "flag")
        page.click("text=Find >> nth=0")
        page.wait_for_selector(".prints")
        page.locator(".prints .open").first.click()
        assert page.locator(".large:popover-open").count() == 1
        page.locator(".large:popover-open .close").click()
        page.set_input_files(
            "#file",
            {
                "name": "a.png",
                "mimeType": "image/png",
                "buffer": page.request.get(
                    f"{address}/images/" + page.locator("a.like").first.get_attribute("href").partition("like=")[2]
                ).body(),
            },
        )
        page.click("text=Find by picture")
        page.wait_for_selector(".asked-picture")
        assert page.locator(".texts li").count() == 12
