"""The page in a browser, with a reader whose preference is known."""

import time

import pytest

from keras_mrisr.evaluation.readers import score_study
from keras_mrisr.evaluation.readers.study import key_path


@pytest.fixture
def opened(browser, tmp_path):
    """A function (page) -> the browser there; what it saves lands in `tmp_path`."""
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    browser.get_log("browser")

    def open_page(page, reader="Reader 1"):
        browser.get(page.as_uri())
        start(browser, reader)
        return browser

    yield open_page
    assert browser.get_log("browser") == []


def start(browser, reader):
    field = browser.find_element("id", "reader")
    field.clear()  # After a refresh, browsers may put there what was there before.
    field.send_keys(reader + "\n")
    wait(lambda: browser.execute_script("return ready || !sections.end.hidden"))


def wait(condition):
    for _ in range(200):
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def press(browser, key):
    """Presses a key, and waits for the next question, or the end."""
    from selenium.webdriver import ActionChains

    before = browser.execute_script("return current")
    ActionChains(browser).send_keys(key).perform()
    wait(lambda: browser.execute_script(f"return current !== {before} && (ready || !sections.end.hidden)"))


def saved(browser, folder):
    browser.execute_script("arguments[0].click()", browser.find_element("css selector", "#end .save"))
    return wait(lambda: [path for path in folder.glob("*.csv") if path.stat().st_size])


def answer_all(browser, study, answer):
    for trial in study.trials[browser.execute_script("return current") :]:
        press(browser, answer(trial))


def test_a_reader_of_known_preference_is_scored_to_it(opened, make, tmp_path):
    from selenium.webdriver import Keys

    page, study = make()
    browser = opened(page, '=Reader "1"')

    def answer(trial):
        wanted = "original" if trial.catch else "model-beta"
        return (Keys.ARROW_LEFT, Keys.ARROW_RIGHT)[trial.methods.index(wanted)]

    press(browser, answer(study.trials[0]))
    press(browser, answer(study.trials[1]))
    press(browser, Keys.BACKSPACE)  # Back to the second one.
    assert browser.find_element("id", "count").text == "2 of 6"
    assert len(browser.find_elements("css selector", "button.given")) == 1
    browser.refresh()  # The answers are kept, and the first open question comes.
    start(browser, '=Reader "1"')
    assert browser.find_element("id", "count").text == "3 of 6"
    answer_all(browser, study, answer)
    assert browser.find_element("id", "summary").text == "6 of 6 questions are answered."
    [path] = saved(browser, tmp_path)
    found = score_study([path], key_path(page))
    assert {one.method: one.mean for one in found.methods} == {"model-alpha": 0, "model-beta": 1}
    [reader] = found.readers
    assert reader.name == '\'=Reader "1"' and (reader.passed, reader.catches) == (2, 2)
    assert 0 < reader.seconds < 60


def test_scores_by_keyboard_and_buttons(opened, make, tmp_path):
    page, study = make("scores", cases=2, catch=1)
    browser = opened(page)
    given = {"original": "5", "model-alpha": "4", "model-beta": "2", "coarse": "1"}
    button = browser.find_element("css selector", f"[data-answer='{given[study.trials[0].methods[0]]}']")
    button.click()
    wait(lambda: browser.execute_script("return current === 1 && ready"))
    answer_all(browser, study, lambda trial: given[trial.methods[0]])
    found = score_study(saved(browser, tmp_path), key_path(page))
    assert {one.method: one.mean for one in found.methods} == {
        "model-alpha": 4,
        "model-beta": 2,
        "original": 5,
    }
    assert found.readers[0].passed == 1


def test_window_and_zoom(opened, make):
    from selenium.webdriver import ActionChains

    browser = opened(make()[0])

    def shown():
        return browser.execute_script(
            "const part = document.querySelector('#window feFuncR');"
            "const images = [...document.querySelectorAll('.view img')];"
            "return [Number(part.getAttribute('slope')), Number(part.getAttribute('intercept')),"
            "new Set(images.map((image) => image.style.transform)).size, images[0].style.transform]"
        )

    assert shown()[:3] == [1, 0, 1] and "scale(1)" in shown()[3]
    ActionChains(browser).send_keys("+++++").send_keys("]" * 10).send_keys(".").perform()
    slope, intercept, transforms, transform = shown()
    assert transforms == 1 and "scale(2.25)" in transform and slope == 2
    assert intercept == pytest.approx(0.5 - 2 * (1 - 0.52))  # 0.48 of white becomes the middle.
    view = browser.find_element("css selector", ".view")
    ActionChains(browser).drag_and_drop_by_offset(view, 350, 0).perform()  # Not past the edge.
    assert browser.execute_script("return pan[0]") == pytest.approx(0.625)
    ActionChains(browser).send_keys("0").perform()
    assert shown()[:3] == [1, 0, 1] and "scale(1)" in shown()[3]


@pytest.mark.parametrize("kind", ["nearer", "real", "scores"])
def test_fits_a_phone(opened, make, kind):
    browser = opened(make(kind, cases=1, catch=0)[0])
    try:
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        for button in browser.find_elements("css selector", ".answers button"):
            box = button.rect
            assert box["height"] >= 44 and 0 <= box["x"] <= box["x"] + box["width"] <= 360
            assert box["y"] + box["height"] <= 740  # Without scrolling.
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
