"""The model card, written from the run's own files."""


def model_card(info):
    """Markdown that says what a trained generator is, from its `ModelInfo`."""
    split, metrics, training = info.data["split"], info.metrics, info.training
    options = ", ".join(f"{key}={value}" for key, value in info.generator.items() if key != "name")
    degradation = ", ".join(f"{k}={v}" for k, v in info.degradation.items() if k not in ("name", "scale"))
    patch = f"{training['patch_size']} px HR patches" if training["patch_size"] else "whole slices"
    rows = {
        "generator": f"{info.generator['name']} ({options}), {training['parameters']:,} parameters",
        "data": f"{info.data['root_name']} ({info.data['kind']}), {training['train_slices']} slices of "
        f"{len(split['train'])} patients",
        "held out": f"{len(split['val'])} validation and {len(split['test'])} test patients "
        "(names in `model.json`)",
        "training": f"{training['loss']}, Adam {training['learning_rate']:g} {training['schedule']}, batch "
        f"{training['batch_size']}, {patch}, {training['precision']}, seed {training['seed']}",
        "taken": f"epoch {metrics['epoch']} of {training['epochs']} ({training['steps_per_epoch']} steps "
        f"each), {training['seconds'] / 60:.0f} minutes so far on {training['hardware']}",
        "validation": f"PSNR {metrics['val_psnr']:.2f} dB, SSIM {metrics['val_ssim']:.4f}: "
        f"{metrics['protocol']}",
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    return f"""# {info.generator["name"]} x{info.scale}, {info.channels} channel(s)

Super-resolution by {info.scale} of MRI slices degraded by `{info.degradation["name"]}` ({degradation}).
Made by keras-mrisr {info.version}. For research; not a medical device.

| | |
|---|---|
{table}

Scores on the test patients come from `mrisr evaluate`. The weights carry the terms of the data that
they were trained on. Expect wrong detail on images that were degraded in another way than above, or of
another contrast, spacing or organ.
"""
