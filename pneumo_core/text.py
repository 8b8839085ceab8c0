"""Text from outside, such as names of files, made fit to be shown and stored.

A file's name is bytes. Python keeps those that are no UTF-8 as lone surrogates, which neither a page nor a JSON reader
of another language takes; control characters would move a terminal's cursor, line breaks would forge a row.
"""

import unicodedata
from typing import Any


def visible(text: object) -> str:
    """Return text whose control, format and undecodable characters are written as escapes; lines stay lines."""
    return "".join(char if _is_visible(char) or char in "\n\t" else escaped(char) for char in str(text))


def inline(text: object) -> str:
    """Return text for the middle of a line, such as the name of a file: line breaks are escapes, too."""
    return "".join(char if _is_visible(char) else escaped(char) for char in str(text))


def encodable(data: Any) -> Any:
    """Return JSON-native data where bytes that are no UTF-8 are escapes in every text."""
    if isinstance(data, str):
        return "".join(escaped(char) if "\ud800" <= char <= "\udfff" else char for char in data)
    if isinstance(data, dict):
        return {encodable(key): encodable(value) for key, value in data.items()}
    return [encodable(item) for item in data] if isinstance(data, list | tuple) else data


def escaped(char: str) -> str:
    """Return one character as Python would write it in a text."""
    return char.encode("unicode_escape").decode("ascii")


def _is_visible(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"
