"""Do all kinds of generators compute the same after each kind of export?

    python benchmarks/export_parity.py [--data ROOT] [RUN ...]

Exports trained models, and generators with random weights where there is no trained one, in every form, and
prints the largest difference from Keras on noise, a phantom and, with --data, real slices; for INT8, which
needs --data, what it changes the PSNR by.
"""

import argparse
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FORMS = {
    "SavedModel": {"to": "saved_model"},
    "ONNX": {"to": "onnx"},
    "NCHW": {"to": "onnx", "layout": "nchw"},
    "float16": {"to": "onnx", "precision": "float16"},
    "LiteRT 64x64": {"to": "litert", "size": (64, 64)},
    "INT8, dB": {"to": "onnx", "precision": "int8"},
}
RANDOM = [
    (
        f"{name}{', 3 slices' if options.get('neighbours') else ''} x{scale}, random weights",
        name,
        scale,
        options,
    )
    for name, options in (("srresnet", {}), ("edsr", {}), ("edsr", {"neighbours": 1}))
    for scale in (2, 4)
]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="trained model directories")
    parser.add_argument("--data", help="folder of HR slices with 3 channels")
    options = parser.parse_args()
    print("| model |" + "".join(f" {form} |" for form in FORMS))
    print("|---|" + "---|" * len(FORMS))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        models = [(pathlib.Path(run).name, run) for run in options.runs]
        models += [(title, build(folder / title, *how)) for title, *how in RANDOM]
        for title, model in models:
            cells = [export(model, folder, form, options.data, title) for form in FORMS.values()]
            print(f"| {title} |" + "".join(f" {cell} |" for cell in cells), flush=True)


def build(folder, name, scale, options):
    """A model directory with random weights; BatchNorm and PReLU as if they had been trained."""
    import keras
    import numpy as np

    from keras_mrisr.models import build_generator
    from keras_mrisr.models.storage import ModelInfo, save_trained

    keras.utils.set_random_seed(0)
    generator = build_generator(name, scale, 3, **options)
    rng = np.random.default_rng(0)
    for weight in generator.weights:
        if any(word in weight.path for word in ("alpha", "gamma", "moving_variance")):
            weight.assign(weight * rng.uniform(0.5, 1.5, weight.shape))
    # The last convolution, which is zero before a global skip, so that the result has the scale of an image.
    last = generator.get_layer("output_conv")
    last.kernel.assign(rng.normal(0, 1, last.kernel.shape))
    noise = rng.random((1, 32, 32, generator.input_shape[-1]), dtype="float32")
    last.kernel.assign(last.kernel * 0.1 / np.std(generator(noise)))
    degradation = {"name": "bicubic", "scale": scale}
    info = ModelInfo(scale, 3, {"name": name}, degradation, neighbours=options.get("neighbours", 0))
    save_trained(folder, generator, info, "Random weights.\n")
    return folder


def export(model, folder, form, data, title):
    """One cell of the table."""
    from keras_mrisr.export import export_model

    if form.get("precision") == "int8" and (data is None or "random" in title):
        return "-"
    done = export_model(model, folder / "out", calibration=data, overwrite=True, **form)
    if done.psnr:
        return f"{done.psnr['int8'] - done.psnr['float32']:+.2f}"
    return f"{done.parity['max_difference']:.1e}"


if __name__ == "__main__":
    sys.exit(main())
