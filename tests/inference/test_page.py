"""The page of before and after: what is in it, and what a browser makes of it."""

import base64
import gzip
import html.parser
import json
import re
import time

import nibabel
import numpy as np
import pytest
from PIL import Image

from keras_mrisr.errors import MrisrError
from keras_mrisr.inference.page import write_image_page, write_page
from keras_mrisr.volumes import Volume

NAME = 'a"b<script>alert(1)<img src=x onerror=alert(2)>&.nii.gz'
AFFINE = np.array([[-0.7, 0, 0, 5], [0, 0, 4.8, -20], [0, 0.7, 0, 3], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def volumes():
    """A thick volume (10, 12, 6), its result (10, 12, 20) and the uncertainty of that."""
    rng = np.random.default_rng(0)
    before = Volume(rng.integers(0, 900, (10, 12, 6)).astype("int16"), AFFINE, name=NAME)
    fine = rng.integers(0, 900, (10, 12, 20)).astype("int16")
    after = before.upscaled(fine, (1, 1, 20 / 6))
    return before, after, before.upscaled(fine / 10, (1, 1, 20 / 6), "", "standard deviation")


@pytest.fixture(scope="module")
def page(volumes, tmp_path_factory):
    before, after, uncertainty = volumes
    path = tmp_path_factory.mktemp("page") / "page.html"
    verdict = "Within <what> it was made for."
    write_page(before, after, path, uncertainty=uncertainty, model="thick & fine", verdict=verdict)
    return path


class Contents(html.parser.HTMLParser):
    """Tags with what could be fetched, and the text of scripts by their id."""

    def __init__(self, text):
        super().__init__()
        self.outside, self.scripts, self.words, self.meta, self.current = [], {}, [], {}, None
        self.unnamed = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("src", "href", "data", "action", "srcset"):
            if not (attributes.get(name) or "#").startswith(("#", "data:")):
                self.outside.append(attributes[name])
        if tag == "script":
            self.current = attributes.get("id", f"script-{len(self.scripts)}")
        self.meta.update(
            {attributes["http-equiv"]: attributes["content"]} if "http-equiv" in attributes else {}
        )

    def handle_endtag(self, tag):
        self.current = None if tag == "script" else self.current

    def handle_data(self, text):
        if self.current is None:
            self.words.append(text)
        else:
            self.scripts[self.current] = self.scripts.get(self.current, "") + text


def volume_in(contents, name):
    data = base64.b64decode(contents.scripts[f"file-{name}"])
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def test_page_stands_alone_and_escapes_what_comes_from_outside(page):
    text = page.read_text(encoding="utf-8")
    contents = Contents(text)
    assert contents.outside == []
    own = [script for script in contents.scripts.values() if "createViewer" in script]
    assert len(own) == 2
    css = text[text.index("<style>") : text.index("</style>")]
    for part in (*own, css):
        assert not re.search(r"https?:|//[a-z]|@import|url\(", part.replace("// ", ""))
    policy = contents.meta["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy and "*" not in policy
    assert "<script>alert" not in text
    words = "".join(contents.words)
    for part in (NAME, "Within <what> it was made for.", "thick & fine", "10 x 12 x 20", "0.7 x 0.7 x 4.8"):
        assert part in words
    assert "BSD 2-Clause License" in words and "Copyright (c) 2021, Niivue" in words


def test_volumes_lie_where_they_lay_and_keep_their_values(page, volumes):
    contents = Contents(page.read_text(encoding="utf-8"))
    data = json.loads(contents.scripts["data"])
    assert [one["name"] for one in data["overlays"]] == ["difference", "uncertainty"]
    for name, volume in zip(("before", "after"), volumes[:2], strict=True):
        image = volume_in(contents, name)
        np.testing.assert_allclose(image.affine, volume.affine, atol=1e-5)
        assert image.get_data_dtype() == np.uint8 and image.shape == volume.shape
        assert np.abs(image.get_fdata() - volume.array).max() <= data["step"] / 2 + 1e-4
    difference = volume_in(contents, "difference").get_fdata()
    low, high = data["overlays"][0]["range"]
    wanted = np.clip(volumes[1].array[:, :, 5] - _spline(volumes[0].array, 5), low, high)
    assert np.abs(difference[:, :, 5] - wanted).max() <= (high - low) / 60 + 1e-3


def _spline(array, place):
    """The cubic spline through slices of 20/6 voxels at a place of the result, by SciPy."""
    from scipy.interpolate import CubicSpline

    mirrored = np.concatenate([array[..., :0:-1], array, array[..., -2::-1]], axis=2)
    count = array.shape[2]
    where = (place + 0.5) * 6 / 20 - 0.5 + count - 1
    return CubicSpline(np.arange(mirrored.shape[2]), mirrored, axis=2)(where)


def test_whole_numbers_are_exact_where_they_are_few(tmp_path):
    array = np.arange(60).reshape(3, 4, 5).astype("uint8")
    volume = Volume(array, np.eye(4))
    write_page(volume, volume, tmp_path / "x.html")
    contents = Contents((tmp_path / "x.html").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(volume_in(contents, "after").get_fdata(), array)
    assert json.loads(contents.scripts["data"])["overlays"][0]["range"] == [-1.0, 1.0]


def test_large_results_are_shown_in_part_at_full_resolution(volumes, tmp_path):
    before, after, uncertainty = volumes
    write_page(before, after, tmp_path / "x.html", uncertainty=uncertainty, limit=1200)
    contents = Contents((tmp_path / "x.html").read_text(encoding="utf-8"))
    old, new = volume_in(contents, "before"), volume_in(contents, "after")
    assert np.prod(new.shape) <= 1200 and new.shape == volume_in(contents, "uncertainty").shape
    # The same box: slices 0 to 2 of the input are 0 to 9 of the result.
    assert (old.shape, new.shape) == ((7, 9, 3), (7, 9, 10))
    for image, volume in ((old, before), (new, after)):
        centre = (np.array(image.shape) - 1) / 2
        index = np.linalg.solve(volume.affine, image.affine @ [*np.floor(centre), 1])[:3]
        first = np.rint(index - np.floor(centre)).astype(int)
        part = volume.array[tuple(slice(a, a + n) for a, n in zip(first, image.shape, strict=True))]
        assert np.abs(image.get_fdata() - part).max() <= 3
    assert "the central 7 x 9 x 10 of 10 x 12 x 20 voxels" in " ".join("".join(contents.words).split())


def test_what_cannot_be_a_page(volumes, tmp_path):
    before, after, _ = volumes
    (tmp_path / "old.html").write_text("mine")
    with pytest.raises(MrisrError, match=r"x.json is no page that can be written. End it in \.html"):
        write_page(before, after, tmp_path / "x.json")
    with pytest.raises(MrisrError, match="exists"):
        write_page(before, after, tmp_path / "old.html")
    affine = after.affine.copy()
    affine[0, 3] += 2
    shifted = Volume(after.array, affine)
    with pytest.raises(MrisrError, match="does not cover the same box"):
        write_page(before, shifted, tmp_path / "x.html")
    assert [path.name for path in tmp_path.iterdir()] == ["old.html"]
    assert (tmp_path / "old.html").read_text() == "mine"


@pytest.mark.parametrize("channels", [1, 3])
def test_of_an_image(tmp_path, smooth_image, channels):
    before, after = smooth_image(8, 12, channels), smooth_image(16, 24, channels, seed=1)
    write_image_page(
        before, after, tmp_path / "x.html", name=f"/home/somebody/{NAME}", model="m", verdict="v"
    )
    assert "somebody" not in (tmp_path / "x.html").read_text(encoding="utf-8")  # The page is handed on.
    contents = Contents((tmp_path / "x.html").read_text(encoding="utf-8"))
    for name, image in (("before", before), ("after", after)):
        (tmp_path / "x.png").write_bytes(base64.b64decode(contents.scripts[f"file-{name}"]))
        with Image.open(tmp_path / "x.png") as picture:
            np.testing.assert_array_equal(np.array(picture).reshape(image.shape), image)
    assert (tmp_path / "x.html").stat().st_size < 50_000  # Without NiiVue.
    assert NAME in "".join(contents.words) and contents.outside == []


@pytest.fixture(scope="module")
def opened(browser, page):
    """The browser at the page, once its volumes are loaded."""
    browser.set_window_size(500, 700)  # Every pixel is drawn by the processor.
    browser.get(page.as_uri())
    _wait(browser, "return document.body.dataset.ready === 'true'")
    yield browser
    logs = [line for line in browser.get_log("browser") if "GPU stall" not in line["message"]]
    assert logs == []  # No error, nothing that the policy refused, nothing that could not be loaded.


def _wait(browser, script):
    end = time.monotonic() + 180
    while not browser.execute_script(script):
        assert time.monotonic() < end, browser.execute_script("return document.body.innerText")
        time.sleep(0.1)


PLACES = """return viewer.views.map((view) => {
  const mm = view.frac2mm(view.scene.crosshairPos, 0, true);
  return [mm[0], mm[1], mm[2]];
})"""


def test_browser_shows_both_volumes_with_one_crosshair(opened, volumes):
    sizes = opened.execute_script("return viewer.views.map((view) => [...view.volumes[0].dimsRAS])")
    assert sizes == [[3, 10, 6, 12], [3, 10, 20, 12]]  # In the order right, anterior, superior.
    first = opened.execute_script(PLACES)
    opened.execute_script("viewer.moveTo(1, 3)")  # Along the world's second axis, that of the slices.
    moved = opened.execute_script(PLACES)
    assert moved[0] == pytest.approx(moved[1], abs=1e-3)
    # From the middle of 20 voxels of 1.44 mm to voxel 3: the centre of the last is at -20 - 2.4 + 28.8 mm.
    assert moved[1][1] == pytest.approx(-22.4 + 3.5 * 1.44, abs=1e-3) != pytest.approx(first[1][1])
    canvas = opened.find_element("id", "after")
    canvas.send_keys("\ue014")  # The arrow to the right: by a voxel to the patient's left or right.
    stepped = opened.execute_script(PLACES)
    assert stepped[0] == pytest.approx(stepped[1], abs=1e-3)
    assert sorted(np.abs(np.subtract(stepped[1], moved[1])).round(3))[:2] == [0, 0]
    assert stepped != moved
    # The value that is said is that of the volume at this place.
    index = np.rint(np.linalg.solve(volumes[1].affine, [*stepped[1], 1])[:3]).astype(int)
    said = float(opened.find_element("id", "after-value").text.removeprefix("· "))
    assert said == pytest.approx(float(volumes[1].array[tuple(index)]), abs=3)


def test_browser_changes_the_window_of_both(opened):
    opened.execute_script(
        "const level = document.getElementById('level'); level.value = 300;"
        "level.dispatchEvent(new Event('input'))"
    )
    windows = opened.execute_script(
        "return viewer.views.map(({volumes}) => [volumes[0].cal_min, volumes[0].cal_max])"
    )
    assert windows[0] == pytest.approx(windows[1])
    assert sum(windows[0]) / 2 == pytest.approx(300, abs=3)


def test_browser_toggles_overlays(opened):
    shown = "return viewer.views[1].volumes.slice(1).map((one) => [one.name, one.opacity > 0])"
    body = opened.find_element("tag name", "body")
    assert opened.execute_script(shown) == []
    body.send_keys("d")
    _wait(opened, "return document.getElementById('stage').dataset.overlay === 'difference'")
    assert opened.execute_script(shown) == [["difference.nii.gz", True]]
    assert opened.find_element("id", "scale-difference").is_displayed()
    body.send_keys("u")
    _wait(opened, "return document.getElementById('stage').dataset.overlay === 'uncertainty'")
    assert opened.execute_script(shown) == [["difference.nii.gz", False], ["uncertainty.nii.gz", True]]
    body.send_keys("u")
    _wait(opened, "return document.getElementById('stage').dataset.overlay === ''")
    assert not any(visible for _, visible in opened.execute_script(shown))


def test_browser_shows_one_above_the_other_and_fits_a_phone(opened):
    body = opened.find_element("tag name", "body")
    body.send_keys("b")
    assert opened.execute_script("return document.getElementById('stage').className").split() == [
        "volume",
        "stacked",
    ]
    opacity = "return getComputedStyle(document.querySelector('.after .picture')).opacity"
    assert opened.execute_script(opacity) == "0"
    body.send_keys("b")
    assert opened.execute_script(opacity) == "1"
    body.send_keys("i")
    assert opened.execute_script("return viewer.views[0].opts.isNearestInterpolation") is False
    try:
        opened.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 360, "height": 640, "deviceScaleFactor": 1, "mobile": True},
        )
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_browser_shows_an_image(browser, tmp_path, smooth_image):
    before = smooth_image(8, 12, dtype="uint16")
    write_image_page(before, before.repeat(2, axis=0).repeat(2, axis=1), tmp_path / "x.html")
    browser.get((tmp_path / "x.html").as_uri())
    _wait(browser, "return document.body.dataset.ready === 'true'")
    assert browser.execute_script("return viewer.place()") == [12, 8]
    for key in ("\ue014", "\ue013"):  # Right, up.
        browser.find_element("id", "before").send_keys(key)
    assert browser.execute_script("return viewer.place()") == [13, 7]
    said = [browser.find_element("id", f"{side}-value").text for side in ("before", "after")]
    assert said[0] == said[1]
    assert float(said[0].removeprefix("· ")) == pytest.approx(float(before[3, 6, 0]), abs=150)
    browser.find_element("tag name", "body").send_keys("d")
    assert browser.execute_script("return viewer.overlay()") == 0.7
    assert browser.get_log("browser") == []
