"""Functions that build external networks: a checkpoint stores their names, and they are called only on request."""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from prune.errors import UserError, first_line

PREFIX = "factory:"
"""How the architecture of such a network begins in a checkpoint; the name of the function follows."""
PLAIN = (str, int, float, bool, type(None))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return type(value) in PLAIN


@dataclass(frozen=True)
class Factory:
    """A function, or class, that builds a network, and the keyword arguments it does so with.

    Args:
        name: ``package.module:function``.
        options: Plain values: texts, numbers, lists and dicts of them.

    Raises:
        UserError: for another name.
        TypeError: for arguments that a checkpoint cannot hold.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module, _, function = self.name.partition(":")
        if not module or not function:
            raise UserError(f"--factory: expected package.module:function, found {self.name!r}")
        for key, value in self.options.items():
            if not _is_plain(value):
                raise TypeError(f"factory_options: {key}: expected a plain value, found {type(value).__name__}")

    @classmethod
    def of(cls, factory: object, options: Mapping[str, Any] | None = None) -> "Factory":
        """The factory that a text, a function, a class or a ``functools.partial`` names.

        Raises:
            TypeError: for anything else.
        """
        options = dict(options or {})
        if isinstance(factory, functools.partial) and not factory.args:
            return cls.of(factory.func, {**factory.keywords, **options})
        if isinstance(factory, str):
            return cls(factory, options)
        name = getattr(factory, "__qualname__", None)
        if not callable(factory) or name is None:
            raise TypeError(f"factory: expected a function or package.module:function, found {type(factory).__name__}")
        return cls(f"{factory.__module__}:{name}", options)

    @property
    def architecture(self) -> str:
        """What the network is called: ``factory:package.module:function``."""
        return f"{PREFIX}{self.name}"

    def build(self, function: Callable[..., Any] | None = None) -> nn.Module:
        """Call ``function``, None = the one of that name, which is imported, and return the network it builds.

        The state of the random numbers stays as it was.

        Raises:
            UserError: when it cannot be imported, fails or returns something else.
        """
        function = function or _imported(self.name)
        try:
            with torch.random.fork_rng(devices=[]):
                built = function(**self.options)
        except Exception as error:  # external code may raise anything
            raise UserError(f"--factory {self.name}: fails with {type(error).__name__}: {first_line(error)}") from error
        if not isinstance(built, nn.Module):
            raise UserError(f"--factory {self.name}: expected a torch.nn.Module, found {type(built).__name__}")
        return built


def _imported(name: str) -> Callable[..., Any]:
    """The function called ``package.module:function``."""
    module, _, function = name.partition(":")
    try:
        value: Any = importlib.import_module(module)
        for part in function.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise UserError(f"--factory {name}: cannot be imported: {first_line(error)}") from error
    if not callable(value):
        raise UserError(f"--factory {name}: expected a function, found {type(value).__name__}")
    return value


def function_of(factory: object) -> Callable[..., Any] | None:
    """The function to call for a factory the caller passed, without the keywords of a partial; None for a text.

    Raises:
        TypeError: for neither.
    """
    if isinstance(factory, str):
        return None
    function = factory.func if isinstance(factory, functools.partial) else factory
    if not callable(function):
        raise TypeError(f"factory: expected a function or package.module:function, found {type(factory).__name__}")
    return function


def trusted(stored: Factory, factory: object) -> nn.Module:
    """Rebuild a network by the factory its file names, when the caller names the same or passes a function to call instead.

    Args:
        stored: What the file names; never called because of the file alone.
        factory: What the caller trusts: ``package.module:function`` or a function; None = nothing.

    Raises:
        UserError: when the caller names none or another, and when it fails.
        TypeError: for anything but a text or a function.
    """
    if factory is None:
        raise UserError(
            f"expected --factory {stored.name}, the function that builds this network and is only called when it is "
            "named, found none"
        )
    if isinstance(factory, str):
        if factory != stored.name:
            raise UserError(f"--factory: expected {stored.name}, found {factory}")
        return stored.build()
    return stored.build(function_of(factory))
