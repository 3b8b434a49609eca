"""The model card of a U-Net."""

from keras_mrisr.models.unet_storage import SegmenterInfo


def unet_card(info: SegmenterInfo) -> str:
    """Markdown that says what a trained U-Net is, from its `SegmenterInfo`."""
    split, metrics, training = info.data["split"], info.metrics, info.training
    rows = {
        "network": f"U-Net ({info.unet['filters']} filters, {info.unet['depth']} poolings), "
        f"{training['parameters']:,} parameters",
        "data": f"{info.data['root_name']} ({info.data['kind']}), {training['train_slices']} slices of "
        f"{len(split['train'])} patients, {training['lesion_slices']} with a lesion",
        "held out": f"{len(split['val'])} validation and {len(split['test'])} test patients "
        "(names in `model.json`)",
        "training": f"cross-entropy + {training['dice_weight']:g} Dice, Adam {training['learning_rate']:g} "
        f"{training['schedule']}, batch {training['batch_size']}, {training['patch_size']} px patches, "
        f"{training['lesion_share']:.0%} around a lesion, {training['precision']}, seed {training['seed']}",
        "taken": f"epoch {metrics['epoch']} of {training['epochs']} ({training['steps_per_epoch']} steps "
        f"each), {training['seconds'] / 60:.0f} minutes so far on {training['hardware']}",
        "validation": f"Dice {metrics['val_dice']:.4f}: {metrics['protocol']}",
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    return f"""# U-Net, {info.channels} channel(s)

Segmentation of lesions in MRI slices. Made by keras-mrisr {info.version}. For research; not a medical device.

| | |
|---|---|
{table}

Intensities are divided, in each channel, by the patient's 99th percentile over all slices. Scores on the
test patients come from `mrisr segment evaluate`. The weights carry the terms of the data that they were
trained on. Expect wrong masks on other sequences, spacings, organs and lesions.
"""
