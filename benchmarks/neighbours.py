"""Do neighbouring slices help? 2-D against 2.5-D (k = 1) on stacks, with the same budget.

    python benchmarks/neighbours.py --data kaggle_3m --out runs/neighbours --tasks x2-kspace

Trains the same generator with and without neighbours from several seeds: the same number of steps, batch,
patches (the same places, in the same order) and schedule; the one with neighbours has a wider first
kernel, and nothing else is different. All runs are scored on the same test patients, which none has seen.
Prints a table and writes it as neighbours.json and neighbours.md into --out. What is finished is not
repeated and a stopped run goes on, so that the work can be spread over several calls; --report trains
nothing.
"""

import argparse
import json
import os
import pathlib
import re
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_mrisr.config import parse_override
from keras_mrisr.data import read_dataset
from keras_mrisr.evaluation import evaluate_model
from keras_mrisr.evaluation.summary import per_patient
from keras_mrisr.files import write_json, write_text
from keras_mrisr.models.storage import load_info
from keras_mrisr.presets import preset_config
from keras_mrisr.training import train
from keras_mrisr.training.state import read_state

TASKS = {
    "x2-paper": {"scale": 2, "degradation.name": "paper"},
    "x4-bicubic": {"scale": 4, "degradation.name": "bicubic", "training.patch_size": 128},
    "x2-kspace": {"scale": 2, "degradation.name": "kspace"},
}
BASELINES = ("bicubic", "zero-filled")
METRICS = {"psnr": ("PSNR dB", ".3f"), "ssim": ("SSIM", ".4f")}
SCORES = "neighbours-scores.json"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of stacks of slices, such as kaggle_3m")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--neighbours", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--filters", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=250, help="an epoch")
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE, any other config key")
    parser.add_argument("--limit", type=int, help="test slices that are scored; by default all")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    dataset = read_dataset(options.data)
    for task in options.tasks:
        for seed in options.seeds:  # Seed by seed, so that a stopped benchmark has pairs to compare.
            for neighbours in options.neighbours:
                run = options.out / f"{task}-k{neighbours}-seed{seed}"
                if not options.report:
                    _train(_config(task, neighbours, seed, options), run, dataset)
                if _is_finished(run):
                    _score(run, options)
    _report(options)


def _config(task, neighbours, seed, options):
    return preset_config(options.preset).replace(
        {
            "data.root": options.data,
            "data.neighbours": neighbours,
            "generator.blocks": options.blocks,
            "generator.filters": options.filters,
            "training.epochs": options.epochs,
            "training.steps_per_epoch": options.steps,
            "training.seed": seed,
            **TASKS[task],
            **dict(map(parse_override, options.set)),
        }
    )


def _is_finished(run):
    state = read_state(run / "backup")
    return state is not None and state.finished


def _train(config, run, dataset):
    if _is_finished(run):
        return
    print(f"Training {run.name}", flush=True)
    train(config, run, dataset=dataset, report=_line)


def _line(epoch, step, logs):
    if step is None:
        print(f"  epoch {epoch}: validation PSNR {logs['val_psnr']:.3f} dB", flush=True)


def _score(run, options):
    """Scores the best checkpoint of a run, unless that is done."""
    file = run / SCORES
    if file.exists() and json.loads(file.read_text())["limit"] == options.limit:
        return
    print(f"Scoring {run.name}", flush=True)
    evaluation = evaluate_model(
        run, options.data, methods=BASELINES, metrics=list(METRICS), limit=options.limit, figure_cases=0
    )
    rows = per_patient(evaluation.scores, evaluation.measures)
    scores = {"limit": options.limit, "images": evaluation.protocol.images, "task": evaluation.protocol.task}
    write_json(file, {**scores, "patients": rows})


def _report(options):
    runs = [_read(run) for run in sorted(options.out.glob("*-k*-seed*")) if (run / SCORES).exists()]
    runs = [run for run in runs if run["limit"] == options.limit]
    if not runs:
        raise SystemExit("No run is finished yet.")
    tables = {task: _compare([run for run in runs if run["task"] == task]) for task in TASKS}
    tables = {task: table for task, table in tables.items() if table}
    write_json(options.out / "neighbours.json", {"tables": tables, "runs": runs})
    text = "\n".join(_markdown(task, table, runs) for task, table in tables.items())
    write_text(options.out / "neighbours.md", text)
    print(text)


def _read(run):
    scores, info = json.loads((run / SCORES).read_text()), load_info(run)
    task, seed = re.fullmatch(r"(.+)-k[0-9]+-seed([0-9]+)", run.name).groups()
    return {
        "run": run.name,
        "task": task,
        "neighbours": info.neighbours,
        "seed": int(seed),
        "generator": info.generator,
        "parameters": info.training["parameters"],
        "steps": info.training["epochs"] * info.training["steps_per_epoch"],
        "batch_size": info.training["batch_size"],
        "patch_size": info.training["patch_size"],
        "best_epoch": info.metrics["epoch"],
        "val_psnr": info.metrics["val_psnr"],
        "seconds_to_best": info.training["seconds"],
        "hardware": info.training["hardware"],
        "degradation": scores["task"],
        "images": scores["images"],
        "limit": scores["limit"],
        "patients": scores["patients"],
    }


def _compare(runs):
    """Rows of one task: for each channel set, region and metric every k, and its difference to the first.

    A patient's value is the mean over the seeds that all k have; the difference is paired by patient.
    """
    every = sorted({run["neighbours"] for run in runs})
    seeds = [{run["seed"] for run in runs if run["neighbours"] == k} for k in every]
    seeds = sorted(set.intersection(*seeds)) if seeds else []
    if not seeds:
        return []
    keys = dict.fromkeys((row["channel"], row["region"]) for row in runs[0]["patients"])
    rows = []
    for channel, region in keys:
        for metric in METRICS:
            values = {k: _by_patient(runs, k, seeds, "SR", channel, region, metric) for k in every}
            plain = [_by_patient(runs, every[0], seeds, one, channel, region, metric) for one in BASELINES]
            if not plain[0]:
                continue  # No test patient has a tumour in its slices, say.
            for k in every:
                means = [statistics.mean(each) for each in values[k].values()]
                difference = [
                    statistics.mean(each) - statistics.mean(values[every[0]][patient])
                    for patient, each in values[k].items()
                ]
                per_seed = [statistics.mean(column) for column in zip(*values[k].values(), strict=True)]
                rows.append(
                    {
                        "channel": channel, "region": region, "metric": metric, "neighbours": k,
                        "seeds": seeds, "patients": len(means),
                        **{
                            name: statistics.mean(each[0] for each in one.values())
                            for name, one in zip(BASELINES, plain, strict=True)
                        },
                        "mean": statistics.mean(means), "sd_patients": _sd(means),
                        "sd_seeds": _sd(per_seed), "difference": statistics.mean(difference),
                        "sd_difference": _sd(difference), "better": sum(each > 0 for each in difference),
                    }
                )  # fmt: skip
    return rows


def _by_patient(runs, neighbours, seeds, method, channel, region, metric):
    """Patient -> the values of the seeds; patients without a finite value in any run are left out."""
    found = {}
    for run in runs:
        if run["neighbours"] == neighbours and run["seed"] in seeds:
            for row in run["patients"]:
                if (row["method"], row["channel"], row["region"]) == (method, channel, region):
                    found.setdefault(row["patient"], []).append(row[metric])
    return {patient: values for patient, values in found.items() if None not in values}


def _markdown(task, rows, runs):
    runs = [run for run in runs if run["task"] == task and run["seed"] in rows[0]["seeds"]]
    first = runs[0]
    options = ", ".join(f"{key}={value}" for key, value in first["generator"].items() if key != "name")
    sizes = ", ".join(
        f"k={k}: {next(run['parameters'] for run in runs if run['neighbours'] == k):,}"
        for k in sorted({run["neighbours"] for run in runs})
    )
    lines = [
        f"## {task}",
        "",
        f"{first['degradation']}; {first['generator']['name']} ({options}); parameters {sizes}; "
        f"{first['steps']:,} steps of {first['batch_size']} patches of {first['patch_size']} px; "
        f"{len(rows[0]['seeds'])} seed(s); {rows[0]['patients']} test patients, {first['images']} slices"
        f"{' (evenly spread)' if first['limit'] else ''}; {first['hardware']}. Means over patients of the "
        "means of their slices; ± standard deviation over patients, [over seeds]; the difference is paired "
        "by patient.",
        "",
        "| channels, region | metric | bicubic | zero-filled | k | SR | difference to k=0 | better |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name, form = METRICS[row["metric"]]
        line = f"| {row['channel']}, {row['region']} | {name} | {row['bicubic']:{form}} "
        line += f"| {row['zero-filled']:{form}} | {row['neighbours']} "
        line += f"| {row['mean']:{form}} ± {row['sd_patients']:{form}} [{row['sd_seeds']:{form}}] "
        if row["neighbours"]:
            line += f"| {row['difference']:+{form}} ± {row['sd_difference']:{form}} "
            line += f"| {row['better']} of {row['patients']} |"
        else:
            line += "| | |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _sd(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
