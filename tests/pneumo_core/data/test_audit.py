import json
from dataclasses import replace

import numpy as np

from pneumo_core import codec
from pneumo_core.data import audit
from pneumo_core.data.manifest import ImageRecord, Manifest, Rejected
from pneumo_core.data.split import assign_roles
from pneumo_core.specs import SplitSpec
from tests.pneumo_core.pictures import manifest, record


def records(n: int = 100) -> list[ImageRecord]:
    return [record(i, i % 2) for i in range(n)]


def test_counts() -> None:
    images = records()
    found = audit.audit(
        Manifest(
            source="/data",
            negative="NORMAL",
            positive="PNEUMONIA",
            records=tuple(images),
            rejected=(Rejected(path="a", reason="is truncated"), Rejected(path="b", reason="is truncated")),
        ),
        assign_roles(manifest(images), SplitSpec()),
    )
    assert found.classes == {"NORMAL": 50, "PNEUMONIA": 50}
    assert found.kinds == {"normal": 50, "virus": 50}
    assert found.reasons == {"is truncated": 2}
    assert found.n_groups == 100
    assert sum(role.n_negative + role.n_positive for role in found.roles) == 100
    assert [role.role for role in found.roles] == ["train", "validation", "calibration", "test"]
    assert found.warnings == ("2 files can't be used",)
    assert codec.from_json(audit.Audit, json.loads(json.dumps(codec.to_json(found)))) == found


def test_duplicates_are_counted_by_sort_and_by_what_they_join() -> None:
    images = records(10)
    images[2] = replace(images[2], digest=images[0].digest, look=images[0].look)  # same bytes, other patient
    images[3] = replace(images[3], look=images[1].look, group=images[1].group)  # looks the same, same patient
    images[4] = replace(images[4], look=images[5].look)  # looks the same, other class
    found = audit.count_duplicates(images, 0.98)
    assert (found.exact_sets, found.exact_images) == (1, 2)
    assert (found.near_sets, found.near_images) == (2, 4)
    assert (found.across_patients, found.across_classes) == (2, 1)


def test_leaks_between_official_folders() -> None:
    images = [replace(r, official_role="test" if i < 20 else "train") for i, r in enumerate(records())]
    assert audit.audit(manifest(images)).leak == audit.Leak(groups=0, train_images=0, test_images=0)
    images[50] = replace(images[50], group=images[0].group)
    images[51] = replace(images[51], look=images[1].look)
    found = audit.audit(manifest(images))
    assert found.leak == audit.Leak(groups=2, train_images=2, test_images=2)
    assert "2 patients or copies are both in the official test and outside it" in found.warnings


def test_headers_that_tell_the_class_are_found() -> None:
    rng = np.random.default_rng(0)
    images = [replace(r, n_bytes=int(rng.integers(90, 110)) + 40 * r.label) for r in records(200)]
    found = audit.find_shortcuts(images, [r.group for r in images])
    assert found is not None
    assert found.single["bytes_per_pixel"] == 1.0
    assert found.single["width_px"] == 0.5
    assert min(found.logistic, found.boosted) > 0.99
    assert any("file headers alone" in warning for warning in audit.audit(manifest(images)).warnings)


def test_headers_that_tell_nothing_are_not_suspected() -> None:
    rng = np.random.default_rng(0)
    images = [replace(r, n_bytes=int(rng.integers(90, 110))) for r in records(400)]
    found = audit.find_shortcuts(images, [r.group for r in images])
    assert found is not None
    assert found.worst < 0.62


def test_patients_are_not_torn_across_folds() -> None:
    rng = np.random.default_rng(0)
    facts = {f"p{i}": (int(rng.integers(100, 10**6)), int(rng.integers(0, 2))) for i in range(60)}
    images = [record(i, facts[f"p{i % 60}"][1], group=f"p{i % 60}", n_bytes=facts[f"p{i % 60}"][0]) for i in range(600)]
    found = audit.find_shortcuts(images, [r.group for r in images])
    assert found is not None
    assert found.boosted < 0.75  # a patient's size is unique: ungrouped folds would know it by heart


def test_too_few_patients_to_cross_validate() -> None:
    images = [record(i, i % 2, group=f"p{i % 6}") for i in range(60)]
    assert audit.find_shortcuts(images, [r.group for r in images]) is None


def test_what_could_not_be_followed_is_counted() -> None:
    images = [
        replace(image, note="RescaleSlope is empty and taken as 1" if i < 3 else "")
        for i, image in enumerate(records())
    ]
    told = f"in 3 files ({images[0].path}): RescaleSlope is empty and taken as 1"
    assert audit.file_notes(images) == (told,)
