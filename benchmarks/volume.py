"""How fast is `mrisr upscale` of a whole volume, beside an earlier build and other engines?

    python benchmarks/volume.py T1.nii.gz [--before PYTHON] [--model any-x2] [--slices 176] [--rounds 1]

Makes a volume of 256 x 256 x 176 voxels of 1 mm, 16 bits, from a T1 (the studyforrest scan, say; resampled
by a cubic spline, and padded with its own air). Then, in turns in one run, the whole command
`mrisr upscale IN.nii.gz OUT.nii.gz --in-plane`, x2 in the plane of its sagittal slices, as wall time and peak
memory of the process: with --before's build and `kspace-x2` (PYTHON is the interpreter of an environment that
holds it), with this build and the same network, and with this build's --model by each of --engines. Last, the
network of `kspace-x2` alone on one slice of 128 px in float32: by onnxruntime as it is exported ("plain"),
by each engine that is installed (onnxruntime, OpenVINO, ncnn), by the one that `--engine auto` takes, by
Keras, and by PyTorch where there is one; and by OpenVINO in bfloat16 where the processor multiplies in it.
Prints ratios to the first line of each table.

Nothing else should run: the figures are those of the machine, its cores and its load.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nibabel
import numpy as np
from scipy import ndimage

SIZE = (176, 256, 256)
EDGE, ROUNDS = 128, 15


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("volume", help="NIfTI of a T1 with thin slices")
    parser.add_argument("--before", help="Python of an environment with the earlier build")
    parser.add_argument("--model", default="any-x2")
    parser.add_argument("--slices", type=int, default=SIZE[0], help="of the middle, for a shorter run")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--engines", nargs="+", default=["auto"], metavar="NAME[:PRECISION]",
        help="such as onnxruntime openvino openvino:bfloat16",
    )  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "volume.nii.gz")
        share = make_volume(options.volume, source, options.slices)
        print(
            f"{options.slices} slices of {SIZE[1]} x {SIZE[2]}, 16 bits, {100 * share:.0f} % air", flush=True
        )
        words = ["--in-plane", "--plane", "sagittal"]
        runs = {}
        if options.before:
            runs["before, kspace-x2"] = [options.before, *words[1:], "--model", "kspace-x2"]
        for model, engine in (("kspace-x2", "auto"), *((options.model, one) for one in options.engines)):
            name, _, precision = engine.partition(":")
            runs[f"now, {model}, {engine}"] = [
                sys.executable, *words, "--model", model, "--force", "--engine", name,
                "--precision", precision or "float32",
            ]  # fmt: skip
        commands(runs, source, pathlib.Path(folder), options.rounds)
    engines()


def make_volume(path, target, slices):
    """Writes the volume; returns the share of its voxels that are air."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    zooms = image.header.get_zooms()[:3]
    array = ndimage.zoom(image.get_fdata(dtype="float32"), zooms, order=3, mode="nearest", grid_mode=True)
    out = np.zeros(SIZE, "float32")
    rng = np.random.default_rng(0)
    corner = array[:8, :8, -8:].ravel()  # Air, for what lies beyond the scan.
    out[:] = rng.choice(corner, SIZE)
    place, part = [], []
    for size, there in zip(array.shape, SIZE, strict=True):
        count = min(size, there)
        part.append(slice((size - count) // 2, (size - count) // 2 + count))
        place.append(slice((there - count) // 2, (there - count) // 2 + count))
    out[tuple(place)] = array[tuple(part)]
    first = (SIZE[0] - slices) // 2
    out = out[first : first + slices]
    values = np.clip(np.rint(out), 0, 32767).astype("int16")
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1, 1, 1])), target)
    return float(np.mean(out < 0.05 * np.percentile(out, 99.9)))


def commands(runs, source, folder, rounds):
    """Runs whole commands in turns, and prints the least time and the peak memory of each."""
    times, peaks = {}, {}
    for _ in range(rounds):
        for name, (python, *words) in runs.items():
            target = folder / "out.nii.gz"
            command = [python, "-m", "keras_mrisr", "upscale", source, target, *words, "--overwrite"]
            start = time.perf_counter()
            peaks[name] = max(peaks.get(name, 0), _peak(command))
            times[name] = min(times.get(name, np.inf), time.perf_counter() - start)
            print(f"  {name}: {times[name]:.1f} s, {peaks[name]:.2f} GB", flush=True)
    first = next(iter(runs))
    print("| whole command | s | times as fast | peak GB | share |")
    print("|---|---|---|---|---|")
    for name in runs:
        print(
            f"| {name} | {times[name]:.1f} | {times[first] / times[name]:.2f} | {peaks[name]:.2f} | "
            f"{peaks[name] / peaks[first]:.2f} |"
        )


def _peak(command):
    """Runs a command; the gigabytes that it took at most. By a process of its own: the system sums up."""
    script = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
        "print(done, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-c", script, *map(str, command)]
    # Elsewhere, so that each interpreter takes the build that is installed in it.
    ran = subprocess.run(words, check=True, capture_output=True, text=True, cwd=tempfile.gettempdir())
    done, peak = ran.stdout.split()[-2:]
    if done != "0":
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    unit = 1 if sys.platform == "darwin" else 1024
    return int(peak) * unit / 1e9


def engines():
    """Times one network on one slice by each engine, in turns."""
    from keras_mrisr.errors import MrisrError
    from keras_mrisr.export.engine_choice import installed_engines
    from keras_mrisr.export.onnx_resolver import OnnxSuperResolver
    from keras_mrisr.models.storage import load_trained
    from keras_mrisr.pretrained import find_model

    path = find_model("kspace-x2")
    lr = np.random.default_rng(0).random((1, EDGE, EDGE, 1), "float32")
    keras_network = load_trained(path)[0]
    keras_network.jit_compile = False
    networks = {"plain onnxruntime": _plain_onnxruntime(keras_network)}
    for name in installed_engines():
        networks[name] = OnnxSuperResolver.load(path, engine=name).generator.predict_on_batch
    networks["--engine auto"] = OnnxSuperResolver.load(path).generator.predict_on_batch
    with contextlib.suppress(MrisrError):
        half = OnnxSuperResolver.load(path, precision="bfloat16")
        networks["OpenVINO, bfloat16"] = half.generator.predict_on_batch
    networks["Keras"] = keras_network.predict_on_batch
    torch_network = _torch(keras_network)
    if torch_network is not None:
        networks["PyTorch"] = torch_network
    times = {}
    for turn in range(ROUNDS + 1):
        for name, run in networks.items():
            time.sleep(0.1)  # The threads of the one before may spin for a while.
            start = time.perf_counter()
            run(lr)
            if turn:  # The first one prepares.
                times.setdefault(name, []).append(time.perf_counter() - start)
    first = min(times["plain onnxruntime"])
    print(f"| kspace-x2 on {EDGE} x {EDGE} px | least s | median s | times as fast |")
    print("|---|---|---|---|")
    for name, each in times.items():
        print(f"| {name} | {min(each):.3f} | {np.median(each):.3f} | {first / min(each):.2f} |")


def _plain_onnxruntime(network):
    """The exported network without what this package does to it for CPUs: a function of an array."""
    import onnxruntime

    from keras_mrisr.export.deployable import deployable
    from keras_mrisr.export.onnx_file import convert

    session = onnxruntime.InferenceSession(
        convert(deployable(network)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda lr: session.run(None, {name: lr})[0]


def _torch(network):
    """The same chain of convolutions in PyTorch: a function of an NHWC array; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    convs = {}
    for layer in network.layers:
        if type(layer).__name__ == "Conv2D":
            kernel, *bias = layer.get_weights()
            conv = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], padding="same")
            conv.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            conv.bias.data = torch.from_numpy(bias[0].copy()) if bias else torch.zeros(kernel.shape[3])
            convs[layer.name] = conv.to(memory_format=torch.channels_last)
    blocks = sum(name.endswith("_conv1") for name in convs)

    def run(lr):
        with torch.inference_mode():
            image = torch.from_numpy(lr.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)
            x = first = convs["input_conv"](image)
            for i in range(1, blocks + 1):
                x = x + convs[f"block{i}_conv2"](torch.relu(convs[f"block{i}_conv1"](x)))
            x = convs["output_conv"](convs["body_conv"](x) + first)
            cubic = torch.nn.functional.interpolate(image, scale_factor=2, mode="bicubic")
            return (torch.pixel_shuffle(x, 2) + cubic).numpy()

    return run


if __name__ == "__main__":
    main()
