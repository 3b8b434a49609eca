import json
import shutil

import pytest

from keras_mrisr.bids import find_scans
from keras_mrisr.errors import ConfigError, DataError
from tests.bids.conftest import write

FIRST = "sub-01/ses-a/anat/sub-01_ses-a_acq-mprage_run-01_T1w.nii.gz"
SECOND = "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz"
THICK = "sub-2/anat/sub-2_FLAIR.nii.gz"


def places(*words, **options):
    return [str(scan.place) for scan in find_scans(*words, **options)]


def test_raw_anatomical_scans_with_their_metadata(dataset):
    first, second, thick = find_scans(dataset)
    assert [str(scan.place) for scan in (first, second, thick)] == [FIRST, SECOND, THICK]
    assert (first.participant, first.session, first.suffix) == ("01", "a", "T1w")
    assert (thick.participant, thick.session, thick.suffix) == ("2", None, "FLAIR")
    assert first.metadata == {"MagneticFieldStrength": 3, "Manufacturer": "ACME", "EchoTime": 0.003}
    assert second.metadata == {"MagneticFieldStrength": 3, "Manufacturer": "Other"}  # The nearer one counts.
    assert first.path.is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"participants": ["01"]}, [FIRST, SECOND]),
        ({"participants": ["sub-2", "01"], "suffixes": ["FLAIR"]}, [THICK]),
        ({"sessions": ["ses-b"]}, [SECOND]),
    ],
)
def test_scans_are_chosen(dataset, options, expected):
    assert places(dataset, **options) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"t1w": {"datatype": "anat", "suffix": "T1w"}, "bold": {"datatype": "func"}}, [FIRST, SECOND]),
        ({"t1w": {"acquisition": "mprage"}}, [FIRST]),
        ({"t1w": {"suffix": "T1w", "acquisition": None}, "flair": {"suffix": ["FLAIR"]}}, [SECOND, THICK]),
        ({"t1w": {"run": 1}}, [FIRST]),
    ],
)
def test_filter_files_as_for_fmriprep(dataset, tmp_path, filters, expected):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps(filters))
    assert places(dataset, filters=path) == expected


def test_what_is_refused(dataset, tmp_path):
    with pytest.raises(DataError, match=r"no participant 9\. There are: 01, 2"):
        find_scans(dataset, ["sub-9", "01"])
    with pytest.raises(DataError, match=r"no session x\. There are: a, b"):
        find_scans(dataset, sessions=["x"])
    with pytest.raises(DataError, match=r"no anatomical scan \(PDw\)"):
        find_scans(dataset, suffixes=["PDw"])
    with pytest.raises(DataError, match="derivative data set"):
        find_scans(dataset / "derivatives/other")
    with pytest.raises(DataError, match=r"description[.]json is missing"):
        find_scans(dataset / "sub-2")
    with pytest.raises(DataError, match="is no folder"):
        find_scans(tmp_path / "nothing")
    for text, reason in (
        ("{", "cannot be read as JSON"),
        ("[]", "no JSON object"),
        ('{"a": 1}', "each entry"),
    ):
        (tmp_path / "filter.json").write_text(text)
        with pytest.raises(ConfigError, match=reason):
            find_scans(dataset, filters=tmp_path / "filter.json")
    shutil.rmtree(dataset / "sub-01")
    (dataset / "dataset_description.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        find_scans(dataset)


@pytest.mark.parametrize(
    ("place", "applies"),
    [
        ("T1w.json", True),
        ("acq-mprage_T1w.json", True),
        ("run-01_T1w.json", True),
        ("sub-01/sub-01_T1w.json", True),
        ("sub-01/ses-a/sub-01_ses-a_T1w.json", True),
        ("sub-01/ses-a/anat/sub-01_ses-a_T1w.json", True),
        ("acq-other_T1w.json", False),
        ("sub-01/sub-01_ses-b_T1w.json", False),
        ("T2w.json", False),
        ("inplaneT1w.json", False),
    ],
)
def test_sidecars_above_a_scan(dataset, place, applies):
    """The inheritance principle of BIDS: https://bids-specification.readthedocs.io, "Common principles"."""
    (dataset / "T1w.json").unlink()
    write(dataset / place, {"SliceThickness": 2.4, "EchoTime": 9})
    first = find_scans(dataset)[0]
    assert first.metadata.get("SliceThickness") == (2.4 if applies else None)
    assert first.metadata["EchoTime"] == 0.003  # Of the nearest.
