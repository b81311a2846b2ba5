"""A saved model, as it is loaded to embed with."""

import pytest
import rioxarray  # noqa: F401 - gives Datasets their `rio`

from seamo.use.inputs import load_pretrained
from tests.seamo.embed.images import CONFIG
from tests.seamo.small_model import model_folder


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    model_folder(path, CONFIG)
    return load_pretrained(path, device="cpu")
