"""Looks at a role count by the images, whichever study of the database took them."""

from pathlib import Path

import optuna
import pytest

from pneumo_core.specs import SplitSpec
from search import openings
from search.home import Home
from search.prepared import Prepared, read_source
from search.storage.database import open_storage
from studies.spec import SourceSpec


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Prepared:
    return read_source(SourceSpec(source=str(phantoms)), Home(tmp_path_factory.mktemp("home")))


def test_two_studies_on_one_folder_are_two_looks_at_its_test_images(
    prepared: Prepared, tmp_path: Path, phantoms: Path
) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'a.db'}")
    one, two = (optuna.create_study(storage=storage, study_name=name) for name in ("cnn", "backbones"))
    assert openings.log(one, storage, prepared, "test", bundle="x", out="a") == 1
    assert openings.log(one, storage, prepared, "test", bundle="x", out="a") == 1  # killed, and run again
    assert openings.log(two, storage, prepared, "test", bundle="y", out="b") == 2
    assert openings.n_looks(one, "test", None) == openings.n_looks(two, "test", prepared) == 2
    assert openings.n_looks(one, "calibration", prepared) == 0
    assert openings.log(two, storage, prepared, "calibration", bundle="y") == 1
    others = SourceSpec(source=str(phantoms), split=SplitSpec(seed=9))
    assert openings.log(one, storage, read_source(others, Home(tmp_path)), "test", bundle="x", out="c") == 1
    assert [entry.out for entry in openings.logged(one)] == ["a", "c"]
    storage.remove_session()
