"""Specs to JSON and back: frozen dataclasses, tuples, mappings, literals and unions told apart by `kind`."""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Spec = TypeVar("Spec")


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
        return _expect(data in args, data, where, f"must be one of {list(args)}")
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
        _expect(kind in tagged, kind, f"{where}.kind", f"must be one of {sorted(map(str, tagged))}")
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
    except TypeError as error:
        raise ValueError(f"`{where}` is incomplete: {error}") from error


def _expect(holds: bool, data: Any, where: str, what: str) -> Any:
    if not holds:
        raise ValueError(f"`{where}` {what}, got {data!r}")
    return data
