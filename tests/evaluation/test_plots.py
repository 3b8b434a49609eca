import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from keras_mrisr.evaluation.plots import line_plot, scatter_plot, strip_plot

STYLES = {"A": 0, "B": 1, "many": 7}
PATIENTS = ("p<1>", "p2", "p3")


def marks(plot):
    """(class, x, y, note) of every point that has a note."""
    root = ElementTree.fromstring(plot.svg)
    assert root.get("role") == "img" and root.get("aria-label").startswith(plot.title)
    width, height = map(float, root.get("viewBox").split()[2:])
    found = []
    for path in root.iter("path"):
        title = path.find("title")
        if title is not None:
            x, y = map(float, re.findall(r"[-\d.]+", path.get("transform")))
            assert 0 <= x <= width and 0 <= y <= height
            found.append((path.get("class"), x, y, title.text))
    return found


def test_strips_put_values_in_order():
    rows = [("A", [1.0, 2.0, 3.0], PATIENTS), ("B", [2.0, 2.0, 9.0], PATIENTS)]
    plot = strip_plot("PSNR", rows, STYLES, "dB")
    points = marks(plot)
    assert [p[0] for p in points] == ["mark s0"] * 3 + ["mark s1"] * 3
    assert points[0][1] < points[1][1] < points[2][1] < points[5][1]
    assert points[1][1] == points[3][1] == points[4][1] and points[3][2] != points[4][2]
    assert points[0][3] == "p<1>: 1.00 dB"
    assert "Medians: A 2.00, B 2.00" in plot.svg


def test_scatter_has_one_style_for_a_method():
    series = [("many", [1, 2, 3], [3, 2, 1], PATIENTS), ("A", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], PATIENTS)]
    points = marks(scatter_plot("x", ("bicubic", "method"), series, STYLES))
    assert {p[0] for p in points} == {"mark s1", "mark s0"}  # The colours begin anew after six.
    assert points[0][2] < points[1][2] < points[2][2]  # Up is more.
    assert 'class="diagonal"' in scatter_plot("x", ("a", "b"), series, STYLES).svg
    assert 'class="diagonal"' not in scatter_plot("x", ("a", "b"), series, STYLES, diagonal=False).svg


def test_epochs_are_whole_numbers():
    plot = line_plot("validation PSNR", ("epoch", "dB"), [("A", [1, 2, 3], [30.0, 31.5, 31.0])], STYLES)
    ticks = re.findall(r'class="tick"[^>]*text-anchor="middle">([^<]+)<', plot.svg)
    assert ticks == ["1", "2", "3"]
    assert "A ends at 31.00" in plot.svg


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1e-6, 2e-6], [1e6, 2e6], [-3.0, 4.0]])
def test_any_range(values):
    patients = [str(i) for i in range(len(values))]
    assert len(marks(strip_plot("x", [("A", values, patients)], STYLES))) == len(values)
    series = [("A", values, np.array(values), patients)]
    assert len(marks(scatter_plot("x", ("a", "b"), series, STYLES))) == len(values)
