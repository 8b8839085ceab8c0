"""A bundle taken to other images: certified anew, compared without labels, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumo_core import codec
from pneumo_core.bundles import bundle, bundle_process, evaluate, predictor, recertify, reference, trace, trained_on
from pneumo_core.bundles.bundle_process import Certify, MeasureDrift, Predict
from pneumo_core.bundles.drift import drift
from pneumo_core.bundles.exported import describe
from pneumo_core.bundles.promise import promise
from pneumo_core.data import dataset
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.phantom import PhantomSpec, generate
from pneumo_core.data.source_spec import SourceSpec
from pneumo_core.data.split import grouped
from pneumo_core.errors import DataError, StorageError
from pneumo_core.progress import silent
from tests.pneumo_core import made_bundles
from tests.pneumo_core.made_bundles import CNN


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another hospital's images."""
    return generate(tmp_path_factory.mktemp("theirs"), PhantomSpec(n_images=160, image_size_px=32, seed=5))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A folder with a bundle `b` that says it was made from the phantoms."""
    folder = tmp_path_factory.mktemp("certified")
    made_bundles.make(folder / "bare", CNN)
    manifest = dataset.scan(phantoms, cache_dir=folder / "cache")
    traces = trace.of_records(manifest, manifest.records)
    scores = evaluate.scores(predictor.load(folder / "bare"), manifest, manifest.records)

    def fill(made: Path) -> None:
        (made / bundle.REPORT).write_text("<html><main><h1>At threshold 0.5</h1></main></html>")
        for file in (folder / "bare").iterdir():
            shutil.copyfile(file, made / file.name)
        (made / bundle.CARD).write_text('---\ntags: ["uncertified"]\nmodel-index: [0.9]\n---\n# Model card\n')
        trained_on.write(made, [record.digest for record in manifest.records], traces.looks)
        reference.write(made, reference.sample(traces, scores, list(grouped(manifest.records))))

    bundle.write(folder / "b", made_bundles.described(CNN), fill)
    return folder


def certify(place: Path, source: Path, out: str, *, old: str = "b", **more: object) -> dict[str, object]:
    wanted = {"ceiling": 0.1, "confidence": 0.9, **more}
    request = Certify(
        bundle=str(place / old),
        source=SourceSpec(source=str(source)),
        cache=str(place / "cache"),
        out=str(place / out),
        **wanted,
    )  # type: ignore[arg-type]
    answer: dict[str, object] = bundle_process.serve(request, silent)
    return answer


@pytest.fixture(scope="module")
def answer(place: Path, theirs: Path) -> dict[str, object]:
    """What certifying `b` anew, as `anew`, says."""
    return certify(place, theirs, "anew")


@pytest.fixture(scope="module")
def twice(place: Path, theirs: Path, answer: dict[str, object]) -> Path:
    """The folder `again`: `anew` certified anew."""
    certify(place, theirs, "again", old="anew", ceiling=0.2)
    return place / "again"


def test_a_threshold_is_certified_on_other_images_and_everything_follows_it(
    place: Path, theirs: Path, answer: dict[str, object]
) -> None:
    about, old = bundle.read(place / "anew"), bundle.read(place / "b")
    assert about.threshold == answer["threshold"] != old.threshold == answer["old_threshold"]
    assert about.guarantee == "patient"
    assert about.certificates["patient"].n_missed is not None
    assert [entry.threshold for entry in about.certifications] == [old.threshold, about.threshold]
    assert about.certifications[-1].halves is not None
    assert describe(about)["decision"]["threshold"] == about.threshold
    [row] = evaluate.predict(predictor.load(place / "anew"), [next(theirs.glob("NORMAL/*.png"))])
    assert row.threshold == about.threshold
    card = (place / "anew" / bundle.CARD).read_text()
    assert card.index(f"{about.threshold:.6g}") < card.index("# Model card")
    json.dumps(answer, allow_nan=False)
    with pytest.raises(StorageError, match="never overwritten"):
        certify(place, theirs, "anew")


def test_the_history_grows_and_drift_is_measured_against_the_last_images(twice: Path, theirs: Path) -> None:
    about = bundle.read(twice)
    assert [entry.ceiling for entry in about.certifications] == [0.03, 0.1, 0.2]
    here = bundle_process.serve(MeasureDrift(bundle=str(twice), folder=str(theirs)), silent)
    assert here["n"] == here["n_reference"] == 160
    assert here["verdict"] == "alike"


def test_card_and_report_say_that_they_are_about_the_threshold_before(place: Path, twice: Path) -> None:
    for made in (place / "anew", twice):
        page, now = (made / bundle.REPORT).read_text(), bundle.read(made)
        card = (made / bundle.CARD).read_text()
        assert card.startswith('---\ntags: ["certified"]\n---\n<!-- certified anew -->')
        assert card.count("certified anew on") == card.count("# Model card") == 1
        assert "threshold that `finalize` set, 0.5.\n" in card
        assert page.index("certified anew") < page.index("At threshold 0.5")
        assert page.count("certified anew on") == 1
        assert f": {now.threshold:.6g}." in page
        assert "that `finalize` set, 0.5." in page


def test_images_that_taught_the_networks_are_refused_also_when_they_were_changed(
    place: Path, phantoms: Path, theirs: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"240 of 240 images taught this bundle"):
        certify(place, phantoms, "x")
    mixed = Path(shutil.copytree(theirs, tmp_path / "mixed"))
    known = sorted(phantoms.glob("PNEUMONIA/*.png"))[0]
    Image.open(known).resize((40, 40)).save(mixed / "PNEUMONIA" / "person9999_virus_1.jpeg", quality=60)
    with pytest.raises(DataError, match=r"1 of 161 images .* look like images that did: PNEUMONIA/person9999"):
        certify(place, mixed, "x")
    assert certify(place, mixed, "left-out", leave_out_known=True)["n_left_out"] == 1
    assert not (place / "x").exists()


def test_too_few_positives_say_how_many_are_missing_and_what_they_can_certify(place: Path, theirs: Path) -> None:
    n = len(list(theirs.glob("PNEUMONIA/*.png")))
    with pytest.raises(DataError, match=rf"{299 - n} positive images are missing.*--ceiling 0\.0") as refused:
        certify(place, theirs, "x", ceiling=0.01, confidence=0.95)
    ceiling = float(str(refused.value).rsplit("--ceiling ", 1)[-1])
    assert certify(place, theirs, "least", ceiling=ceiling, confidence=0.95)["guarantee"] == "image"


def test_nothing_is_promised_by_patient_where_patients_are_unknown(place: Path, theirs: Path, tmp_path: Path) -> None:
    for i, file in enumerate(sorted(theirs.rglob("*.png"))):
        (tmp_path / "anonymous" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, tmp_path / "anonymous" / file.parent.name / f"{i}.png")
    answer = certify(place, tmp_path / "anonymous", "anonymous")
    assert (answer["guarantee"], answer["patients_known"]) == ("image", False)
    said = promise(bundle.read(place / "anonymous"))
    assert "by image only" in said
    assert "which images are of one patient is not known" in said


def test_drift_tells_other_images_and_says_what_that_means(place: Path, phantoms: Path, tmp_path: Path) -> None:
    for file in sorted(phantoms.rglob("*.png"))[::4]:
        light = np.asarray(Image.open(file)).astype(float) * 0.5 + 100
        (tmp_path / "light").mkdir(exist_ok=True)
        Image.fromarray(light.astype(np.uint8)).save(tmp_path / "light" / file.name)
    (tmp_path / "light" / "notes.txt").write_text("no image")
    found = bundle_process.serve(MeasureDrift(bundle=str(place / "b"), folder=str(tmp_path / "light")), silent)
    assert found["verdict"] == "foreign"
    assert "does not hold for them" in found["line"]
    assert found["rejected"] == []  # notes.txt is no image
    files = tuple(str(file) for file in sorted((tmp_path / "light").glob("*.png")))
    asked = bundle_process.serve(Predict(bundle=str(place / "b"), paths=files, compare=True), silent)
    assert "does not hold" in asked["drift"]
    few = bundle_process.serve(Predict(bundle=str(place / "b"), paths=files[:29], compare=True), silent)
    assert few["drift"] is None


def test_more_ill_people_of_the_same_kind_are_no_drift(place: Path, theirs: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 200)
    traces = trace.stack(
        [trace.of_pixels(rng.integers(90 * k, 90 * k + 100, (32, 32, 1), np.uint8), 32, 32) for k in y]
    )
    scores = np.clip(0.2 + 0.6 * y + rng.normal(0, 0.05, 400), 0, 1)
    reference_rows, new_rows = np.r_[0:150, 200:250], np.r_[150:200, 250:400]  # a quarter ill, three quarters ill
    one, two = (
        reference.sample(traces.take(rows), scores[rows], [str(row) for row in rows])
        for rows in (reference_rows, new_rows)
    )
    assert drift(one, two, 0.5).verdict == "alike"


def test_a_bundle_that_does_not_say_what_it_was_made_from_is_not_certified(place: Path, theirs: Path) -> None:
    manifest: Manifest = dataset.scan(theirs, cache_dir=place / "cache")
    with pytest.raises(DataError, match="doesn't say which images it was made from"):
        recertify.look_at(place / "bare", manifest, leave_out_known=False)


def test_requests_travel_as_json(place: Path) -> None:
    asked = Certify(bundle="b", source=SourceSpec(source="s"), cache="c", out="o", ceiling=0.05)
    assert codec.from_json(bundle_process.Request, codec.to_json(asked)) == asked  # type: ignore[arg-type]
