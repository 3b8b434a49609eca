"""`mrisr train`."""

import shlex

from keras_mrisr.commands.arguments import add_data_kind, read_training_data, stopped


def add(commands, common):
    train = commands.add_parser(
        "train",
        parents=[common],
        help="train a generator; started again with the same words, a stopped run goes on",
    )
    train.add_argument("--data", metavar="ROOT", help="folder of the data")
    add_data_kind(train)
    train.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    train.add_argument(
        "--scale", type=scale, help="2, 3, 4 or 8 (default: 2); of volumes a factor for each axis: 1,1,2"
    )
    train.add_argument("--preset", help="compact (CPU), full (GPU, the default) or paper")
    train.add_argument(
        "--adversarial",
        metavar="PRESET",
        nargs="?",
        const="stable",
        help="train on against a discriminator: stable (the default) or paper",
    )
    train.add_argument("--config", metavar="YAML", help="config file, over the preset")
    train.add_argument(
        "--degradation", help="paper, bicubic, random-blur, kspace, or slice-profile for volumes"
    )
    train.add_argument("--generator", help="srresnet, edsr, or srresnet3d for volumes")
    train.add_argument(
        "--neighbours", type=int, metavar="K", help="also show the generator K adjacent slices on each side"
    )
    train.add_argument("--epochs", type=int, help="rounds of training (default: the preset's)")
    train.add_argument("--batch-size", type=int, help="patches a step")
    train.add_argument("--patch-size", type=int, help="edge of the HR patches; 0 for whole slices")
    train.add_argument("--optimizer", help="adam or muon")
    train.add_argument("--learning-rate", type=float, help="at the start")
    train.add_argument("--loss", help="mean_absolute_error, mean_squared_error or psnr")
    train.add_argument("--precision", help="float32, mixed_bfloat16, mixed_float16, or auto for the fastest")
    train.add_argument("--strategy", help="none, or mirrored for all visible GPUs")
    train.add_argument("--init", metavar="RUN", help="start from the weights of this model")
    train.add_argument("--seed", type=int, help="of weights and patches (the split has its own)")
    train.add_argument(
        "--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[],
        help="any other config keys, e.g. generator.blocks=8 data.split_seed=1",
    )  # fmt: skip
    train.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")
    train.set_defaults(run=_train)


# Options of `train` that are a config key of another name.
_TRAIN_KEYS = {
    "data": "data.root",
    "patient_pattern": "data.patient_pattern",
    "neighbours": "data.neighbours",
    "degradation": "degradation.name",
    "generator": "generator.name",
    "scale": "scale",
    **{
        key: f"training.{key}"
        for key in (
            "epochs", "batch_size", "patch_size", "optimizer", "learning_rate", "loss", "precision",
            "strategy", "init", "seed",
        )
    },
}  # fmt: skip


def scale(text):
    """The scale as RunConfig takes it: "2" -> 2, "1,1,2" -> (1, 1, 2)."""
    factors = tuple(int(part) for part in text.split(","))
    return factors if len(factors) > 1 else factors[0]


def train_config(options):
    from keras_mrisr import config, presets

    base = presets.preset_config(options.preset or presets.DEFAULT_PRESET)
    if options.adversarial:
        base = presets.adversarial_config(base, options.adversarial)
    if options.config:
        base = config.read_config(options.config, base)
    given = {key: getattr(options, name) for name, key in _TRAIN_KEYS.items()}
    overrides = {key: value for key, value in given.items() if value is not None}
    if options.kind != "auto":
        overrides["data.kind"] = options.kind
    overrides.update(config.parse_override(text) for text in options.set)
    return base.replace(overrides)


def _train(options):
    from keras_mrisr.terminal import load_tensorflow, say, training_progress

    config = train_config(options)
    # Read first: a wrong path is answered before TensorFlow is loaded.
    dataset = read_training_data(config)
    load_tensorflow()
    from keras_mrisr.training import Interrupted, train

    epochs, steps = config.training.epochs, config.training.steps_per_epoch
    if config.adversarial.on and config.adversarial.pretraining:
        # Two stages with a count each.
        epochs, steps = None, (None if "steps_per_epoch" in config.adversarial.pretraining else steps)
    try:
        with training_progress(epochs, steps) as report:
            run = train(config, options.out, options.overwrite, dataset, report=report)
    except Interrupted:
        return stopped()
    words = ["mrisr", "evaluate", "--model", str(run), "--data", config.data.root]
    if config.data.kind != "auto":
        words += ["--kind", config.data.kind]
    say(f"Trained model in {run}. Next:\n  {shlex.join(words)}")
    return 0
