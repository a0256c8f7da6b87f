"""The page in a real browser; skipped where Playwright or Chromium is missing."""

import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

from prune.data.find_split import find_split
from prune.data.labels import CRACK
from prune.models.checkpoint import Network, save_checkpoint
from prune.models.unet import UNet
from tests.conftest import ROOT
from tests.web.hand_made import dark_network
from tests.web.serving import served

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")
CHROMIUM = shutil.which("chromium") or ""
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
LONG = 30_000
"""ms a step of the page may take on a busy computer."""
EXAMPLE = ROOT / "examples" / "branches.jpg"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a second network and a file that is none."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "results/models").mkdir(parents=True)
    (folder / "results/models/broken.pth").write_bytes(b"no network")
    dark_network(folder / "results/exports/first.onnx")
    dark_network(folder / "results/exports/second.onnx", below=60)
    torch.manual_seed(0)
    save_checkpoint(Network(UNet(2, widths=(4, 4, 8, 8, 8)).eval(), "unet", CRACK), folder / "results/models/unet.pth")
    return folder


@pytest.fixture(scope="module")
def address(work: Path) -> Iterator[str]:
    yield from served(work)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page in a new visit; every address it asks for, and every failure of its scripts, is looked at in the end."""
    yield from visit(browser, address)


def visit(browser: Any, address: str, **look: Any) -> Iterator[Any]:
    """A new visitor, with the requests of the browser checked."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | look))
    asked: list[str] = []
    failures: list[str] = []
    opened = context.new_page()
    opened.set_default_timeout(LONG)
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: failures.append(str(error)))
    opened.goto(address)
    opened.locator("#photo").wait_for()
    yield opened
    context.close()
    strangers = [url for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")]
    assert not [url for url in strangers if urlsplit(url).hostname not in ("127.0.0.1", "localhost")]
    assert failures == []


def upload(page: Any, file: Path) -> None:
    page.locator("#photo input[type=file]").set_input_files(str(file))


def result(page: Any, other_than: str = "") -> str:
    """The address of the overlay, once there is one and it is not ``other_than``."""
    page.wait_for_function(
        "old => { const p = document.querySelector('#result img'); return p && p.src && p.src !== old && p.naturalWidth }",
        arg=other_than,
    )
    return str(page.locator("#result img").get_attribute("src"))


def says(page: Any, where: str, text: str) -> None:
    sync_api.expect(page.locator(where)).to_contain_text(text, timeout=LONG)


def move(page: Any, part: str, value: float) -> None:
    """Set a slider as a visitor who types does."""
    number = page.locator(f"{part} input[type=number]")
    number.fill(str(value))
    number.press("Enter")


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def test_a_photograph_is_uploaded_and_its_cracks_are_listed(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    says(page, "#status", "crack")
    sync_api.expect(page.get_by_role("row").filter(has_text="1").first).to_be_visible()
    sync_api.expect(page.locator(".legend")).to_contain_text("Crack")


@pytest.mark.slow
def test_an_example_is_enough(page: Any) -> None:
    page.locator("#examples button").first.click()
    result(page)


@pytest.mark.slow
def test_settings_act_on_the_result(page: Any) -> None:
    upload(page, EXAMPLE)
    shown = result(page)
    for change in (
        lambda: move(page, "#threshold", 0.95),
        lambda: move(page, "#opacity", 1.0),
        lambda: page.locator("#palette").get_by_text("colorblind").click(),
        lambda: page.locator("#classes input").first.click(),
    ):
        change()
        shown = result(page, other_than=shown)
    says(page, "#status", "no crack")


@pytest.mark.slow
def test_the_slider_shows_photograph_and_result(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    tab(page, "Slider")
    sync_api.expect(page.locator("#slider img")).to_have_count(2)


@pytest.mark.slow
def test_the_probability_is_drawn(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    tab(page, "Probability")
    page.locator("#probability img").wait_for()


@pytest.mark.slow
def test_a_checkpoint_shows_its_card_and_where_it_looks(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    page.locator("#network input").click()
    page.get_by_role("option", name="unet.pth").click()
    page.get_by_role("button", name="About this network").click()
    page.locator("#show_card").click()
    says(page, "#card", "MACs")
    tab(page, "Grad-CAM")
    page.locator("#show_gradcam").click()
    page.locator("#gradcam img").wait_for()


@pytest.mark.slow
def test_a_number_gives_millimeters(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    page.get_by_role("button", name="Scale").click()
    page.locator("#mm input").fill("0.5")
    says(page, "#cracks", "mm")


@pytest.mark.slow
def test_photographs_of_unusual_kinds_are_shown(page: Any, tmp_path: Path) -> None:
    picture = Image.open(EXAMPLE)
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    picture.convert("CMYK").save(tmp_path / "print.jpg")
    picture.save(tmp_path / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=turned)
    for name, note in {
        "deep.png": "16 bits per pixel",
        "print.jpg": "CMYK",
        "moving.gif": "nly the first of 2 pictures",
        "turned.jpg": "turned upright",
    }.items():
        upload(page, tmp_path / name)
        result(page)
        says(page, "#status", note)
        page.reload()


@pytest.mark.slow
def test_two_clicks_on_a_known_length_give_millimeters(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    page.get_by_role("button", name="Scale").click()
    page.locator("#known_length input").fill("500")
    picture = page.locator("#preview img")
    picture.wait_for()
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.2, "y": box["height"] / 2})
    says(page, "#status", "other end")
    picture.click(position={"x": box["width"] * 0.2, "y": box["height"] / 2})
    says(page, "#status", "xpected two")
    for share in (0.2, 0.8):
        picture.click(position={"x": box["width"] * share, "y": box["height"] / 2})
        page.wait_for_timeout(1500)
    page.wait_for_function("() => Number(document.querySelector('#mm input').value) > 0")
    says(page, "#cracks", "mm")


@pytest.mark.slow
def test_two_networks_are_compared(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    tab(page, "Two networks")
    page.locator("#second input").click()
    page.get_by_role("option", name="second.onnx").click()
    page.locator("#difference img").wait_for()
    says(page, "#agreement", "ms")


@pytest.mark.slow
def test_a_file_that_is_no_network_is_listed_and_the_page_stays_up(page: Any) -> None:
    page.locator("#network input").click()
    page.get_by_role("option", name="broken.pth").click()
    says(page, "#status", "roken.pth cannot be used: broken.pth: expected a checkpoint")


@pytest.mark.slow
def test_a_correction_is_painted_and_saved(page: Any, work: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((300, 400, 3), 160, np.uint8)).save(tmp_path / "plain.png")
    upload(page, tmp_path / "plain.png")
    result(page)
    tab(page, "Correct")
    page.locator("#editor canvas").first.wait_for()
    page.locator("#start_editor").click()
    page.wait_for_timeout(3000)
    page.locator("#editor").get_by_label("Brush", exact=False).first.click()
    box = page.locator("#editor canvas").first.bounding_box()
    left, top = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 80, top, steps=8)
    page.mouse.up()
    page.wait_for_timeout(1000)
    page.locator("#save").click()
    says(page, "#saved", "Saved as ")
    folder = next(work.rglob("Labels_grayscale")).parent
    split = find_split(folder, None)
    pair = next(pair for pair in split.pairs if pair.stem == "plain")
    label = split.read_label(pair)
    assert label.shape == (300, 400) and set(np.unique(label)) == {0, 6} and 100 < (label == 6).sum() < 20_000
    assert (split.read_image(pair) == 160).all()


@pytest.mark.slow
def test_a_crack_is_erased_by_keyboard(page: Any) -> None:
    upload(page, EXAMPLE)
    result(page)
    tab(page, "Correct")
    page.locator("#editor canvas").first.wait_for()
    page.locator("#start_editor").click()
    page.wait_for_timeout(3000)
    page.locator("#erased input").fill("999")
    page.locator("#erase").press("Enter")
    says(page, "#saved", "Expected a number from 1 to")
    page.locator("#erased input").fill("1")
    page.locator("#erase").press("Enter")
    says(page, "#saved", "Crack 1 is erased")


@pytest.mark.slow
def test_a_broken_and_a_too_large_file_are_sentences(page: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    upload(page, tmp_path / "broken.png")
    says(page, "#status", "Expected a photograph (PNG, JPEG, TIFF, BMP, WebP or GIF), found another file")
    page.reload()
    header = b"IHDR" + struct.pack(">IIBBBBB", 25_000, 20_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    pixels = b"IDAT" + zlib.compress(bytes(100))
    png += struct.pack(">I", len(pixels) - 4) + pixels + struct.pack(">I", zlib.crc32(pixels))
    (tmp_path / "large.png").write_bytes(png)
    upload(page, tmp_path / "large.png")
    says(page, "#status", "at most 50 MP, found 500 MP")


@pytest.mark.slow
def test_everything_fits_on_a_phone(browser: Any, address: str) -> None:
    for page in visit(browser, address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True):
        upload(page, EXAMPLE)
        result(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_the_keyboard_reaches_every_part(page: Any) -> None:
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id]:not([id^=component]):not(input)')?.id || ''"))
    assert {"photo", "network", "threshold", "classes", "opacity", "palette"} <= reached


@pytest.mark.slow
def test_a_zip_file_becomes_a_report_that_opens(page: Any, browser: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photographs.zip", "w") as packed:
        packed.write(EXAMPLE, "wall/branches.jpg")
        packed.writestr("wall/broken.jpg", b"no photograph")
    tab(page, "Survey")
    page.locator("#survey_files input[type=file]").set_input_files(str(tmp_path / "photographs.zip"))
    page.get_by_text("photographs.zip").wait_for()
    page.locator("#make_survey").click()
    says(page, "#survey_status", "1 photograph, 1 with cracks")
    says(page, "#survey_status", "1 could not be read, see the report")
    page.screenshot(path=tmp_path / "survey.png", full_page=True)
    with page.expect_download() as report:
        page.locator("#survey_report").click()
    report.value.save_as(tmp_path / "report.html")
    with page.expect_download() as everything:
        page.locator("#survey_all").click()
    everything.value.save_as(tmp_path / "all.zip")
    names = zipfile.ZipFile(tmp_path / "all.zip").namelist()
    assert {"survey.xlsx", "cracks.csv", "report.html"} <= {name.rpartition("/")[2] for name in names}
    opened = browser.new_page()
    opened.goto((tmp_path / "report.html").as_uri())
    for text in ("wall/branches", "wall/broken.jpg"):
        sync_api.expect(opened.locator("body")).to_contain_text(text)
    assert opened.locator("img").first.evaluate("picture => picture.naturalWidth") > 0
    opened.close()
