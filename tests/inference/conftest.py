"""What the tests of the processes that hold models share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inference.trained import Trained, make_trained


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A real checkpoint, made once."""
    return make_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session", autouse=True)
def on_the_cpu() -> Iterator[None]:
    """No GPU takes part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRAINER_INFERENCE_DEVICE", "cpu")
        yield
