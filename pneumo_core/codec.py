"""Specs to JSON and back: frozen dataclasses, tuples, mappings, literals, and unions distinguished by `kind`."""

import dataclasses
import hashlib
import json
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Spec = TypeVar("Spec")
LARGEST_FLOAT = int(sys.float_info.max)
MAX_SHOWN = 200  # characters of a value in a message
MAX_DEPTH = 100  # levels of JSON; a network's description has some 40


def to_json(value: Any) -> Any:
    """Return `value` as JSON-native data; dataclasses become objects with every field."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def from_json(cls: type[Spec], data: Any) -> Spec:
    """Return the spec of type `cls` that `data` describes.

    Raises `ValueError` naming the field for a missing, unknown or ill-typed one.
    """
    return typing.cast(Spec, _decode(cls, data, getattr(cls, "__name__", "message")))


def parse(text: str | bytes) -> Any:
    """Return the JSON-native data in a text from outside. Raises `ValueError` for whatever is wrong with it.

    Besides what `json` refuses: more than `MAX_DEPTH` levels, on which functions that walk through it would fail.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        data = None
        too_deep = True
    else:
        too_deep = is_too_deep(data)
    if too_deep:
        raise ValueError(f"the text must have at most {MAX_DEPTH} levels of lists and objects")
    return data


def is_too_deep(data: Any) -> bool:
    """Return whether JSON-native data has more than `MAX_DEPTH` levels."""
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [item for part in level if isinstance(part, dict | list) for item in _items(part)]
        if not level:
            return False
    return True


def _items(part: dict[Any, Any] | list[Any]) -> Iterable[Any]:
    return part.values() if isinstance(part, dict) else part


def digest(value: Any) -> str:
    """Return 16 hexadecimal characters that name the content of a spec or of JSON-native data."""
    text = json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _decode(hint: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return data
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(typing.cast(type, hint), data, where)
    if origin is typing.Literal:
        known = any(type(data) is type(arg) and data == arg for arg in args)  # True is no 1
        return _expect(known, data, where, f"must be one of {list(args)}")
    if origin in (typing.Union, types.UnionType):
        return _decode_union(args, data, where)
    if origin is tuple:
        _expect(isinstance(data, list | tuple), data, where, "must be a list")
        return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), data, where, "must be an object")
        return {key: _decode(args[1], item, f"{where}.{key}") for key, item in data.items()}
    return _decode_scalar(hint, data, where)


def _decode_scalar(hint: Any, data: Any, where: str) -> Any:
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        _expect(abs(data) <= LARGEST_FLOAT, data, where, "must be a number that fits")
        return float(data)
    if hint is type(None):
        return _expect(data is None, data, where, "must be null")
    matches = isinstance(data, hint) and (hint is bool or not isinstance(data, bool))
    return _expect(matches, data, where, f"must be of type {hint.__name__}")


def _decode_union(args: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in args:
        return None
    options = [arg for arg in args if arg is not type(None)]
    tagged = {_kind_of(arg): arg for arg in options if dataclasses.is_dataclass(arg)}
    if isinstance(data, dict) and len(tagged) > 1:
        kind = data.get("kind")
        _expect(
            isinstance(kind, str) and kind in tagged,
            kind,
            f"{where}.kind",
            f"must be one of {sorted(map(str, tagged))}",
        )
        return _decode(tagged[kind], data, where)
    errors = []
    for option in options:
        try:
            return _decode(option, data, where)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; ".join(errors))


def _kind_of(cls: Any) -> Any:
    return next((f.default for f in dataclasses.fields(cls) if f.name == "kind"), cls.__name__)


def _decode_dataclass(cls: type, data: Any, where: str) -> Any:
    _expect(isinstance(data, dict), data, where, "must be an object")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(data) - set(fields))
    _expect(not unknown, unknown, where, f"must only have the fields {sorted(fields)}")
    values = {name: _decode(hints[name], data[name], f"{where}.{name}") for name in fields if name in data}
    try:
        return cls(**values)
    except (TypeError, ArithmeticError) as error:
        raise ValueError(f"`{where}` can't be used: {error}") from error


def _expect(holds: bool, data: Any, where: str, what: str) -> Any:
    if not holds:
        raise ValueError(f"`{where}` {what}, got {shown(data)}")
    return data


def shown(data: Any) -> str:
    """Return data for a message: its beginning, whatever it is."""
    try:
        text = repr(data)
    except (RecursionError, ValueError):  # too deep, or a number with too many digits
        return f"a {type(data).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
