"""A study's images, from its source to its arrays."""

from pathlib import Path
from typing import Any

import pytest

from pneumo_core.data import preprocess, reading
from pneumo_core.specs import DataSpec
from search.home import Home
from search.prepared import read_source
from studies.spec import SourceSpec

WANTED = [DataSpec(image_size_px=16), DataSpec(image_size_px=24, resize="pad")]


def test_arrays_that_a_study_wants_are_made_of_what_the_scan_decoded(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decode = list[Any](), reading.decode_noted
    monkeypatch.setattr(reading, "decode_noted", lambda *args, **more: decoded.append(1) or decode(*args, **more))
    prepared = read_source(SourceSpec(source=str(phantoms)), Home(tmp_path), wanted=WANTED)
    folders = [prepared.arrays_for(data) for data in WANTED]

    assert len(decoded) == len(prepared.manifest.records)
    assert all(preprocess.is_whole(folder) for folder in folders)
    assert not any(prepared.scanned.rows(data) for data in WANTED)  # their room is given back
