"""What a reply may be: its form (`grammar.py`), its script (`script.py`), its wording (`wording.py`)."""

from hanlin.core.generate.constrain.choose import constraint_of

__all__ = ["constraint_of"]
