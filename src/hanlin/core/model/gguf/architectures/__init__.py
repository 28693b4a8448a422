"""llama.cpp's architectures, one file each; the file name is the registry.

Every file has
    FAMILY                      the family of core/model/families it is
    names(config)               our modules → tensors of the file (see core/model/weights.py)
    metadata(config)            config.json → the keys under "ARCHITECTURE." that llama.cpp looks for
    config(keys)                the reverse; raises KeyError for a key that is missing, ValueError for what is not known
    tensors(config)             further tensors that are no parameters (optional)
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def known_architectures() -> dict[str, ModuleType]:
    """llama.cpp's name → its file here."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in found}


def architecture_of(family: ModuleType) -> str | None:
    """llama.cpp's name for a family, None where it is not written."""
    return next((name for name, module in known_architectures().items() if module.FAMILY is family), None)
