from collections.abc import Callable
from pathlib import Path

import pytest

from pneumo_core.specs import ObjectiveSpec
from studies.spec import FidelitySpec
from tests.search.report import made

MakeStudy = Callable[..., made.Made]


@pytest.fixture
def make_study(tmp_path: Path, phantoms: Path) -> MakeStudy:
    def make(
        name: str = "made",
        objective: ObjectiveSpec | None = None,
        n_folds: int | None = None,
        fidelity: FidelitySpec | None = None,
    ) -> made.Made:
        return made.make(tmp_path / "runs", phantoms, name, objective, n_folds, fidelity)

    return make
