"""Options of a verb in groups: a dataclass for each, whose fields are named as the options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def option_group(kind: type[T], given: Mapping[str, Any]) -> T:
    """Make a group of the options that it names.

    Args:
        kind: a dataclass whose fields are parameters of the verb.
        given: the verb's parameters by name.
    Returns:
        The group, with the values of the command line.
    """
    return kind(**{field.name: given[field.name] for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
