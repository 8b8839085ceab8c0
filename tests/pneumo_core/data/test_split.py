import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pneumo_core import codec
from pneumo_core.data import dataset, split
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.data.split import Split, assign_roles
from pneumo_core.errors import DataError, StorageError
from pneumo_core.specs import SplitSpec
from tests.pneumo_core.pictures import folder, manifest, record, write

# a busy machine is no failure
patient = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def manifests(draw: st.DrawFn, official: bool = False) -> Manifest:
    """Return 200 to 303 images of patients with 1 to 4 images, some copied, some resembling, some in both classes."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    records: list[ImageRecord] = []
    patient = 0
    n_images = draw(st.sampled_from([200, 300]))
    while len(records) < n_images:
        patient += 1
        label = int(patient % 3 > 0)
        home = rng.choice(["train", "train", "val", "test"])
        for _ in range(rng.randint(1, 4)):
            i = len(records)
            role = (home if rng.random() < 0.95 else "test") if official else None
            kind = rng.choice(["bacteria", "virus"]) if label else "normal"
            made = record(i, label, group=f"p{patient}", kind=kind, official_role=role)
            if records and rng.random() < 0.04:
                twin = rng.choice(records)
                made = replace(made, look=twin.look, digest=rng.choice([twin.digest, made.digest]))
            records.append(made)
    return manifest(records)


def roles_of(of: Manifest, by: Split, name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for image, role in zip(of.records, by.roles, strict=True):
        if role != "excluded":
            found[getattr(image, name)].add(role)
    return found


@pytest.mark.parametrize("name", ["group", "look", "digest"])
@patient
@given(data=st.data())
def test_no_patient_and_no_copy_is_in_two_roles(name: str, data: st.DataObject) -> None:
    images = data.draw(manifests(official=data.draw(st.booleans())))
    found = roles_of(images, assign_roles(images, SplitSpec(seed=data.draw(st.integers(0, 99)))), name)
    assert all(len(roles) == 1 for roles in found.values() if roles)


@patient
@given(images=manifests(), seed=st.integers(0, 99))
def test_classes_have_their_shares(images: Manifest, seed: int) -> None:
    by = assign_roles(images, SplitSpec(seed=seed))
    largest = max(Counter(by.groups).values())
    for label in (0, 1):
        n = images.n_of_class(label)
        counts = Counter(role for role, image in zip(by.roles, images.records, strict=True) if image.label == label)
        for role, share in (("train", 0.55), ("validation", 0.15), ("calibration", 0.15), ("test", 0.15)):
            assert abs(counts[role] - share * n) <= 2 * largest


@pytest.mark.parametrize("protocol", ["patient_grouped", "per_image_random"])
@patient
@given(images=manifests(), order=st.randoms(use_true_random=False))
def test_roles_do_not_depend_on_file_order(protocol: str, images: Manifest, order: random.Random) -> None:
    spec = SplitSpec(protocol=protocol)  # type: ignore[arg-type]
    shuffled = list(images.records)
    order.shuffle(shuffled)
    first, second = assign_roles(images, spec), assign_roles(manifest(shuffled), spec)
    assert dict(zip((r.path for r in images.records), first.roles, strict=True)) == dict(
        zip((r.path for r in shuffled), second.roles, strict=True)
    )
    assert first.digest == second.digest


@patient
@given(images=manifests())
def test_the_seed_decides(images: Manifest) -> None:
    splits = [assign_roles(images, SplitSpec(seed=seed)) for seed in (1, 1, 2)]
    assert splits[0] == splits[1]
    assert splits[0].roles != splits[2].roles
    assert splits[0].digest != splits[2].digest


def test_names_and_place_of_the_files_do_not_decide() -> None:
    records = [record(i, i % 2) for i in range(60)]
    renamed = [replace(r, path=f"elsewhere/{59 - i:03d}.jpeg", group=f"q{i}") for i, r in enumerate(records)]
    assert assign_roles(manifest(records), SplitSpec()).roles == assign_roles(manifest(renamed), SplitSpec()).roles


def test_kinds_have_their_shares_too() -> None:
    records = [record(i, int(i >= 100), kind=("normal", "virus", "bacteria")[i // 100]) for i in range(300)]
    by = assign_roles(manifest(records), SplitSpec())
    counts = Counter((image.kind, role) for image, role in zip(records, by.roles, strict=True))
    assert all(abs(counts[kind, "validation"] - 15) <= 1 for kind in ("normal", "virus", "bacteria"))


def test_official_test_is_the_test_and_val_is_folded_in() -> None:
    records = [
        record(i, i % 2, official_role=("train", "train", "train", "val", "test", "test")[i % 6]) for i in range(120)
    ]
    by = assign_roles(manifest(records), SplitSpec())
    tested = [image.official_role == "test" for image in records]
    assert [role == "test" for role in by.roles] == tested
    assert {role for role, image in zip(by.roles, records, strict=True) if image.official_role == "val"} > {"train"}
    rest = len(records) - sum(tested)
    assert by.roles.count("validation") == pytest.approx(0.15 * rest, abs=2)
    assert by.notes == ("the official test folder is the test role",)


def test_what_shares_a_patient_or_a_look_with_the_official_test_is_excluded() -> None:
    records = [record(i, i % 2, official_role="test" if i < 20 else "train") for i in range(100)]
    records[50] = replace(records[50], group=records[0].group)
    records[51] = replace(records[51], look=records[1].look)
    records[52] = replace(records[52], group=records[50].group)
    by = assign_roles(manifest(records), SplitSpec())
    assert by.indices("excluded") == (50, 51, 52)
    assert by.indices("test") == tuple(range(20))
    assert any("3 images excluded" in note for note in by.notes)


def test_per_image_random_pools_everything_and_says_that_it_leaks() -> None:
    records = [record(i, i % 2, group=f"p{i // 2}", official_role="test" if i < 10 else "train") for i in range(200)]
    spec = SplitSpec(protocol="per_image_random", validation=0.1, calibration=0.0, test=0.1)
    by = assign_roles(manifest(records), spec)
    assert Counter(by.roles) == {"train": 160, "validation": 20, "test": 20}
    assert by.leaks
    assert by.notes[0] == split.LEAK_WARNING
    trained = {by.groups[i] for i in by.indices("train")}
    n_leaked = sum(by.groups[i] in trained for i in by.indices("test"))
    assert 0 < n_leaked < len(by.indices("test"))
    assert by.notes[1].startswith(f"{n_leaked} of {len(by.indices('test'))} test images")
    assert any(len(roles) > 1 for roles in roles_of(manifest(records), by, "group").values())


def test_patients_are_joined_through_looks_and_named_by_the_first() -> None:
    records = [record(0, 1, group="b"), record(1, 1, group="a"), record(2, 1, group="c"), record(3, 1, group="d")]
    records[1] = replace(records[1], look=records[0].look)
    records[2] = replace(records[2], look=records[1].look)
    assert split.grouped(records) == ("a", "a", "a", "d")


@pytest.mark.parametrize("n_negative", [4, 5, 6, 7])
def test_a_small_class_is_in_every_role(n_negative: int) -> None:
    records = [record(i, int(i >= n_negative)) for i in range(60)]
    by = assign_roles(manifest(records), SplitSpec())
    assert {role for role, image in zip(by.roles, records, strict=True) if image.label == 0} == set(split.USED_ROLES)


def test_a_class_too_small_for_the_roles_is_an_error() -> None:
    records = [record(i, int(i >= 3)) for i in range(60)]
    with pytest.raises(DataError, match=r"role `\w+` would have no image of class `NORMAL` \(3 images"):
        assign_roles(manifest(records), SplitSpec())
    assign_roles(manifest(records), SplitSpec(calibration=0.0))


def test_an_official_test_without_a_class_is_an_error() -> None:
    records = [record(i, i % 2, official_role="test" if i % 2 and i < 20 else "train") for i in range(60)]
    with pytest.raises(DataError, match="role `test` would have no image of class `NORMAL`"):
        assign_roles(manifest(records), SplitSpec())


def test_a_split_travels_as_json() -> None:
    by = assign_roles(manifest([record(i, i % 2) for i in range(40)]), SplitSpec())
    assert codec.from_json(Split, codec.to_json(by)) == by


def test_links_can_be_scanned_and_keep_their_contents(tmp_path: Path) -> None:
    images = dataset.scan(folder(tmp_path / "source"), cache_dir=tmp_path / "cache")
    by = assign_roles(images, SplitSpec())
    there = split.write_links(images, by, tmp_path / "links")
    assert {entry.name for entry in there.iterdir()} == set(split.USED_ROLES)
    again = dataset.scan(there, cache_dir=tmp_path / "cache")
    assert sorted(r.digest for r in again.records) == sorted(r.digest for r in images.records)
    assert Counter(r.official_role for r in again.records)["test"] == by.roles.count("test")
    assert {len(link.relative_to(there).parts) for link in there.rglob("*.*")} == {3}  # role, class, file


def test_links_go_only_into_an_empty_folder(tmp_path: Path) -> None:
    images = dataset.scan(folder(tmp_path / "source"), cache_dir=tmp_path / "cache")
    with pytest.raises(StorageError, match="must be empty or new"):
        split.write_links(images, assign_roles(images, SplitSpec()), tmp_path / "source")


def test_images_that_name_no_patient_are_said_to_be_patients_of_their_own() -> None:
    records = [record(i, i % 2, group=f"p{i}") for i in range(100)]
    unknown = [replace(r, group=r.path) if i < 30 else r for i, r in enumerate(records)]

    before, after = assign_roles(manifest(records), SplitSpec()), assign_roles(manifest(unknown), SplitSpec())

    assert before.notes == ()
    assert before.patients_known
    assert not after.patients_known
    assert after.n_unknown_patients == 30
    assert len(after.notes) == 1
    assert after.notes[0].startswith("30 of 100 images name no patient: each counts as a patient of its own")


def test_large_and_divided_sets_of_look_alikes_are_told() -> None:
    copies = [record(i, 1, look=f"{0:032x}") for i in range(25)]
    others = [record(i, i % 2) for i in range(25, 200)]
    found = assign_roles(replace(manifest([*copies, *others]), n_divided_looks=7), SplitSpec())
    assert len({role for role, of in zip(found.roles, [*copies, *others], strict=True) if of in copies}) == 1
    assert any("1 set of more than 20 images that look the same, 25 images in all" in note for note in found.notes)
    assert any("7 images look like more than a fifth" in note for note in found.notes)
    more = [record(200 + i, 0, look=f"{1:032x}") for i in range(21)] + [
        record(300 + i, 0, look=f"{2:032x}") for i in range(20)
    ]
    noted = assign_roles(manifest([*copies, *others, *more]), SplitSpec()).notes
    assert any("2 sets of more than 20 images that look the same, 46 images in all" in note for note in noted)


def test_links_keep_the_folders_that_name_patients(tmp_path: Path) -> None:
    for index in range(24):
        label = "PNEUMONIA" if index % 2 else "NORMAL"
        write(tmp_path / "source" / label / f"patient_{index // 4}_{index % 2}" / f"{index}.png", index)
    images = dataset.scan(tmp_path / "source", cache_dir=tmp_path / "cache")
    there = split.write_links(images, assign_roles(images, SplitSpec(calibration=0)), tmp_path / "links")
    again = dataset.scan(there, cache_dir=tmp_path / "cache")
    assert {record.group for record in again.records} == {record.group for record in images.records}
    assert again.patients == "the folder of each image"
    assert {len(link.relative_to(there).parts) for link in there.rglob("*.*")} == {4}  # role, class, patient, file


def test_roles_are_counted_by_class_and_by_patient() -> None:
    records = [record(i, int(i >= 40), group=f"p{i // 2}") for i in range(160)]
    by = assign_roles(manifest(records), SplitSpec())
    counts = {count.role: count for count in split.role_counts(manifest(records), by)}
    assert set(counts) == set(split.USED_ROLES)
    for role, count in counts.items():
        of_role = [records[i] for i in by.indices(role)]
        assert (count.n_negative, count.n_positive) == (
            sum(not r.label for r in of_role),
            sum(r.label for r in of_role),
        )
        assert (count.n_images, count.n_groups) == (len(of_role), len({r.group for r in of_role}))
        assert count.n_positive_groups == len({r.group for r in of_role if r.label})
