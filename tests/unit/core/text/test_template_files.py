"""Templates by name: the files are the list."""

from __future__ import annotations

import pytest
from chat_templates import CASES

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import CHATML, template_hash
from hanlin.core.text.template_files import named_template, template_names


def test_the_names_are_the_files() -> None:
    assert template_names() == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_template_is_its_text_without_the_comment_for_readers(name: str) -> None:
    text = named_template(name)
    assert not text.startswith("{#") and not text.endswith("\n") and "Special tokens:" not in text
    assert "add_generation_prompt" in text or name == "mistral"


def test_chatml_stays_as_models_were_trained_with_it() -> None:
    """Its hash stands in their generation_config.json."""
    assert named_template("chatml") == CHATML
    assert template_hash(CHATML) == "cb0387156fe17668"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(HanlinError, match='did you mean "mistral"') as caught:
        named_template("mistal")
    assert "mistal" in caught.value.what
    with pytest.raises(HanlinError):
        named_template("../chat_format")
