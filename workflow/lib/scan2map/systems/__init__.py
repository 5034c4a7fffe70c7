"""The learned systems, found by name: ``scan2map.systems.<name>`` exposes one object ``SYSTEM``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from scan2map.config import system_names
from scan2map.errors import SettingError

if TYPE_CHECKING:
    from scan2map.training.system import System


@cache
def load_system(name: str) -> System:
    """The system of a name.

    Raises:
        SettingError: there is none of that name.
    """
    if name not in system_names():
        remedy = "correct learning.systems; docs/adding-a-system.md says how a system is added"
        raise SettingError("There is no such system", found=name, allowed=", ".join(system_names()), remedy=remedy)
    return import_module(f"scan2map.systems.{name}").SYSTEM
