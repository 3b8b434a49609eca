import numpy as np
import pytest

from keras_mrisr.finetune.batches import LabelledBatches
from keras_mrisr.finetune.classifier import HEAD_PENALTY, build_classifier, compile_classifier, fit_heads
from keras_mrisr.finetune.labels import load_labelled
from keras_mrisr.models.features import build_features, network_input

OUTPUTS = {"tumour": 1, "sequence": 3}


def images(n=3, size=32):
    return np.random.default_rng(0).random((n, size, size, 3), dtype="float32")


def test_contract():
    classifier = build_classifier("vgg16", None, OUTPUTS, ["block5"], "mixed_bfloat16")
    x = network_input(images())
    logits = classifier.whole(x)
    assert {name: tuple(each.shape) for name, each in logits.items()} == {
        "tumour": (3, 1),
        "sequence": (3, 3),
    }
    assert all(each.dtype == "float32" and not np.any(each) for each in logits.values())
    assert {v.dtype for v in classifier.whole.variables} == {"float32"}
    trained = {v.path.split("/")[0] for v in classifier.whole.trainable_variables}
    assert trained == {"block5_conv1", "block5_conv2", "block5_conv3", "tumour", "sequence"}
    classifier.heads.get_layer("tumour").set_weights([np.ones((32, 1)), np.zeros(1)])
    assert np.abs(classifier.whole(x)["tumour"]).min() > 0, "the parts share their layers"
    np.testing.assert_allclose(
        classifier.heads(classifier.pooled(x))["tumour"], classifier.whole(x)["tumour"], rtol=1e-5
    )


def test_heads_look_at_what_the_default_perceptual_loss_looks_at():
    pooled = build_classifier("vgg16", None, OUTPUTS, ["block5"]).pooled(network_input(images()))
    features = build_features("vgg16", weights=None)(images())[0]
    np.testing.assert_allclose(pooled, np.mean(features, axis=(1, 2)) * 12.75, rtol=1e-4, atol=1e-4)


def test_heads_are_logistic_regressions(toy_dataset):
    linear_model = pytest.importorskip("sklearn.linear_model")
    slices = load_labelled(toy_dataset, OUTPUTS)
    batches = LabelledBatches(slices, OUTPUTS, image_size=32, batch_size=10, steps=6)
    classifier = build_classifier("vgg16", None, OUTPUTS, ["block5"])
    seen = []
    fit_heads(classifier, batches, lambda done, total: seen.append((done, total)))
    assert seen == [(number, 6) for number in range(1, 7)]

    parts = [batches[number] for number in range(6)]
    pooled = np.concatenate([classifier.pooled.predict_on_batch(part[0]) for part in parts])
    standard = (pooled - pooled.mean(axis=0)) / np.sqrt(pooled.var(axis=0) + 1e-3)
    for label in OUTPUTS:
        labels, weights = (np.concatenate([part[i][label] for part in parts]).ravel() for i in (1, 2))
        # scikit-learn minimises C * sum of losses + w**2 / 2, Keras the mean of losses + penalty * w**2.
        strength = 1 / (2 * HEAD_PENALTY * len(labels))
        reference = linear_model.LogisticRegression(C=strength, tol=1e-8, max_iter=2000)
        reference.fit(standard, labels, sample_weight=weights)
        logits = np.array(classifier.heads(pooled)[label])
        logits -= logits.mean(axis=1, keepdims=True) if logits.shape[1] > 1 else 0
        expected = reference.decision_function(standard).reshape(logits.shape)
        np.testing.assert_allclose(logits, expected, atol=0.01)
        assert np.std(expected) > 0.05, "not all the same answer"


def test_frozen_blocks_stay(toy_dataset):
    slices = load_labelled(toy_dataset, OUTPUTS)
    batches = LabelledBatches(slices, OUTPUTS, image_size=32, batch_size=4, steps=2)
    classifier = build_classifier("vgg16", None, OUTPUTS, ["block2", "block5"])
    compile_classifier(classifier.whole, 1e-3)
    layers = [layer for layer in classifier.whole.layers if layer.weights]
    before = {layer.name: layer.get_weights() for layer in layers}
    classifier.whole.fit(batches, epochs=1, shuffle=False, verbose=0)
    changed = {
        layer.name
        for layer in layers
        if any(np.any(one != two) for one, two in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    convolutions = {"block2_conv1", "block2_conv2", "block5_conv1", "block5_conv2", "block5_conv3"}
    assert changed == convolutions | {"tumour", "sequence"}
