"""`mrisr features`: fine-tune the network of the perceptual loss."""

import pathlib
import shlex

from keras_mrisr.commands.arguments import add_data_kind, check_exists, read_training_data, stopped


def add(commands, common):
    features = commands.add_parser("features", help="train the network of the perceptual loss on, on MRI")
    actions = features.add_subparsers(title="commands", metavar="COMMAND")
    finetune = actions.add_parser(
        "finetune",
        parents=[common],
        help="train VGG on, on the slices of the training patients; started again, a stopped run goes on",
    )
    finetune.add_argument("--data", metavar="ROOT", help="folder of the data, with NAME_mask files")
    add_data_kind(finetune)
    finetune.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    finetune.add_argument("--network", help="vgg19 (the default) or vgg16")
    finetune.add_argument(
        "--weights", metavar="FILE", help="what it starts from: imagenet (the default), a weight file or none"
    )
    finetune.add_argument(
        "--labels", help="what it learns: tumour, sequence or tumour,sequence (the default)"
    )
    finetune.add_argument("--trainable", metavar="BLOCKS", help="default: block4,block5")
    finetune.add_argument("--config", metavar="YAML", help="config file")
    finetune.add_argument("--epochs", type=int, help="rounds of training (default: 8)")
    finetune.add_argument("--batch-size", type=int, help="slices a step")
    finetune.add_argument("--image-size", type=int, help="edge of the images that the network is shown")
    finetune.add_argument("--learning-rate", type=float, help="of Adam, at the start")
    finetune.add_argument("--precision", help="float32, mixed_bfloat16, or auto for the faster")
    finetune.add_argument("--seed", type=int, help="of the images (the split has its own)")
    finetune.add_argument(
        "--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[],
        help="any other config keys, e.g. training.steps_per_epoch=100 data.split_seed=1",
    )  # fmt: skip
    finetune.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")
    finetune.set_defaults(run=_finetune)


def finetune_config(options):
    from keras_mrisr.config import parse_override, read_config
    from keras_mrisr.finetune.config import FinetuneConfig

    base = FinetuneConfig()
    if options.config:
        base = read_config(options.config, base)
    keys = {"data": "data.root", "patient_pattern": "data.patient_pattern", "network": "network"}
    names = ("epochs", "batch_size", "image_size", "learning_rate", "precision", "seed")
    keys |= {name: f"training.{name}" for name in names}
    overrides = {key: getattr(options, name) for name, key in keys.items()}
    overrides = {key: value for key, value in overrides.items() if value is not None}
    for name in ("labels", "trainable"):
        if getattr(options, name) is not None:
            overrides[name] = getattr(options, name).split(",")
    if options.weights is not None:
        overrides["weights"] = options.weights
    if options.kind != "auto":
        overrides["data.kind"] = options.kind
    overrides.update(parse_override(text) for text in options.set)
    return base.replace(overrides)


def _finetune(options):
    from keras_mrisr.terminal import load_tensorflow, print_rows, say, training_progress

    if options.data is not None:
        check_exists(options.data)
    load_tensorflow()
    config = finetune_config(options)
    dataset = read_training_data(config)
    from keras_mrisr.finetune import finetune_features
    from keras_mrisr.finetune.storage import score_rows
    from keras_mrisr.training import Interrupted

    try:
        with training_progress(config.training.epochs, config.training.steps_per_epoch) as report:
            info = finetune_features(
                config, options.out, options.overwrite, dataset, report=report, progress=report.stage
            )
    except Interrupted:
        return stopped()
    print_rows(*score_rows(info.metrics), title="Linear heads on the features as they were / fine-tuned")
    say(f"Weights in {options.out}. Next:\n  {shlex.join(_next_words(config, pathlib.Path(options.out)))}")
    return 0


def _next_words(config, out):
    """The command that trains through these features, with the same patients held out."""
    from keras_mrisr.config import DataConfig
    from keras_mrisr.finetune.storage import WEIGHTS

    words = ["mrisr", "train", "--data", config.data.root, "--out", f"{out}-gan", "--adversarial"]
    if config.data.kind != "auto":
        words += ["--kind", config.data.kind]
    if config.data.patient_pattern is not None:
        words += ["--patient-pattern", config.data.patient_pattern]
    settings = {"adversarial.features.network": config.network, "adversarial.features.weights": out / WEIGHTS}
    for name in ("split_seed", "validation_fraction", "test_fraction"):
        value = getattr(config.data, name)
        if value != getattr(DataConfig(), name):
            settings[f"data.{name}"] = value
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    return words
