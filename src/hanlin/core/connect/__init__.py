"""Models somewhere else: one interface to every provider, with patience, a budget and a recording. docs/connect.md"""

from hanlin.core.connect.address import is_remote
from hanlin.core.connect.answer import Answer, Call, Piece, Stream, Usage
from hanlin.core.connect.budget import Budget, Price, Spent
from hanlin.core.connect.model import Many, Model
from hanlin.core.connect.remote import Connection, Remote, connect

__all__ = [
    "Answer",
    "Budget",
    "Call",
    "Connection",
    "Many",
    "Model",
    "Piece",
    "Price",
    "Remote",
    "Spent",
    "Stream",
    "Usage",
    "connect",
    "is_remote",
]
