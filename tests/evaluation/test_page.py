"""The report: what is in it, and what a browser makes of it."""

import dataclasses
import html
import html.parser
import re

import numpy as np
import pytest

from keras_mrisr.data import read_image, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import evaluate_models, page
from keras_mrisr.evaluation.page import render_page, write_page


@pytest.fixture(scope="module")
def evaluation(study, pattern, upscaler, tmp_path_factory):
    """Two models, predictions and two interpolators on eight patients; model A has a history."""
    folder = tmp_path_factory.mktemp("predictions")
    for path in study.rglob("*[0-9].png"):
        write_image(folder / path.relative_to(study), read_image(path) // 2)
    evaluation = evaluate_models(
        {"A": upscaler(0.1), "B <b>": upscaler(0.4)}, study, predictions={"tool": folder},
        patient_pattern=pattern, metrics=["psnr", "ssim", "nrmse"], methods=("nearest", "bicubic"),
    )  # fmt: skip
    history = [
        {"epoch": e, "loss": 1 / e, "val_psnr": 30.0 + e, "val_ssim": float("nan")} for e in (1.0, 2.0, 3.0)
    ]
    return dataclasses.replace(evaluation, histories={"A": history})


class Links(html.parser.HTMLParser):
    """Everything in a page that could be fetched, and pictures without a text."""

    def __init__(self):
        super().__init__()
        self.outside, self.silent, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        for name in ("src", "href", "data", "action"):
            value = attributes.get(name) or ""
            if value and not value.startswith(("#", "data:")):
                self.outside.append(value)
        if tag == "img" and "alt" not in attributes:
            self.silent.append(attributes)


def test_page_stands_alone(evaluation):
    text = render_page(evaluation)
    links = Links()
    links.feed(text)
    assert links.outside == [] and links.silent == []
    assert "http" not in re.sub(r"data:image/[^\"']+", "", text)
    assert "url(" not in text and "@import" not in text
    assert len(text) < 5e6
    assert "B &lt;b&gt;" in text and "B <b>" not in text
    assert "nan" not in re.sub(r"data:image/[^\"']+", "", text).lower()
    assert links.tags.count("article") == 3
    for word in (
        "worst patient",
        "best patient",
        "RGB, tumour",
        "By site",
        "By sharpness",
        "validation PSNR",
    ):
        assert word in text
    for line in evaluation.protocol.lines():
        assert html.escape(line.partition(": ")[0]) in text
    assert "validation SSIM" not in text  # It was never a number.


def test_page_of_one_model_and_patient_without_cases(study, pattern, upscaler):
    evaluation = evaluate_models(
        {"SR": upscaler(test="c")}, study, patient_pattern=pattern, metrics=["psnr"], figure_cases=0
    )
    text = render_page(evaluation)
    assert "One patient only: no interval and no test" in text
    assert "<article" not in text and 'id="training"' not in text and "By sharpness" not in text


def test_dashes_have_a_footnote(study, pattern, upscaler, tmp_path):
    for path in study.rglob("*[0-9].png"):
        write_image(tmp_path / path.relative_to(study), read_image(path))
    evaluation = evaluate_models(
        {"A": upscaler()}, study, predictions={"equal": tmp_path}, patient_pattern=pattern,
        metrics=["psnr", "ssim"], methods=("bicubic",), limit=4,
    )  # fmt: skip
    text = re.sub(r"data:image/[^\"']+", "", render_page(evaluation))
    assert 'data-value="">-<' in text and "A dash stands where no image has a finite value." in text
    assert "nan" not in text.lower() and "inf " not in text


def test_large_pages_are_reduced(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LIMIT", 1000)
    write_page(evaluation, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "image/webp" in text and "enlarged regions are exact" in text


def test_existing_page(evaluation, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(MrisrError, match="exists"):
        evaluation.save_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"
    evaluation.save_html(tmp_path / "page.html", overwrite=True)
    assert "<!doctype html>" in (tmp_path / "page.html").read_text()[:2000]


@pytest.fixture(scope="module")
def opened(browser, evaluation, tmp_path_factory):
    """The browser at the page, which is loaded once."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    evaluation.save_html(path)
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []  # No error, no warning, nothing that could not be loaded.


def test_browser_sorts_a_column(opened):
    def order():
        rows = opened.find_elements("css selector", "#results table:first-of-type tbody tr")
        return [row.find_element("tag name", "th").text for row in rows[:5]]

    def values():
        cells = opened.find_elements("css selector", "#results table tbody tr td:nth-child(2)")[:5]
        return [float(cell.get_attribute("data-value")) for cell in cells]

    first = order()
    head = opened.find_element("css selector", "#results th:nth-child(2)")
    button = head.find_element("tag name", "button")
    assert head.get_attribute("aria-sort") == "none"
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    button.send_keys("\n")  # By keyboard as well.
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values()) and sorted(order()) == sorted(first)
    opened.find_element("css selector", "#results th:first-child button").click()
    assert order() == sorted(first, key=str.lower)
    assert head.get_attribute("aria-sort") == "none"


def test_browser_moves_the_slider(opened):
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.support.select import Select

    slider = opened.find_element("css selector", "#case-2 .slider")
    stage = slider.find_element("css selector", ".stage")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", stage)
    handle = slider.find_element("css selector", "input[type=range]")

    def position():
        return opened.execute_script("return arguments[0].style.getPropertyValue('--position')", stage)

    assert slider.is_displayed() and position() == "50%"
    handle.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert position() == "53%" and "53 % bicubic" in handle.get_attribute("aria-valuetext")
    ActionChains(opened).drag_and_drop_by_offset(stage, stage.size["width"] // 4, 0).perform()
    assert abs(float(position()[:-1]) - 75) <= 2 and handle.get_attribute("value") == position()[:-1]
    before = stage.find_element("css selector", ".right").get_attribute("src")
    Select(slider.find_element("css selector", ".choose-right")).select_by_visible_text("original")
    assert stage.find_element("css selector", ".right").get_attribute("src") != before
    assert stage.find_element("css selector", ".tag-right").text == "original"


def test_browser_enlarges_a_picture(opened):
    from selenium.webdriver import ActionChains, Keys

    dialog = opened.find_element("id", "enlarged")
    picture = opened.find_element("css selector", "#case-1 .picture[data-kind=image]")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", picture)
    picture.click()
    title = dialog.find_element("tag name", "h2")
    assert dialog.is_displayed() and title.text.startswith("LR, ")
    assert dialog.find_element("css selector", ".frame img").size["width"] > picture.size["width"]
    ActionChains(opened).send_keys(Keys.ARROW_LEFT).perform()
    assert title.text.startswith("original, ")
    ActionChains(opened).send_keys(Keys.ESCAPE).perform()
    assert not dialog.is_displayed()
    assert opened.switch_to.active_element == picture  # The focus comes back.


def test_browser_fits_a_phone_and_follows_dark_mode(opened):
    def colour():
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = colour()
    try:
        opened.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
        )
        opened.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        )
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
        assert colour() != light
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_browser_hides_the_tumour(opened):
    box = opened.find_element("id", "show-outline")
    outline = opened.find_element("css selector", ".picture .tumour")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", box)
    display = "return getComputedStyle(arguments[0]).display"
    assert opened.execute_script(display, outline) != "none"
    box.click()
    assert opened.execute_script(display, outline) == "none"
    box.click()


def test_a_case_zooms_on_its_tumour(evaluation):
    from keras_mrisr.evaluation.page_cases import page_cases
    from keras_mrisr.evaluation.pictures import Encoder

    case = evaluation.cases[0]
    mask = np.zeros(case.hr.shape[:2], bool)
    mask[30:44, 2:20] = True
    [with_tumour, without], _ = page_cases(
        [dataclasses.replace(case, mask=mask), dataclasses.replace(case, mask=None)], Encoder()
    )
    box = with_tumour["box"]
    assert box["x"] <= 2 and box["x"] + box["size"] >= 20 and box["y"] + box["size"] <= 48
    assert with_tumour["outline"] and with_tumour["region"] == "the tumour"
    assert not without["outline"] and without["region"] == "the part with the most detail"
