import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from pneumo_core.data import dataset, fetch
from pneumo_core.data.download import Digest, Remote
from pneumo_core.errors import DataError
from tests.commands import pneumo
from tests.pneumo_core.files_server import Served, serving


def archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def packed(phantoms: Path) -> dict[str, bytes]:
    """Images as the Kaggle archive packs them: twice, with litter."""
    folders = [(role, name) for role in ("train", "test") for name in ("NORMAL", "PNEUMONIA")]
    found: dict[str, bytes] = {}
    for role, name in folders:
        for image in sorted(phantoms.rglob(f"{name}/*.png"))[:3]:
            found[f"chest_xray/{role}/{name}/{role}-{image.stem}.jpeg"] = image.read_bytes()
    twice = {name.replace("chest_xray/", "chest_xray/chest_xray/", 1): content for name, content in found.items()}
    litter = {"chest_xray/__MACOSX/._x": b"", "chest_xray/train/NORMAL/._x.jpeg": b"", "../train/NORMAL/out.jpeg": b"x"}
    return {**found, **twice, **litter}


def test_the_kaggle_archive_becomes_a_source(packed: dict[str, bytes], tmp_path: Path) -> None:
    with serving(Served(archive(packed), breaks_after=[500])) as served:
        found = fetch.kaggle(tmp_path / "data", remote=Remote(url=served.url), n_images=12)
        assert served.ranges == [None, "bytes=500-"]
        assert fetch.kaggle(tmp_path / "data", remote=Remote(url=served.url), n_images=12) == found
        assert len(served.ranges) == 2
    assert len(dataset.scan(found, cache_dir=tmp_path / "cache").records) == 12
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["chest_xray"]
    assert not (tmp_path / "train").exists()


def test_an_archive_with_images_missing_or_damaged_is_refused(packed: dict[str, bytes], tmp_path: Path) -> None:
    whole = archive(packed)
    with serving(Served(whole)) as served, pytest.raises(DataError, match="has 12 images, 13 expected"):
        fetch.kaggle(tmp_path / "a", remote=Remote(url=served.url), n_images=13)
    for name, at in (("b", 5), ("c", 60)):  # in the compressed data of one image
        entry = zipfile.ZipFile(io.BytesIO(whole)).infolist()[13]
        start = entry.header_offset + 30 + len(entry.filename) + at
        damaged = whole[:start] + bytes(byte ^ 255 for byte in whole[start : start + 9]) + whole[start + 9 :]
        with serving(Served(damaged)) as served, pytest.raises(DataError, match="is damaged"):
            fetch.kaggle(tmp_path / name, remote=Remote(url=served.url), n_images=12)
        assert not (tmp_path / name / "chest_xray").exists()


def test_medmnist_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Served(b"arrays")) as served:
        wrong = Remote(url=f"{served.url.rpartition('/')[0]}/pneumoniamnist_64.npz?download=1", digest=_md5("0" * 32))
        monkeypatch.setattr(fetch, "MEDMNIST", {64: wrong})
        with pytest.raises(DataError, match="something else than expected"):
            fetch.medmnist(64, tmp_path)
        right = Remote(url=wrong.url, digest=_md5(hashlib.md5(b"arrays").hexdigest()))
        monkeypatch.setattr(fetch, "MEDMNIST", {64: right})
        assert fetch.medmnist(64, tmp_path) == tmp_path / "pneumoniamnist_64.npz"
    with pytest.raises(DataError, match="sizes 64, got 32"):
        fetch.medmnist(32, tmp_path)


def _md5(value: str) -> Digest:
    return Digest(algorithm="md5", value=value)


def test_every_size_has_a_file_and_a_digest() -> None:
    assert list(fetch.MEDMNIST) == [28, 64, 128, 224]
    assert len({remote.digest and remote.digest.value for remote in fetch.MEDMNIST.values()}) == 4


@pytest.mark.parametrize("words", [("kaggle",), ("medmnist", "--size", "64")])
def test_without_network_the_command_says_what_helps(tmp_path: Path, words: tuple[str, ...]) -> None:
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = pneumo("data", "fetch", *words, folder=tmp_path, code=2, no_proxy="", NO_PROXY="", **nowhere)
    assert "can't be downloaded" in done.stderr
    assert "without network, download it elsewhere and put it at data/" in done.stderr
