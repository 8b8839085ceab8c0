from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(scope="module")
def eagerly() -> Iterator[None]:
    """Let TensorFlow run the training steps of a module as they are written: a few of them don't repay their tracing.

    Traced steps are tested in `test_steps`, `test_train`, `test_trial` and `test_features`, and by every search.
    """
    with pytest.MonkeyPatch.context() as patch:
        if keras.backend.backend() == "tensorflow":
            from pneumo_core.training import steps_tensorflow

            patch.setattr(steps_tensorflow, "traced", lambda function, tensors: function)
        yield
