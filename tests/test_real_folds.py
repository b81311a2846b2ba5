"""The example on few real tiles: its head, its interval and its recipe."""

from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def folds():
    spec = spec_from_file_location("real_folds", ROOT / "examples/real_folds.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_head_is_ridge_with_leave_one_out(folds):
    """Against scikit-learn's, which computes it in another way."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 90)
    features = rng.normal(size=(90, 12)) * 10.0 ** rng.integers(-2, 3, 12)
    features[:, 0] += 15 * features[:, 0].std() * (labels == 1)
    features[:, 1] += 0.8 * features[:, 1].std() * labels
    features = np.concatenate([features, np.full((90, 1), 3.0)], axis=1)  # a feature that never varies
    train = np.arange(90) < 60
    x = StandardScaler().fit(features[train]).transform(features)
    penalties = 10.0 ** np.arange(-6, 1.5, 0.5) * 60
    head = RidgeCV(penalties, alpha_per_target=False).fit(x[train], np.eye(3)[labels[train]])
    expected = head.predict(x).argmax(axis=1) == labels
    found = folds.ridge(features, labels, train)
    np.testing.assert_array_equal(found, expected)
    assert 0.4 < found[~train].mean() < 1


def test_the_interval_is_that_of_a_mean(folds):
    values = np.random.default_rng(1).normal(0.1, 0.5, 400)
    middle, low, high, p = folds.interval(values)
    error = values.std() / 20  # of the mean of 400
    assert middle == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((middle - 1.96 * error, middle + 1.96 * error), abs=0.006)
    assert p == pytest.approx(2 * norm.sf(abs(middle) / error), abs=0.004)
    assert folds.interval(values - values.mean())[3] > 0.9


def test_its_settings_make_a_recipe_of_one_sensor_on_native_pixels(folds):
    from seamo.pretrain.recipe import load_recipe

    recipe = load_recipe("seamo-demo", folds.SETTINGS)
    assert recipe.model.sensors == ("s2",)
    assert recipe.crop.rate[0] * 64 == recipe.model.size
    assert recipe.optimiser.lr == load_recipe("seamo-demo").optimiser.lr
