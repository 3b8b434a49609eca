"""How long does ECLARE take for a scan of thick slices on a CPU, and how long does `mrisr upscale`?

    python benchmarks/eclare.py SCAN.nii.gz --eclare VENV/bin/python [--steps 50]

ECLARE (pip install eclare, into an environment of its own) trains a network for each scan. The time of
--steps steps of its own training, after the first one, is extrapolated to the steps of its default run (a
million patches, 128 at a time). The slice profile is given, so that its estimate (ESPRESO) is left out, and
so is what comes after the training: both would make it slower. `mrisr upscale` is timed whole, from its start
to the file that it wrote.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from keras_mrisr.volumes import read_volume

# Runs inside of ECLARE's environment: prints the steps of a run, and seconds a step.
_TIMER = """
import sys, time
import eclare.eclare, eclare.main
wanted, times = int(sys.argv.pop(1)), []
class Clock:
    def __init__(self, total, update_amount, names):
        self.steps = -(-total // update_amount)
    def update(self, losses):
        times.append(time.perf_counter())
        if len(times) == wanted + 1:
            print("STEPS", self.steps, (times[-1] - times[0]) / wanted, flush=True)
            import os; os._exit(0)  # Its loaders have a million patches to go.
    def close(self):
        pass
eclare.eclare.LossProgBar = Clock
eclare.main.main()
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan")
    parser.add_argument("--eclare", required=True, metavar="PYTHON", help="of the environment with eclare")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    spacing = read_volume(options.scan).spacing
    factor = spacing.max() / spacing.min()
    with tempfile.TemporaryDirectory() as folder:
        own = _own_seconds(options.scan, pathlib.Path(folder) / "out.nii.gz")
        print(f"mrisr upscale: {own:.1f} s in all", flush=True)
        steps, seconds = _eclare_seconds(options, factor, folder)
    whole = steps * seconds
    print(f"ECLARE: {seconds:.2f} s a step (mean of {options.steps}), {steps} steps: {whole / 3600:.1f} h")
    print(f"ratio: {whole / own:.0f}")


def _own_seconds(scan, target):
    start = time.perf_counter()
    program = pathlib.Path(sys.executable).with_name("mrisr")
    subprocess.run([program, "upscale", scan, target], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _eclare_seconds(options, factor, folder):
    words = ["--in-fpath", options.scan, "--out-dir", folder, "--relative-slice-thickness", f"{factor:.4f}"]
    found = subprocess.run(
        [options.eclare, "-c", _TIMER, str(options.steps), *words],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    line = next(line for line in found.stdout.splitlines() if line.startswith("STEPS"))
    return int(line.split()[1]), float(line.split()[2])


if __name__ == "__main__":
    main()
