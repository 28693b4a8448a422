"""What `hanlin chat` takes besides the options of writing."""

from __future__ import annotations

from pydantic import Field

from hanlin.core.run.config import Config


class Chat(Config):
    """Of one conversation in the terminal."""

    system: str = Field("", description="system message with which the conversation begins")
    load: str = Field("", description="a saved conversation to go on with")
    history: str = Field(
        "", description="file that keeps what is asked, for the arrow keys; without it nothing is kept"
    )
    probs: bool = Field(False, description="begin with the probabilities of tokens shown, as /probs does")
