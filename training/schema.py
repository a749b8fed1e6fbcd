"""Read untrusted mappings (YAML, command line) into typed, frozen dataclasses.

The dataclass is the schema: its fields name the keys, its annotations the types, its defaults the optional
values and its ``__post_init__`` the bounds. Everything else is refused with a :class:`ConfigError` that names
the key.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from geoseg_ros.errors import ConfigError

T = TypeVar("T")


def parse(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Build the dataclass ``cls`` from ``mapping``; ``where`` opens every error message ("recipe x.yaml").

    Raises ConfigError for an unknown key (with the nearest valid one), a missing key or a value of another
    type.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: found {_shown(mapping)}, expected a mapping of {', '.join(_names(cls))}")
    names = _names(cls)
    for key in mapping:
        if key not in names:
            raise ConfigError(f"{where}: unknown key '{key}'; {nearest(str(key), names)}")
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in mapping:
            raise ConfigError(f"{where}: the key '{field.name}' is missing")
    hints = get_type_hints(cls)
    values = {key: convert(hints[key], value, f"{where}: {key}") for key, value in mapping.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def nearest(name: str, valid: Iterable[str]) -> str:
    """The half sentence that helps after a wrong name: the nearest valid one, or all of them."""
    valid = list(valid)
    close = difflib.get_close_matches(name, valid, n=1)
    return f"did you mean '{close[0]}'?" if close else f"valid are {', '.join(valid)}"


def convert(hint: Any, value: Any, where: str) -> Any:
    """Check ``value`` against the annotation ``hint``; returns it in that type (lists become tuples)."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {_shown(value)}; {nearest(str(value), map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return _convert_optional(arguments, value, where)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {_shown(value)}, expected a mapping")
        return {str(key): convert(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    return _convert_scalar(hint, value, where)


def _convert_optional(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    (hint,) = (argument for argument in arguments if argument is not type(None))
    return convert(hint, value, where)


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where} is {_shown(value)}, expected a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    if len(value) != len(arguments):
        raise ConfigError(f"{where} has {len(value)} entries, expected {len(arguments)}")
    return tuple(
        convert(hint, entry, f"{where}[{i}]") for i, (hint, entry) in enumerate(zip(arguments, value))
    )


def _convert_scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and not isinstance(value, bool):
        if isinstance(value, (int, float, str)):  # YAML 1.1 reads 1e-3 as a string
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if math.isfinite(number):
                return number
        raise ConfigError(f"{where} is {_shown(value)}, expected a finite number")
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} is {_shown(value)}, expected {hint.__name__}")


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _shown(value: Any) -> str:
    return f"{str(value)!r} ({type(value).__name__})" if not isinstance(value, str) else repr(value)
