"""Fields that are checked by their annotations."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from pneumo_core.checked import Checked, Range


@dataclass(frozen=True, kw_only=True)
class Spec(Checked):
    word: Literal["a", "b"] = "a"
    share: Annotated[float, Range(0.0, 1.0)] = 0.5
    count: Annotated[int, Range(1, 9)] | None = None
    free: tuple[float, ...] | Literal["all"] = "all"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"word": "c"}, r"`word` must be one of \['a', 'b'\], got 'c'"),
        ({"share": float("nan")}, r"`share` must be a number in \[0.0, 1.0\], got nan"),
        ({"share": True}, "`share` must be a number"),
        ({"count": 0}, r"`count` must be a whole number in \[1, 9\], got 0"),
        ({"count": 1.0}, "`count` must be a whole number"),
        ({"share": None}, "`share` must be a number"),
    ],
)
def test_a_value_that_the_annotation_excludes_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spec(**given)


def test_what_has_no_single_rule_is_left_to_the_class() -> None:
    assert Spec(count=None, free=(1.0,), share=1).share == 1
