"""The model card, written from the run's own files."""

from typing import Any

from keras_mrisr.model_info import ModelInfo, ThroughPlaneInfo

_INVENTED = """ Adversarial training makes texture that looks likely, which need not be
what was there: don't read detail off it that the LR slice does not support."""

_EVALUATE = "Scores on the test patients come from `mrisr evaluate`."
_TESTED = "The test patients were not scored: keep them for your own measurement."


def model_card(info: ModelInfo) -> str:
    """Markdown that says what a trained generator is."""
    degradation = ", ".join(f"{k}={v}" for k, v in info.degradation.items() if k not in ("name", "scale"))
    table = "\n".join(f"| {name} | {text} |" for name, text in {**_recipe(info), **_result(info)}.items())
    kind = "volumes (the last factor is that across the slices)" if info.dimensions == 3 else "slices"
    return f"""# {info.generator["name"]} x{info.scale_text}, {info.channels} channel(s)

Super-resolution by {info.scale_text} of MRI {kind} degraded by `{info.degradation["name"]}` ({degradation}).
Made by keras-mrisr {info.version}. For research; not a medical device.

| | |
|---|---|
{table}

{_TESTED if info.dimensions == 3 else _EVALUATE} The weights carry the terms of the data that
they were trained on. Expect wrong detail on images that were degraded in another way than above, or of
another contrast, spacing or organ.{_INVENTED if "adversarial" in info.training or info.perception else ""}
"""


def through_plane_card(info: ThroughPlaneInfo) -> str:
    """Markdown that says what a trained network for thick slices is."""
    training = info.training
    rows = _of_finish(info) if info.finish else _of_planes(info)
    if "adversarial" in training:
        rows["adversarial"] = _adversarial(training["adversarial"])
    if "val_features" in info.metrics:
        rows["feature distance"] = f"{info.metrics['val_features']:.4g} on the same planes"
    if "adapted" in training:
        adapted = training["adapted"]
        rows["adapted"] = (
            f"from {adapted['from']} on {adapted['on']}, {adapted['steps']} steps at a factor of "
            f"{adapted['factor']:.3g}: {adapted['before']:.2f} to {adapted['after']:.2f} dB on slices of it "
            "that were held out"
        )
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    low, high = info.factors
    thin, thick = info.thickness
    invented = _INVENTED if "adversarial" in training else ""
    return f"""# Thick slices made thin, by {low:g} to {high:g}

Super-resolution across the slices of MRI scans of any contrast. Made by keras-mrisr {info.version}. For
research; not a medical device.

| | |
|---|---|
{table}

Trained on slices degraded along one axis by Gaussian, windowed sinc and box profiles, of a thickness of
{thin:g} to {thick:g} times the spacing, with noise. Scores on other scans come from
`mrisr evaluate --task through-plane`. The weights carry the terms of the data that they were trained on. What
is thinner than a slice was not measured: expect wrong detail, most of all in lesions and in other
organs.{invented}
"""


def _of_planes(info: ThroughPlaneInfo) -> dict[str, str]:
    """The rows on a training on planes."""
    split, training, metrics = info.data["split"], info.training, info.metrics
    gains = [
        f"x{name.removeprefix('val_gain_')} {gain:+.2f} dB"
        for name, gain in metrics.items()
        if name.startswith("val_gain_")
    ]
    patches = f"patches of at most {training['slices']} slices of {training['width']} px"
    return {
        "network": f"{_sizes(info.generator)}, {training['parameters']:,} parameters",
        "data": f"{info.data['root_name']} ({info.data['kind']}), {training['train_planes']} planes of "
        f"{len(split['train'])} patients, each channel by itself",
        "held out": _held_out(split),
        "training": _trained(training, patches),
        "taken": _taken(metrics, training),
        "validation": f"PSNR {metrics['val_psnr']:.2f} dB, {metrics['val_gain']:+.2f} dB over the cubic "
        f"B-spline ({', '.join(gains)}): {metrics['protocol']}",
    }


def _of_finish(info: ThroughPlaneInfo) -> dict[str, str]:
    """The rows on a training of what finishes both families of planes."""
    split, training, metrics = info.data["split"], info.training, info.metrics
    patches = f"patches of {training['patch_size']} voxels from {training['blocks']} blocks"
    return {
        "network": f"{_sizes(info.generator)}, and after it a 3-D network that sees both families of planes: "
        f"{_sizes(info.finish)}, {training['parameters']:,} parameters",
        "data": f"of the 3-D network: {info.data['root_name']}, {training['train_volumes']} volumes of "
        f"{len(split['train'])} patients",
        "held out": _held_out(split),
        "training": _trained(training, patches),
        "taken": _taken(metrics, training),
        "validation": f"PSNR {metrics['val_psnr']:.2f} dB, {metrics['val_gain']:+.2f} dB over the mean of "
        f"both families: {metrics['protocol']}",
    }


def _sizes(options: dict[str, Any]) -> str:
    return ", ".join(f"{value} {key}" for key, value in options.items())


def _trained(training: dict[str, Any], patches: str) -> str:
    return (
        f"{training['loss']}, {training['optimizer'].capitalize()} {training['learning_rate']:g} "
        f"{training['schedule']}, batch {training['batch_size']}, {patches}, {training['precision']}, seed "
        f"{training['seed']}"
    )


def _held_out(split: dict[str, Any]) -> str:
    names = "digests of their names" if "salt" in split else "names"
    return f"{len(split['val'])} validation and {len(split['test'])} test patients ({names} in `model.json`)"


def _taken(metrics: dict[str, Any], training: dict[str, Any]) -> str:
    return (
        f"epoch {metrics['epoch']} of {training['epochs']} ({training['steps_per_epoch']} steps "
        f"each), {training['seconds'] / 60:.0f} minutes so far on {training['hardware']}"
    )


def _recipe(info: ModelInfo) -> dict[str, str]:
    """The rows on what was trained, and how."""
    split, training = info.data["split"], info.training
    options = ", ".join(f"{key}={value}" for key, value in info.generator.items() if key != "name")
    patch = f"{training['patch_size']} px HR patches" if training["patch_size"] else "whole slices"
    if info.dimensions == 3:
        patch = f"HR blocks of {training['patch_size']} px and {training['patch_slices']} slices"
    optimizer = training.get("optimizer", "adam").capitalize()  # Older models don't say.
    rows = {
        "generator": f"{info.generator['name']} ({options}), {training['parameters']:,} parameters",
        "data": f"{info.data['root_name']} ({info.data['kind']}), {training['train_slices']} slices of "
        f"{len(split['train'])} patients",
        "held out": _held_out(split),
        "training": f"{training['loss']}, {optimizer} {training['learning_rate']:g} {training['schedule']}, "
        f"batch {training['batch_size']}, {patch}, {training['precision']}, seed {training['seed']}",
    }
    if info.neighbours:
        count = 2 * info.neighbours + 1
        rows["input"] = f"{count} adjacent slices, of which the middle one is upscaled; ends are repeated"
    if "adversarial" in training:
        rows["adversarial"] = _adversarial(training["adversarial"])
    if "training" in info.perception:
        end = info.perception["training"]
        rows["GAN end"] = f"for `perception` over 0: {_adversarial(end['adversarial'])}"
    return rows


def _result(info: ModelInfo) -> dict[str, str]:
    """The rows on what came out."""
    metrics, training = info.metrics, info.training
    rows = {
        "taken": _taken(metrics, training),
        "validation": f"PSNR {metrics['val_psnr']:.2f} dB, SSIM {metrics['val_ssim']:.4f}: "
        f"{metrics['protocol']}",
    }
    if "cubic_psnr" in metrics:
        rows["cubic interpolation"] = (
            f"PSNR {metrics['cubic_psnr']:.2f} dB, SSIM {metrics['cubic_ssim']:.4f} on the same blocks"
        )
    if "val_features" in metrics:
        rows["feature distance"] = f"{metrics['val_features']:.4g} on the same slices"
    return rows


def _adversarial(recipe: dict[str, Any]) -> str:
    """One line on the adversarial part of a recipe."""
    discriminator = dict(recipe["discriminator"])
    name = discriminator.pop("name")
    options = f" ({', '.join(f'{key}={value}' for key, value in discriminator.items())})"
    parts = ("pixel", "perceptual", "adversarial", "consistency", "segmentation", "r1")
    weights = {part: recipe.get(f"{part}_weight", 0) for part in parts}
    if recipe.get("balance"):
        weights["adversarial"] = 0
    losses = ", ".join(f"{weight:g} {part}" for part, weight in weights.items() if weight)
    if recipe.get("balance"):
        losses += f" (adversarial: {recipe['balance']:g} of the gradient of the others)"
    features, seen = recipe["features"], ""
    if weights["perceptual"] or recipe["perception"]:
        seen = f"features of {features.get('network', 'vgg19')} ({features.get('weights', 'imagenet')}); "
    return (
        f"{recipe['kind']} against {name}{options if discriminator else ''}, Adam "
        f"{recipe['discriminator_rate']:g}; losses {losses}; {seen}moving average {recipe['average']:g}"
    )
