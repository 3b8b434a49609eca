import json
import shutil

import nibabel
import numpy as np
import pytest

from keras_mrisr import pretrained

pytest.importorskip("ancpbids")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _head(shape):
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    return (900 * np.exp(-3 * np.square(places).sum(axis=0)) + 60 * places[0] + 60).astype("int16")


@pytest.fixture
def dataset(tmp_path):
    """`raw`: a T1w of two sessions of one participant, a thick FLAIR and a BOLD of another; and sidecars."""
    root = tmp_path / "raw"
    write(root / "dataset_description.json", {"Name": "Heads", "BIDSVersion": "1.10.0", "License": "CC0"})
    (root / "README.md").write_text("Two heads that were never in a scanner, to test super-resolution.\n" * 3)
    write(root / "T1w.json", {"MagneticFieldStrength": 3, "Manufacturer": "ACME"})
    thin, thick = np.diag([1.0, 1, 1, 1]), np.diag([0.75, 0.75, 3, 1])
    for name, affine, shape, sidecar in [
        ("sub-01/ses-a/anat/sub-01_ses-a_acq-mprage_run-01_T1w", thin, (9, 8, 7), {"EchoTime": 0.003}),
        ("sub-01/ses-b/anat/sub-01_ses-b_T1w", thin, (9, 8, 7), {"Manufacturer": "Other"}),
        ("sub-2/anat/sub-2_FLAIR", thick, (12, 10, 6), {"SliceThickness": 2.4, "SliceTiming": [0, 1]}),
    ]:
        write(root / f"{name}.json", sidecar)
        image = nibabel.Nifti1Image(_head(shape), affine)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, root / f"{name}.nii.gz")
    bold = nibabel.Nifti1Image(np.zeros((4, 4, 3, 2), "int16"), thin)
    (root / "sub-2/func").mkdir()
    nibabel.save(bold, root / "sub-2/func/sub-2_task-rest_bold.nii.gz")
    old = root / "derivatives/other"
    write(
        old / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
    )
    shutil.copytree(root / "sub-2/anat", old / "sub-2/anat")
    return root


@pytest.fixture
def bundled(tmp_path, monkeypatch, models, thick_model):
    """The bundled models are `grey`, which makes planes finer by 2, and `thick`."""
    folder = tmp_path / "bundled"
    shutil.copytree(models["grey"], folder / "grey")
    info = json.loads((folder / "grey/model.json").read_text())
    write(folder / "grey/model.json", {**info, "data": {"separate_channels": True}})
    shutil.copytree(thick_model, folder / "thick")
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
