"""What hanlin makes itself, a Qwen3 folder, opens in transformers: dtype, ids, text, chat template."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from samples import CONVERSATIONS, varied_lines
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import load, save
from hanlin.core.text.chat import render
from hanlin.core.text.tokenizer import Tokenizer


def test_saved_folder_opens_in_transformers(tiny_model_folder: Path) -> None:
    """Without remote code, with equal logits."""
    theirs = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    assert type(theirs) is Qwen3ForCausalLM and theirs.dtype == torch.float32
    ours = load(tiny_model_folder)
    ids = torch.randint(ours.model.vocab_size, (1, 30))
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_stored_dtype_survives(tmp_path: Path, tiny_model_folder: Path, dtype: torch.dtype) -> None:
    loaded = load(tiny_model_folder, dtype)
    save(tmp_path, loaded.model, qwen3, loaded.tokenizer)
    assert load(tmp_path).model.dtype == dtype
    assert AutoModelForCausalLM.from_pretrained(tmp_path).dtype == dtype


def test_tokenizer_ids_and_text(tiny_model_folder: Path, tiny_tokenizer: Tokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(tiny_model_folder)
    for line in varied_lines():
        ids = tiny_tokenizer.encode(line)
        assert ids == theirs(line, add_special_tokens=True)["input_ids"], line
        assert tiny_tokenizer.decode(ids) == theirs.decode(ids) == line
    assert theirs.eos_token_id == tiny_tokenizer.eos_id
    assert theirs.pad_token_id == tiny_tokenizer.pad_id != theirs.eos_token_id


@pytest.mark.parametrize("add_generation_prompt", [False, True])
def test_chat_template_ids(tiny_model_folder: Path, tiny_tokenizer: Tokenizer, add_generation_prompt: bool) -> None:
    """Twenty conversations: transformers' Jinja gives the ids of our renderer."""
    theirs = AutoTokenizer.from_pretrained(tiny_model_folder)
    assert len(CONVERSATIONS) == 20
    for conversation in CONVERSATIONS:
        expected = theirs.apply_chat_template(
            conversation, add_generation_prompt=add_generation_prompt, return_dict=False
        )
        assert render(conversation, tiny_tokenizer, add_generation_prompt).ids == expected


def test_template_that_keeps_spaces(tiny_model_folder: Path, tiny_tokenizer: Tokenizer) -> None:
    """Qwen's own templates don't trim: the spaces around a message then reach the model, as in transformers."""
    settings_kept = {**tiny_tokenizer.settings, "chat_template": tiny_tokenizer.chat_template.replace(" | trim", "")}
    ours = Tokenizer(tiny_tokenizer.backend, settings_kept)
    theirs = AutoTokenizer.from_pretrained(tiny_model_folder)
    for content in ("  前面兩格", "後面一行\n", "\n\n", "沒有", " \t兩邊 \r\n"):
        conversation = [{"role": "user", "content": content}]
        expected = theirs.apply_chat_template(
            conversation, chat_template=ours.chat_template, add_generation_prompt=True, return_dict=False
        )
        assert render(conversation, ours, True).ids == expected, content
