import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.models import build_generator
from keras_mrisr.tuning.budget import Budget, InferenceCost, inference_cost


def test_cost_of_known_networks():
    generator = build_generator("edsr", 2, 1, blocks=2, filters=8, direct_upsampling=True)
    # All on the LR grid of 128x128: input, 2 blocks of 2, body, and one to 4 sub-pixels.
    weights = 9 * (1 * 8 + 5 * 8 * 8 + 8 * 4)
    assert inference_cost(generator).parameters == generator.count_params()
    assert inference_cost(generator).gflops == pytest.approx(2 * weights * 128**2 / 1e9)
    generator = build_generator("srresnet", 4, 3, blocks=1, filters=8, batch_norm=False)
    low = 81 * 3 * 8 + 9 * (3 * 8 * 8 + 8 * 32)
    expected = low * 64**2 + 9 * 8 * 32 * 128**2 + 81 * 8 * 3 * 256**2
    assert inference_cost(generator).gflops == pytest.approx(2 * expected / 1e9)


def test_cost_of_volumes():
    generator = build_generator("srresnet3d", (1, 1, 2), 1, blocks=1, filters=4)
    cost = inference_cost(generator)
    assert (
        cost.gflops > inference_cost(build_generator("srresnet3d", (1, 1, 2), 1, blocks=1, filters=2)).gflops
    )
    assert cost.parameters == generator.count_params()


def test_limits():
    budget = Budget.parse(["parameters=200k", "gflops=2.5"])
    assert budget == Budget(parameters=200_000, gflops=2.5)
    assert budget.allows(InferenceCost(200_000, 2.5))
    assert not budget.allows(InferenceCost(200_001, 1.0))
    assert not budget.allows(InferenceCost(1, 2.6))
    assert Budget().allows(InferenceCost(10**9, 1e9)) and not Budget(hours=1).limits_networks
    assert Budget.parse(["hours=0.5"]).hours == 0.5
    assert Budget.parse(["parameters=1.5M"]).parameters == 1_500_000


@pytest.mark.parametrize(
    "text", ["size=3", "parameters", "parameters=", "parameters=many", "gflops=0", "hours=-1"]
)
def test_bad_budgets(text):
    with pytest.raises(MrisrError, match=r"Unknown budget|must be a number over 0") as caught:
        Budget.parse([text])
    assert repr(text) in str(caught.value)
