"""Bundles: whole or not there, the same wherever they are copied, and refused once a byte differs."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from pneumo_core.bundles import bundle, predictor
from pneumo_core.errors import BundleError, StorageError
from pneumo_core.models import network
from pneumo_core.models.described import Undescribed, of_file
from pneumo_core.specs import DataSpec
from tests.pneumo_core import made_bundles
from tests.pneumo_core.made_bundles import CNN, DENSE
from tests.pneumo_core.peak import peak_below


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    made_bundles.make(folder, CNN, DENSE)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "elsewhere" / "b"))


def test_what_is_written_is_read_and_a_copy_is_as_good(made: Path, copy: Path) -> None:
    assert bundle.read(copy) == bundle.read(made)
    assert [len(m.layers) for m in predictor.load(copy).models] == [len(m.layers) for m in predictor.load(made).models]


def test_a_bundle_is_never_overwritten(made: Path) -> None:
    before = bundle.read(made)
    with pytest.raises(StorageError, match="there already"):
        made_bundles.make(made, CNN)
    assert bundle.read(made) == before


def test_a_bundle_that_failed_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "model.keras").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bundle.write(tmp_path / "b", made_bundles.described(CNN), fill)
    assert not list(tmp_path.iterdir())


def cut(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:-7])


def flip(file: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / file).write_bytes(data)

    return change


def edit(**changes: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = json.loads((folder / bundle.FILE).read_text()) | changes
        (folder / bundle.FILE).write_text(json.dumps(data))

    return change


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "model cut": (cut("model-1.keras"), "cut short"),
    "model altered": (flip("model-2.keras"), "altered"),
    "model missing": (lambda folder: (folder / "model-1.keras").unlink(), "cut short: `model-1.keras` is missing"),
    "card altered": (flip(bundle.CARD), "altered"),
    "json cut": (cut(bundle.FILE), "cut short"),
    "json empty": (lambda folder: (folder / bundle.FILE).write_text(""), "cut short"),
    "json a list": (lambda folder: (folder / bundle.FILE).write_text("[]"), "altered"),
    "threshold altered": (edit(threshold=0.01), "digest doesn't match"),
    "another format": (edit(format=99), "format 99"),
    "no json": (lambda folder: (folder / bundle.FILE).unlink(), "not a bundle"),
    "gone": (lambda folder: shutil.rmtree(folder), "does not exist"),
}


@pytest.mark.parametrize(("harm", "message"), HARM.values(), ids=HARM)
def test_a_harmed_bundle_is_refused_before_any_model_is_read(
    copy: Path, harm: Callable[[Path], object], message: str
) -> None:
    harm(copy)
    with pytest.raises(BundleError, match=message):
        bundle.read(copy)


def reseal(folder: Path) -> None:
    """Make the digests right again, as somebody who means harm would."""
    about = replace(made_bundles.described(CNN), files=bundle.file_facts(folder))
    (folder / bundle.FILE).write_text(bundle._text(about))


def replaced(tmp_path: Path, write: Callable[[Path], object]) -> Path:
    folder = tmp_path / "b"
    folder.mkdir()
    write(folder / "model.keras")
    reseal(folder)
    return folder


def test_another_preprocessing_is_refused(tmp_path: Path) -> None:
    made_bundles.make(tmp_path / "b", CNN, preprocessing_version=-1)
    with pytest.raises(BundleError, match="preprocessing version -1"):
        bundle.read(tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"members": ()}, "members"),
        ({"threshold": 5.0}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"ceiling": 2.0}, "ceiling"),
        ({"confidence": 40.0}, "confidence"),
        ({"positive": "NORMAL"}, "classes"),
    ],
)
def test_values_that_would_decide_wrongly_are_refused(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    made_bundles.make(tmp_path / "b", CNN, **changes)
    with pytest.raises(BundleError, match=field):
        bundle.read(tmp_path / "b")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": 1, "a": ' + "[" * 500 + "]" * 500 + "}", "\xff"])
def test_a_text_that_is_no_description_is_refused(copy: Path, text: str) -> None:
    (copy / bundle.FILE).write_text(text, "latin-1")
    with pytest.raises(BundleError, match="cut short"):
        bundle.read(copy)


def test_scores_that_are_no_numbers_are_an_error_not_a_decision(tmp_path: Path) -> None:
    network = made_bundles.network(CNN.model, CNN.data)
    network.get_layer("logit").bias.assign([np.nan])
    loaded = predictor.load(replaced(tmp_path, network.save))
    image = tuple(np.zeros(spec.shape, np.uint8) for spec in loaded.data_specs)
    with pytest.raises(BundleError, match="scores"):
        loaded.scores([image])


def test_a_model_that_is_not_keras_is_refused(tmp_path: Path) -> None:
    folder = replaced(tmp_path, lambda file: file.write_bytes(b"\x89HDF\r\n weights of something else"))
    with pytest.raises(BundleError, match="isn't a Keras model"):
        predictor.load(folder)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("data.pkl", b"cos\nsystem\n")

    with pytest.raises(BundleError, match="isn't a Keras model"):
        predictor.load(replaced(tmp_path, write))


def test_a_model_that_carries_code_is_refused_and_never_run(tmp_path: Path) -> None:
    pixels = keras.Input((16, 16, 1), name="pixels")
    flat = keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2)(pixels))
    smuggled = keras.Model(pixels, keras.layers.Dense(1, activation="sigmoid")(flat))
    with pytest.raises(BundleError, match=r"keras\.layers\.Lambda"):
        predictor.load(replaced(tmp_path, smuggled.save))


def test_a_class_from_elsewhere_is_refused_before_keras_imports_it(tmp_path: Path) -> None:
    def write(file: Path) -> None:
        config = {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}}
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("config.json", json.dumps(config))

    with pytest.raises(BundleError, match=r"subprocess\.Popen"):
        predictor.load(replaced(tmp_path, write))


def described(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return a bundle whose network is described otherwise than its weights were saved."""
    whole = tmp_path / "whole.keras"
    made_bundles.network(DENSE.model, CNN.data).save(whole)

    def write(file: Path) -> None:
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w") as archive:
            for name in source.namelist():
                data = source.read(name)
                if name == "config.json":
                    config = json.loads(data)
                    change(config)
                    data = json.dumps(config).encode()
                archive.writestr(name, data)

    return replaced(tmp_path, write)


def dense(config: dict[str, Any]) -> dict[str, Any]:
    layers = [layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense"]
    found: dict[str, Any] = layers[0]
    return found


SMUGGLED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a lambda under another name": (
        lambda config: dense(config)["config"].update(
            activation={"class_name": "__lambda__", "module": "keras.layers", "config": {"value": "x"}}
        ),
        "__lambda__",
    ),
    "a file of words": (
        lambda config: dense(config).update(class_name="StringLookup", config={"vocabulary": "/etc/passwd"}),
        "StringLookup",
    ),
    "a class that is no text": (lambda config: dense(config).update(class_name=["Dense"]), "Dense"),
    "a function": (
        lambda config: dense(config)["config"].update(
            activation={"class_name": "function", "module": "builtins", "config": "exec", "registered_name": "exec"}
        ),
        "function",
    ),
    "a size": (lambda config: dense(config)["config"].update(units=10**9), "size of 1000000000"),
    "more weights than the file holds": (lambda config: dense(config)["config"].update(units=10**6), "weights"),
}


@pytest.mark.parametrize(("change", "message"), SMUGGLED.values(), ids=SMUGGLED)
def test_a_description_of_something_else_is_refused_before_it_is_built(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        predictor.load(described(tmp_path, change))


def test_layers_that_blow_an_image_up_are_refused(tmp_path: Path) -> None:
    pixels = keras.Input((16, 16, 1))
    large = keras.layers.UpSampling2D(4000)(pixels)
    model = keras.Model(pixels, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(large)))
    with pytest.raises(BundleError, match="values of one image"):
        predictor.load(replaced(tmp_path, model.save))


def test_a_model_for_other_images_is_refused(tmp_path: Path) -> None:
    other = made_bundles.network(CNN.model, DataSpec(image_size_px=20))
    with pytest.raises(BundleError, match=r"must take images of shape \(16, 16, 1\)"):
        predictor.load(replaced(tmp_path, other.save))


def packed(zeros: int) -> Callable[[bytes], bytes]:
    return lambda weights: weights + bytes(zeros)


def claimed(weights: bytes) -> bytes:
    """Return the weights with one more, of a gigabyte that was never written."""
    buffer = io.BytesIO(weights)
    with h5py.File(buffer, "r+") as stored:
        stored.create_dataset("layers/dense/vars/9", (2**28,), "float32", chunks=(2**20,), compression="gzip")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [(packed(256 * 2**20), "unpacks to 26"), (claimed, "its weights claim 10737")],
    ids=["zip", "h5"],
)
def test_weights_larger_than_their_file_are_refused_before_there_is_room_for_them(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    whole = tmp_path / "whole.keras"
    made_bundles.network(CNN.model, CNN.data).save(whole)

    def write(file: Path) -> None:
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            for name in source.namelist():
                data = source.read(name)
                made.writestr(name, change(data) if name.endswith(".h5") else data)

    file = replaced(tmp_path, write) / "model.keras"
    assert file.stat().st_size < 700_000
    with peak_below(50e6):
        with pytest.raises(Undescribed):
            of_file(file)
        with pytest.raises(BundleError, match=message):
            network.load(file)


def test_weights_cut_inside_the_archive_are_an_error_not_a_crash(tmp_path: Path) -> None:
    whole = tmp_path / "whole.keras"
    made_bundles.network(CNN.model, CNN.data).save(whole)

    def write(file: Path) -> None:
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w") as archive:
            for name in source.namelist():
                data = source.read(name)
                archive.writestr(name, data[: len(data) // 2] if name.endswith(".h5") else data)

    with pytest.raises(BundleError, match="can't be read as a Keras model"):
        network.load(replaced(tmp_path, write) / "model.keras")


def test_the_frozen_digest_knows_model_and_threshold_but_not_the_test(made: Path) -> None:
    about = bundle.read(made)
    assert replace(about, test={"n": 1}, n_test_openings=3).frozen == about.frozen
    assert replace(about, threshold=0.6).frozen != about.frozen
