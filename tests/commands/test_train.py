import nibabel
import numpy as np

from keras_mrisr.config import read_config


def test_a_model_is_fine_tuned_on_volumes_by_init_alone(mrisr, tmp_path, models, smooth_image):
    for patient in range(3):
        (tmp_path / f"scans/sub-{patient}").mkdir(parents=True)
        slices = [smooth_image(24, 24, dtype="float32", seed=4 * patient + z)[..., 0] for z in range(4)]
        volume = nibabel.Nifti1Image(900 * np.stack(slices, axis=-1), np.diag([1, 1, 4, 1]))
        nibabel.save(volume, tmp_path / f"scans/sub-{patient}/T1w.nii.gz")
    run = tmp_path / "run"
    words = ["train", "--data", tmp_path / "scans", "--init", models["grey"], "--out", run, "--epochs", 1]
    short = ["training.steps_per_epoch=1", "training.patch_size=16", "training.precision=float32"]
    code, _, err = mrisr(*words, "--batch-size", 1, "--set", *short)
    assert (code, err) == (0, "")
    config = read_config(run / "config.yaml")
    # The network and what it undoes are the model's; the preset "full" has others.
    assert config.generator == {"name": "edsr", "blocks": 1, "filters": 8}
    assert config.degradation["name"] == "bicubic"
    assert (run / "generator.keras").is_file() and (run / "samples.png").is_file()
