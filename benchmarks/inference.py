"""How fast is the full x2 generator in each of the forms that it is exported to?

    python benchmarks/inference.py [--sizes 128 256 512] [--threads 1 2] [--rounds 7] [--model RUN]

Prints for each number of threads one table from one process, in which all sides take turns: milliseconds for
one LR slice (median), how many times as fast as Keras `predict` it is (median of the ratios within a round),
and the share of the machine's peak: the network's operations, as Keras counts them, over the rate of a large
float32 matrix multiplication in the same round. Rewriting can bring it beyond 1, since it leaves work out.

Without --model the network is the paper's SRResNet (16 blocks, 64 filters) with random weights.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512], help="edges of the LR slice")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7, help="at the smallest size; fewer at larger ones")
    parser.add_argument("--model", help="trained model directory")
    parser.add_argument("--only", help="sides whose names hold one of these words, comma-separated")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return measure(options, options.inside)
    for threads in options.threads:  # TensorFlow takes its number of threads once in a process.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        environment["TF_NUM_INTRAOP_THREADS"] = environment["TF_NUM_INTEROP_THREADS"] = str(threads)
        subprocess.run([sys.executable, *sys.argv, "--inside", str(threads)], env=environment, check=True)
    return 0


def measure(options, threads):
    """Prints the table for one number of threads."""
    import numpy as np

    generator, info = load(options.model)
    operations = count(generator)
    with tempfile.TemporaryDirectory() as folder:
        sides = make_sides(generator, info, pathlib.Path(folder), threads)
    if options.only:
        words = options.only.split(",")
        sides = {name: run for name, run in sides.items() if any(word in name for word in words)}
    rng = np.random.default_rng(0)
    columns = {}
    for place, size in enumerate(options.sizes):
        lr = rng.random((1, size, size, info.input_channels), dtype="float32")
        columns[size] = take_turns(sides, lr, max(3, options.rounds - 2 * place))
    rate = statistics.median(value for times in columns.values() for value in times["limit"])
    print(
        f"\n{generator.name} x{info.scale}, {generator.count_params():,} parameters, {operations / 1e6:.2f} "
        f"MFLOP an LR pixel; {threads} of {os.cpu_count()} cores, matrix multiplication at "
        f"{1e-9 / rate:.0f} GFLOP/s"
    )
    print(f"{'':34}" + "".join(f"{f'{size} px, ms':>14}{'x predict':>10}{'of peak':>9}" for size in columns))
    for name in ("limit", *sides):
        line = f"{'matrix multiplication (limit)' if name == 'limit' else name:34}"
        for size, times in columns.items():
            work = operations * size**2
            limit = [value * work for value in times["limit"]]
            spent = limit if name == "limit" else times[name]
            predict = times.get("Keras predict", spent)
            line += f"{1000 * statistics.median(spent):14.1f}"
            line += f"{ratio(predict, spent):10.2f}{ratio(limit, spent):9.2f}"
        print(line, flush=True)
    return 0


def take_turns(sides, lr, rounds):
    """{side: seconds of each round}; "limit": seconds a floating point operation."""
    times = {name: [] for name in ("limit", *sides)}
    for run in sides.values():  # Tracing, compilation, memory.
        run(lr)
    seconds_a_flop()
    for _ in range(rounds):
        times["limit"].append(seconds_a_flop())
        for name, run in sides.items():
            time.sleep(0.05)  # Idle threads of the side before still wait for work for a moment.
            start = time.perf_counter()
            run(lr)
            times[name].append(time.perf_counter() - start)
    return times


def load(model):
    """(generator, ModelInfo)."""
    import keras
    import numpy as np

    from keras_mrisr.model_info import ModelInfo
    from keras_mrisr.models import srresnet
    from keras_mrisr.models.storage import load_trained

    if model:
        return load_trained(model)
    keras.utils.set_random_seed(0)
    generator = srresnet(2, 3)
    rng = np.random.default_rng(0)
    for weight in generator.weights:  # As after a training: slopes and statistics that are not all the same.
        if any(word in weight.path for word in ("alpha", "gamma", "moving_variance")):
            weight.assign(weight * rng.uniform(0.5, 1.5, weight.shape))
    return generator, ModelInfo(
        2, 3, generator={"name": "srresnet"}, degradation={"name": "paper", "scale": 2}
    )


def make_sides(generator, info, folder, threads):
    """{name: function of a batch (1, H, W, C)}; each returns an array."""
    import onnx
    import tensorflow as tf

    from keras_mrisr.export.deployable import deployable
    from keras_mrisr.export.describe import metadata
    from keras_mrisr.export.onnx_file import add_metadata, convert
    from keras_mrisr.export.onnx_precision import to_float16, to_int8
    from keras_mrisr.export.onnx_resolver import OnnxSuperResolver
    from keras_mrisr.export.parity import phantom
    from keras_mrisr.export.saved_model import write_saved_model
    from keras_mrisr.inference import SuperResolver

    spec = tf.TensorSpec((None, None, None, info.input_channels), tf.float32)
    graph = tf.function(lambda lr: generator(lr, training=False), input_signature=[spec])
    compiled = tf.function(lambda lr: generator(lr, training=False), jit_compile=True)
    lean = deployable(generator)
    values = metadata(generator, info, layout="nchw")
    write_saved_model(lean, folder / "saved_model", values)
    served = tf.saved_model.load(str(folder / "saved_model"))
    network = convert(lean, layout="nchw")
    add_metadata(network, values)
    onnx.save(network, folder / "model.onnx")
    slices = [phantom((96, 96), info.input_channels) for _ in range(2)]
    resolver = SuperResolver(generator, info)
    generator.jit_compile = False  # As `SuperResolver.load` does; `predict` chooses for itself.
    ours = OnnxSuperResolver.load(folder / "model.onnx", threads=threads)
    predict = keras_predict(generator)
    return {
        "Keras predict": predict,
        "TensorFlow graph": lambda lr: graph(lr).numpy(),
        "TensorFlow XLA": lambda lr: compiled(lr).numpy(),
        "SuperResolver (mrisr upscale)": lambda lr: resolver.predict(lr).sr,
        "SavedModel": lambda lr: served.signatures["serving_default"](lr=tf.constant(lr))["sr"].numpy(),
        "ONNX as Keras writes it": session(convert(generator, surgery=False), threads),
        "ONNX, NHWC": session(convert(lean), threads),
        "ONNX, NCHW": session(network, threads, turn=True),
        "OnnxSuperResolver (mrisr upscale)": lambda lr: ours.predict(lr).sr,
        "ONNX, float16": session(to_float16(convert(lean, layout="nchw")), threads, turn=True),
        "ONNX, INT8": session(to_int8(network, slices), threads, turn=True),
    }


def keras_predict(generator):
    """`predict` of a copy, as somebody would call it who just loaded the model."""
    import keras

    copy = keras.models.clone_model(generator)
    copy.set_weights(generator.get_weights())
    return lambda lr: copy.predict(lr, verbose=0)


def session(model, threads, turn=False):
    """A function that runs an ONNX network; `turn` gives it channels first, and turns the result back."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    network = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def run(lr):
        if turn:
            sr = network.run(None, {"lr": np.ascontiguousarray(lr.transpose(0, 3, 1, 2))})[0]
            return np.ascontiguousarray(sr.transpose(0, 2, 3, 1))
        return network.run(None, {"lr": lr})[0]

    return run


def seconds_a_flop(size=3072):
    """The speed of a float32 matrix multiplication, on as many threads as the rest."""
    import tensorflow as tf

    a = tf.ones((size, size))
    tf.matmul(a, a).numpy()
    start = time.perf_counter()
    tf.matmul(a, a).numpy()
    return (time.perf_counter() - start) / (2 * size**3)


def count(generator):
    """Floating point operations of the convolutions for one LR pixel."""
    import keras

    from keras_mrisr.models.receptive_field import zooms_along

    zooms = [zooms_along(generator, axis) for axis in (1, 2)]
    total = 0
    for layer in generator.layers:
        if isinstance(layer, keras.layers.Conv2D):
            pixels = zooms[0][id(layer.output)] * zooms[1][id(layer.output)]
            total += 2 * float(pixels) * layer.kernel.shape.num_elements()
    return total


def ratio(values, reference):
    return statistics.median(a / b for a, b in zip(values, reference, strict=True))


if __name__ == "__main__":
    sys.exit(main())
