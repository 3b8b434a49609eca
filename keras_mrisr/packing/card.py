"""What the card of a packed model says besides `training.card.model_card`: scores, terms, limits."""

from collections.abc import Sequence
from typing import Any

from keras_mrisr.model_info import ModelInfo, ThroughPlaneInfo
from keras_mrisr.packing.scores import METRICS
from keras_mrisr.pretrained import held_out_text


def card_sections(
    info: ModelInfo | ThroughPlaneInfo,
    scores: Sequence[dict[str, Any]],
    difference: float,
    notes: Sequence[str],
    config: str,
) -> str:
    """The sections as Markdown.

    Args:
        info: The `ModelInfo`, with `licence`, `domain` and `split` in its data.
        scores: What `read_scores` gives.
        difference: What float16 changes at most.
        notes: Further paragraphs.
        config: Name of the file with the recipe.
    """
    split = info.data["split"]
    task = ""
    if isinstance(info, ThroughPlaneInfo):
        task = f"--task {'finish' if info.finish else info.task} "
    parts = [_score_table(scores, info)] if scores else []
    if limits := _limits(info.data["domain"]):
        parts.append(f"## Made for\n\n{'; '.join(limits)}. `mrisr upscale` warns about others.\n")
    parts += list(notes)
    parts.append(
        "## Must not be used for\n\nDiagnosis, measurement of lesions, or anything else that decides about a "
        "patient; showing detail as if it had been measured; images of another organ.\n"
    )
    parts.append(
        f"## Terms, and how it was made\n\n{info.data['licence']}\n\nNever trained on: the "
        f"{len(split['val'])} validation and {len(split['test'])} test patients of its split. `model.json` "
        "holds salted digests in place of all names of patients. By these `mrisr evaluate` recognises them "
        "in a data set, and so can anybody who guesses a name.\n\n"
        f"{_recipe(info.training, config)} `mrisr train {task}--config FOLDER/{config} --data ROOT "
        "--out RUN`, with the FOLDER that `mrisr models show` names. Weights are stored in float16, which "
        f"changes the result by {difference:.1g} at most (white is 1).\n"
    )
    return "\n" + "\n".join(parts)


def _limits(domain: dict[str, Sequence[float]]) -> list[str]:
    forms = {
        "lr_size": "LR edges of {:g} to {:g} pixels",
        "lr_spacing": "LR in-plane spacing of {:g} to {:g} mm",
    }
    return [form.format(*domain[name]) for name, form in forms.items() if name in domain]


def _recipe(training: dict[str, Any], config: str) -> str:
    """What the config beside the card is, from the run's `training` in `model.json`."""
    pretraining = training.get("adversarial", {}).get("pretraining") or {}
    init = training.get("init") or pretraining.get("init")
    if not init:
        return f"`{config}` is the whole recipe:"
    return (
        f"These weights began as those of `{init}`, another model. `{config}` trains such a "
        "model from the beginning:"
    )


def _score_table(scores: Sequence[dict[str, Any]], info: Any) -> str:
    text = ["## Scores\n"]
    what = "volumes" if isinstance(info, ThroughPlaneInfo) else "whole slices"
    for degradation in dict.fromkeys(row["degradation"] for row in scores):
        rows = [row for row in scores if row["degradation"] == degradation]
        first = rows[0]
        text.append(
            f"Degraded by `{degradation}`, {first['images']} {what} of "
            f"{held_out_text(first['patients'], info)}; HR {first['hr']}; LR {first['lr']}; "
            f"SR {first['sr']}; {first['averaging']}; here the mean over images:\n"
        )
        text += [*_table(rows), ""]
    return "\n".join(text)


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    shown = {name: look for name, look in METRICS.items() if any(name in row for row in rows)}
    head = " | ".join(["| method | channels", *(heading for heading, _ in shown.values())]) + " |"
    lines = [head, "|---" * (len(shown) + 2) + "|"]
    for row in rows:
        values = (form.format(row[name]) if name in row else "" for name, (_, form) in shown.items())
        lines.append(" | ".join([f"| {row['method']} | {row['channel']}", *values]) + " |")
    return lines
