"""Two models and one analysis of them, for the tests that vary it."""

import pytest

from tests.helpers.analyze_cases import config, save_model, write_responses


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return save_model(folder / "base", seed=1), save_model(folder / "policy", seed=2)


@pytest.fixture
def case(models, tmp_path):
    """Builds the configuration of an analysis of one trajectory in parts of five responses."""

    def build(output="out", **keys):
        responses = tmp_path / "responses.jsonl"
        if not responses.exists():
            write_responses(responses, seed=3, problems=5)
        keys = {"responses": [str(responses)], "trajectory": "policy", **keys}
        return config(*models, tmp_path / output, **keys)

    return build
