from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pneumo_core.data import audit, dataset, phantom, reading, rows
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.phantom import PhantomSpec
from pneumo_core.data.split import assign_roles
from pneumo_core.specs import DataSpec, SplitSpec

SMALL = PhantomSpec(n_images=20, image_size_px=32)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phantoms")


@pytest.fixture(scope="module")
def manifest(cache_dir: Path) -> Manifest:
    return dataset.scan("phantom", cache_dir=cache_dir)


def test_same_spec_same_bytes(tmp_path: Path) -> None:
    folders = [phantom.generate(tmp_path / name, SMALL) for name in "ab"]
    contents = [{f.relative_to(folder): f.read_bytes() for f in folder.rglob("*.png")} for folder in folders]
    assert contents[0] == contents[1]
    assert len(set(contents[0].values())) == 20
    assert phantom.generate(tmp_path / "a", PhantomSpec(n_images=20, image_size_px=32, seed=1)) != folders[0]


def test_an_incomplete_set_is_drawn_again(tmp_path: Path) -> None:
    folder = phantom.generate(tmp_path, SMALL)
    file = next(folder.rglob("*.png"))
    data = file.read_bytes()
    file.unlink()
    assert phantom.generate(tmp_path, SMALL) == folder
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    "wrong", [{"n_images": 2}, {"image_size_px": 4}, {"images_per_patient": 0}, {"positive_share": 1.0}]
)
def test_impossible_specs(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"phantom|positive_share"):
        PhantomSpec(**wrong)  # type: ignore[arg-type]


def test_the_default_set(manifest: Manifest) -> None:
    assert (manifest.n_of_class(0), manifest.n_of_class(1)) == (480, 720)
    assert not manifest.rejected
    assert {record.kind for record in manifest.records} == {"normal", "bacteria", "virus"}
    patients = {record.group for record in manifest.records}
    assert 300 < len(patients) < 800
    assert all(len({r.label for r in manifest.records if r.group == patient}) == 1 for patient in patients)


def test_no_two_patients_look_the_same_and_headers_tell_nothing(manifest: Manifest) -> None:
    found = audit.audit(manifest)
    assert found.duplicates.across_patients == 0
    assert found.shortcuts is not None
    assert found.shortcuts.worst < 0.55


def test_brightness_is_not_enough_but_shapes_are(manifest: Manifest, cache_dir: Path) -> None:
    read = dataset.reader(manifest)
    y = np.array([record.label for record in manifest.records])
    x = np.stack([rows.to_size(read(r, 1, None), DataSpec(image_size_px=16)) for r in manifest.records])
    brightness = roc_auc_score(y, x.mean(axis=(1, 2, 3)))
    assert max(brightness, 1 - brightness) < 0.75
    split = assign_roles(manifest, SplitSpec())
    fit = np.array([role == "train" for role in split.roles])
    model = LogisticRegression(C=0.1, max_iter=2000).fit(x[fit].reshape(fit.sum(), -1) / 255, y[fit])
    assert 0.9 < roc_auc_score(y[~fit], model.decision_function(x[~fit].reshape((~fit).sum(), -1) / 255)) < 0.99


def test_views_of_one_patient_differ_but_resemble(tmp_path: Path) -> None:
    one, two = (phantom.draw((0, 1), (0, view), True, 64).astype(float) for view in (1, 2))
    other = phantom.draw((0, 2), (0, 3), True, 64).astype(float)
    assert not np.array_equal(one, two)
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.8
    assert reading.header(next(phantom.generate(tmp_path, SMALL).rglob("*.png"))).mode == "L"
    assert other.std() > 20
