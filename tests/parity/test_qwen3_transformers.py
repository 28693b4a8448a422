"""Our Qwen3 is transformers' Qwen3: logits, hidden states, loss, gradients, files, ids."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import CONVERSATIONS, varied_lines
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from hanlin.core.model.decoder import Decoder, DecoderShape
from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import load, save
from hanlin.core.text.chat import render
from hanlin.core.text.tokenizer import Tokenizer

TOLERANCE = 1e-5


@st.composite
def shapes(draw: st.DrawFn) -> DecoderShape:
    """Key/value heads 1, half or all; head width free of C/H; odd vocabularies; tied or not."""
    num_heads = draw(st.sampled_from([2, 4, 6]))
    return DecoderShape(
        vocab_size=draw(st.sampled_from([97, 320, 511])),
        width=draw(st.sampled_from([24, 48, 64])),
        num_layers=draw(st.integers(1, 3)),
        num_heads=num_heads,
        num_kv_heads=draw(st.sampled_from([1, num_heads // 2, num_heads])),
        head_width=draw(st.sampled_from([8, 16, 34])),
        hidden=draw(st.sampled_from([40, 96])),
        max_positions=64,
        rope_theta=draw(st.sampled_from([10_000.0, 1_000_000.0])),
        norm_eps=draw(st.sampled_from([1e-6, 1e-5])),
        tied=draw(st.booleans()),
    )


def random_pair(shape: DecoderShape, seed: int) -> tuple[Decoder, Qwen3ForCausalLM]:
    """Both models with the same random weights; norms away from 1, so that a forgotten norm shows."""
    ours = qwen3.build(shape)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in ours.parameters():
            noise = torch.empty(parameter.shape).normal_(0, 0.08, generator=random)
            parameter.copy_(1 + noise if parameter.ndim == 1 else noise)
    theirs = Qwen3ForCausalLM._from_config(Qwen3Config(**qwen3.write_config(shape)), attn_implementation="eager")
    state = {qwen3.checkpoint_name(name): value for name, value in ours.named_parameters()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= ({"lm_head.weight"} if shape.tied else set())
    theirs.tie_weights()
    return ours, theirs.eval()


def hidden_states(model: Decoder, ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the states transformers lists: embedding, after each block but the last, after the last norm."""
    states = [F.embedding(ids, model.embed_tokens.weight)]
    hooks = [
        layer.register_forward_hook(lambda module, given, state: states.append(state)) for layer in model.layers[:-1]
    ]
    hooks.append(model.norm.register_forward_hook(lambda module, given, state: states.append(state)))
    logits = model(ids)
    for hook in hooks:
        hook.remove()
    return logits, states


@settings(max_examples=15, deadline=None)
@given(shape=shapes(), batch=st.integers(1, 3), length=st.integers(2, 40), seed=st.integers(0, 1000))
def test_logits_states_loss_and_gradients(shape: DecoderShape, batch: int, length: int, seed: int) -> None:
    ours, theirs = random_pair(shape, seed)
    ids = torch.randint(shape.vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))
    logits, states = hidden_states(ours, ids)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    reference = theirs(ids, labels=ids, output_hidden_states=True)
    reference.loss.backward()

    torch.testing.assert_close(logits, reference.logits, atol=TOLERANCE, rtol=TOLERANCE)
    assert len(states) == len(reference.hidden_states)
    for mine, yours in zip(states, reference.hidden_states):
        torch.testing.assert_close(mine, yours, atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(loss, reference.loss, atol=TOLERANCE, rtol=TOLERANCE)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[qwen3.checkpoint_name(name)], atol=TOLERANCE, rtol=TOLERANCE, msg=name
        )


@settings(max_examples=10, deadline=None)
@given(shape=shapes(), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_cached_equals_full(shape: DecoderShape, cuts: list[int], seed: int) -> None:
    """Any split into prompt pieces and single tokens gives the logits of one pass; the cache may have room to spare."""
    ours, _ = random_pair(shape, seed)
    ids = torch.randint(shape.vocab_size, (2, sum(cuts)), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        cache = ours.new_cache(2, sum(cuts) + 3)
        pieces = [ours(piece, cache) for piece in ids.split(cuts, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), ours(ids), atol=TOLERANCE, rtol=TOLERANCE)
    assert cache.length == sum(cuts)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes())
def test_saved_folder_opens_in_transformers(tmp_path: Path, tiny_tokenizer: Tokenizer, shape: DecoderShape) -> None:
    """Without remote code, with equal logits; and our own reader gives back the same numbers."""
    shape = DecoderShape(**{**vars(shape), "vocab_size": tiny_tokenizer.vocab_size + 3})
    ours, _ = random_pair(shape, 1)
    save(tmp_path, ours, qwen3, tiny_tokenizer)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs) is Qwen3ForCausalLM and theirs.dtype == torch.float32
    ids = torch.randint(shape.vocab_size, (1, 30))
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=TOLERANCE, rtol=TOLERANCE)
        assert torch.equal(load(tmp_path)(ids), ours(ids))


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
