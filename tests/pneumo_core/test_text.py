import json

from hypothesis import given
from hypothesis import strategies as st

from pneumo_core import text

NAMES = st.binary(min_size=1).map(lambda name: name.decode("utf-8", "surrogateescape"))


@given(NAMES | st.text())
def test_a_name_is_one_line_that_every_terminal_and_file_takes(name: str) -> None:
    shown = text.inline(name)
    assert len(shown.splitlines()) <= 1
    assert shown.encode() is not None
    assert all(char.isprintable() or char.isspace() for char in shown)


@given(st.recursive(NAMES | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)))
def test_json_of_any_names_is_text_in_any_language(data: object) -> None:
    made = json.loads(json.dumps(text.encodable(data)))
    assert json.dumps(made, ensure_ascii=False).encode() is not None


@given(st.text().filter(lambda name: name.isprintable()))
def test_names_that_are_text_stay_as_they_are(name: str) -> None:
    assert text.inline(name) == text.visible(name) == text.encodable(name) == name
