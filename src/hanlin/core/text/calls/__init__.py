"""Tool calls: read out of a reply, or demanded of it, in the markup of the model's family."""

from hanlin.core.text.calls.family import reader_of
from hanlin.core.text.calls.form import form_of_calls, shows_tools
from hanlin.core.text.calls.reader import Reader
from hanlin.core.text.calls.source import Event
from hanlin.core.text.calls.thoughts import ends_in_thought

__all__ = ["Event", "Reader", "ends_in_thought", "form_of_calls", "reader_of", "shows_tools"]
