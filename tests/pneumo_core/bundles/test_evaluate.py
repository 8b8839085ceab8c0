"""Evaluating and predicting with a bundle, in this process."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pneumo_core import codec
from pneumo_core.bundles import bundle_process, heatmap, labelled
from pneumo_core.bundles.bundle_process import Evaluate, Predict
from pneumo_core.bundles.evaluate import Evaluation, evaluate, predict
from pneumo_core.bundles.predictor import Predictor, from_file, load
from pneumo_core.data import reading, rows
from pneumo_core.data.source_spec import SourceSpec
from pneumo_core.errors import DataError, StorageError
from pneumo_core.files import write_file
from pneumo_core.scoring import metrics
from pneumo_core.scoring.average import average
from tests.pneumo_core import made_bundles, pictures
from tests.pneumo_core.made_bundles import CNN, DENSE

CONTRACT = (
    *("n", "n_positive", "auc", "auc_ci", "accuracy", "threshold", "recall", "recall_ci", "fnr", "fnr_upper"),
    *("specificity", "specificity_ci"),
)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    made_bundles.make(folder, CNN, DENSE)
    return load(folder)


def evaluated(predictor: Predictor, folder: Path, place: Path, **names: Any) -> Evaluation:
    source = SourceSpec(source=str(folder), **names)
    return evaluate(predictor, labelled.scan(predictor.bundle, source, cache_dir=place / "cache"))


def test_the_score_is_the_average_of_the_networks_each_with_its_own_preprocessing(
    predictor: Predictor, tmp_path: Path
) -> None:
    file = pictures.write(tmp_path / "a.png", 1, width=50, height=30)
    [found] = predict(predictor, [file])
    by_hand = []
    for member, model in zip(predictor.bundle.members, predictor.models, strict=True):
        x = rows.of_file(file, [member.data])[0][np.newaxis]
        x = x.reshape(1, -1) if len(model.input_shape) == 2 else x
        by_hand.append(float(np.asarray(model(x))[0, 0]))
    [expected] = average([[score] for score in by_hand])
    assert found.score == pytest.approx(expected, abs=1e-6)
    assert found.decision == ("PNEUMONIA" if expected >= 0.5 else "NORMAL")


def test_a_bad_file_is_one_error_row_in_its_place(predictor: Predictor, tmp_path: Path) -> None:
    good = pictures.write(tmp_path / "a.jpeg", 1)
    empty, text = tmp_path / "empty.png", tmp_path / "text.dcm"
    empty.touch()
    text.write_text("hello")
    found = predict(predictor, [empty, good, text, tmp_path / "missing.png", tmp_path, good])
    assert [bool(row.error) for row in found] == [True, False, True, True, True, False]
    assert found[1].score == pytest.approx(found[5].score, abs=1e-6)
    assert "empty" in found[0].error
    assert "does not exist" in found[3].error


def test_only_bad_files_and_no_files_are_no_error(predictor: Predictor, tmp_path: Path) -> None:
    assert predict(predictor, []) == []
    assert [row.score for row in predict(predictor, [tmp_path / "missing.png"])] == [None]


def test_16_bit_png_scores_as_its_8_bit_twin(predictor: Predictor, tmp_path: Path) -> None:
    grey = pictures.pixels(3)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    shallow, deep = predict(predictor, [tmp_path / "8.png", tmp_path / "16.png"])
    assert shallow.score == pytest.approx(deep.score, abs=5e-3)


def test_many_files_score_as_each_alone(predictor: Predictor, tmp_path: Path) -> None:
    files = [pictures.write(tmp_path / f"{i}.png", i) for i in range(9)]
    together = [row.score for row in predict(predictor, files)]
    alone = [predict(predictor, [file])[0].score for file in files]
    assert together == pytest.approx(alone, abs=1e-5)


def test_evaluate_agrees_with_predict_and_has_the_contract_s_fields_first(predictor: Predictor, tmp_path: Path) -> None:
    folder = pictures.folder(tmp_path / "images")
    (folder / "NORMAL" / "bad.png").write_text("no image")
    found = evaluated(predictor, folder, tmp_path)
    figures = codec.to_json(found.assessment)
    assert tuple(figures)[: len(CONTRACT)] == CONTRACT
    files = sorted(folder.rglob("*.jpeg"))
    scores = np.array([row.score for row in predict(predictor, files)])
    y = np.array([file.parent.name == "PNEUMONIA" for file in files])
    assert (figures["n"], figures["n_positive"]) == (24, 12)
    assert figures["auc"] == pytest.approx(metrics.auc(y, scores))
    assert figures["recall"] == np.mean(scores[y] >= 0.5)
    assert figures["recall"] + figures["fnr"] == 1
    assert [path for path, _ in found.rejected] == ["NORMAL/bad.png"]
    assert found.notes == ()


def test_class_folders_can_be_named(predictor: Predictor, tmp_path: Path) -> None:
    folder = pictures.folder(tmp_path / "images")
    (folder / "NORMAL").rename(folder / "healthy")
    (folder / "PNEUMONIA").rename(folder / "ill")
    found = evaluated(predictor, folder, tmp_path, negative="healthy", positive="ill")
    assert found.assessment.n == 24


@pytest.mark.parametrize("keep", ["NORMAL", "PNEUMONIA"])
def test_a_folder_with_one_class_says_so(predictor: Predictor, tmp_path: Path, keep: str) -> None:
    folder = pictures.folder(tmp_path / "images")
    other = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}[keep]
    (folder / other).rename(tmp_path / other)
    with pytest.raises(DataError, match=rf"(?s)no class folder `{other}`.*pneumo predict"):
        evaluated(predictor, folder, tmp_path)


def test_an_unlabelled_folder_says_what_to_do(predictor: Predictor, tmp_path: Path) -> None:
    pictures.write(tmp_path / "images" / "a.png", 0)
    with pytest.raises(DataError, match=r"(?s)neither class folder.*`pneumo predict` scores files without labels"):
        evaluated(predictor, tmp_path / "images", tmp_path)


def test_heatmaps_lie_over_each_image_and_names_never_collide(predictor: Predictor, tmp_path: Path) -> None:
    files = [
        pictures.write(tmp_path / "one" / "a.png", 1, width=600, height=300),
        tmp_path / "missing.png",
        pictures.write(tmp_path / "two" / "a.png", 2, width=40, height=64),
    ]
    found = predict(predictor, files, heatmaps=tmp_path / "maps")
    assert found[1].heatmap == ""
    assert [Path(found[i].heatmap).name for i in (0, 2)] == ["a.png", "a-2.png"]
    assert [reading.decode(Path(found[i].heatmap), channels=3).shape for i in (0, 2)] == [(256, 512, 3), (64, 40, 3)]


def test_heatmaps_replace_nothing_but_earlier_ones(predictor: Predictor, tmp_path: Path) -> None:
    folder, outside = tmp_path / "images", tmp_path / "outside.png"
    files = [pictures.write(folder / f"{name}.png", 1) for name in "ab"]
    outside.write_bytes(b"precious")
    (folder / "a-2.png").symlink_to(outside)
    before = [file.read_bytes() for file in files]
    for _ in range(2):  # the second time in the place of the first
        found = predict(predictor, files, heatmaps=folder)
        assert [Path(row.heatmap).name for row in found] == ["a-3.png", "b-2.png"]
    assert [file.read_bytes() for file in files] == before
    assert outside.read_bytes() == b"precious"
    assert len(list(folder.iterdir())) == 5


def test_a_heatmap_that_cant_be_written_keeps_the_score(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [pictures.write(tmp_path / f"{name}.png", 1) for name in "ab"]

    def write(path: Path, write_to: Any) -> None:
        if path.name == "a.png":
            raise StorageError("the disk is full")
        write_file(path, write_to)

    monkeypatch.setattr(heatmap, "write_file", write)
    found = predict(predictor, files, heatmaps=tmp_path / "maps")
    assert [row.heatmap_error for row in found] == ["the disk is full", ""]
    assert all(row.score is not None for row in found)
    row = bundle_process._row(found[0])
    assert (row["heatmap_error"], "heatmap" in row, row["score"]) == ("the disk is full", False, found[0].score)


def test_a_request_becomes_json(tmp_path: Path) -> None:
    made_bundles.make(tmp_path / "b", CNN)
    folder = pictures.folder(tmp_path / "images")
    heard: list[tuple[str, int, int]] = []
    request = Evaluate(bundle=str(tmp_path / "b"), source=SourceSpec(source=str(folder)), cache=str(tmp_path / "cache"))
    answer = bundle_process.serve(request, lambda *said: heard.append(said))
    assert answer["n"] == 24
    assert heard
    assert math.isfinite(answer["ece_if_calibrated"][1])
    asked = Predict(bundle=str(tmp_path / "b"), paths=(str(folder / "no.png"),))
    answered = [{"path": str(folder / "no.png"), "error": "does not exist"}]
    assert bundle_process.serve(asked, lambda *said: None) == {"rows": answered, "drift": None}
    assert codec.from_json(bundle_process.Request, codec.to_json(asked)) == asked  # type: ignore[arg-type]


def test_images_reach_the_networks_as_the_arrays_of_training_would(predictor: Predictor, tmp_path: Path) -> None:
    file = pictures.write(tmp_path / "a.jpeg", 5, width=90, height=70)
    for image, spec in zip(from_file(predictor, file), predictor.data_specs, strict=True):
        assert np.array_equal(image, rows.of_file(file, [spec])[0])
