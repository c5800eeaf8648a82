"""Methods that a plugin's object must have, and the arguments that each must take."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from vos.testing.contract import ContractError


def offers(plugin: object, method: str) -> bool:
    """True if an object has a method of this name."""
    return callable(getattr(plugin, method, None))


def check_methods(clause: str, plugin: object, methods: Mapping[str, int], optional: Mapping[str, int]) -> None:
    """Check that methods are there and take what the host gives them.

    Args:
        clause: the clause that is broken where one does not.
        plugin: what a factory made.
        methods: number of arguments by name.
        optional: likewise, for methods that may be absent.
    Raises:
        ContractError: a method is missing, or cannot take its arguments.
    """
    who = type(plugin).__name__
    for method, count in {**methods, **optional}.items():
        if not offers(plugin, method):
            if method in methods:
                raise ContractError(clause, f"{who} has no method {method}.")
            continue
        function = getattr(plugin, method)
        try:
            inspect.signature(function).bind(*range(count))
        except TypeError as error:
            raise ContractError(
                clause,
                f"{who}.{method}{inspect.signature(function)} cannot take "
                f"{count} argument{'s' * (count != 1)} ({error}).",
            ) from None
        except ValueError:  # a method written in C need not tell its signature
            continue
