"""T5 and mT5 here are transformers' own: logits, states of both stacks, loss, gradients, files, greedy texts; and
themselves, cached or padded.

Configs are drawn anew: head widths free of C/H, stacks of unequal depth, texts beyond the farthest distance that has a
bucket of its own, heads tied and not, scaled and not.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import gradients_of, ours_of, random_ids, randomise
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.models.t5.modeling_t5 import T5Attention

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.stream import generate_ids
from hanlin.core.model.checkpoint_files import WEIGHTS_FILE
from hanlin.core.model.encoder_decoder import EncoderDecoder
from hanlin.core.model.equality import compare_gradients, compare_states, difference, row_of, with_states, worst
from hanlin.core.model.families import t5
from hanlin.core.model.positions.relative import buckets
from hanlin.core.model.pretrained import CONFIG_FILE, Pretrained, load_model, save_model
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

TOLERANCE = 1e-5
BF16_BOUND = 0.03
"""As of the decoders, see test_decoders."""
START, STOP = 0, 1
BUCKETS = [(8, 6), (8, 20), (9, 11), (6, 40), (32, 17), (32, 128)]
"""(num_buckets, max_distance): odd, even, and far fewer than there are distances in the texts below."""

seeds = st.integers(0, 10_000)
bucketings = st.sampled_from(BUCKETS)
row_lengths = st.lists(st.integers(2, 30), min_size=2, max_size=4)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    num_buckets, max_distance = draw(bucketings)
    num_heads = draw(st.sampled_from([1, 2, 3]))
    return {
        "model_type": draw(st.sampled_from(["t5", "t5", "mt5"])),
        "vocab_size": draw(st.sampled_from([97, 320])),
        "d_model": draw(st.sampled_from([16, 24, 34])),
        "d_kv": draw(st.sampled_from([4, 8, 17])),
        "d_ff": draw(st.sampled_from([20, 48])),
        "num_layers": draw(st.integers(1, 3)),
        "num_decoder_layers": draw(st.sampled_from([None, 1, 2, 3])),
        "num_heads": num_heads,
        "relative_attention_num_buckets": num_buckets,
        "relative_attention_max_distance": max_distance,
        "layer_norm_epsilon": draw(st.sampled_from([1e-6, 1e-4])),
        # Not 1: scores without 1/√D and logits of unscaled states are then so large that float32 is the difference.
        "initializer_factor": draw(st.sampled_from([0.3, 0.5])),
        "feed_forward_proj": draw(st.sampled_from(["relu", "gated-gelu", "gated-silu", "gelu"])),
        "tie_word_embeddings": draw(st.booleans()),
        "decoder_start_token_id": START,
        "pad_token_id": START,
        "eos_token_id": STOP,
    }


heads = st.booleans()
"""Whether the head has numbers of its own. transformers 5 ties every T5's until it meets a checkpoint with two."""


def reference(values: dict[str, Any], own_head: bool, seed: int) -> PreTrainedModel:
    config = AutoConfig.for_model(**values)
    theirs = AutoModelForSeq2SeqLM.from_config(config, attn_implementation="eager")
    if own_head:
        theirs.lm_head.weight = nn.Parameter(torch.empty_like(theirs.lm_head.weight).normal_(0, 0.5))
    return randomise(theirs, seed)


class From:
    """An encoder-decoder with its source fixed, to be called with target ids alone."""

    def __init__(self, model: EncoderDecoder, source_ids: torch.Tensor, source_present: torch.Tensor | None = None):
        self.model, self.source_ids, self.source_present = model, source_ids, source_present
        self.state_modules = model.state_modules

    def __call__(self, target_ids: torch.Tensor) -> torch.Tensor:
        return self.model(self.source_ids, target_ids, self.source_present)


def sources(vocab_size: int, lengths: list[int], side: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and which of them are real."""
    places, sizes = torch.arange(max(lengths)), torch.tensor(lengths)[:, None]
    present = places >= max(lengths) - sizes if side == "left" else places < sizes
    return random_ids(vocab_size, len(lengths), max(lengths), seed), present


@settings(max_examples=25)
@given(configs(), heads, st.integers(1, 3), st.integers(2, 40), st.integers(2, 40), seeds)
def test_logits_states_loss_and_gradients(
    values: dict[str, Any], own_head: bool, batch: int, num_source: int, num_target: int, seed: int
) -> None:
    theirs = reference(values, own_head, seed)
    ours, family = ours_of(theirs)
    assert family is t5 and bool(ours.tied) != own_head and ours.num_parameters() == theirs.num_parameters()
    source, target = (random_ids(ours.vocab_size, batch, n, seed + n) for n in (num_source, num_target))
    labels = random_ids(ours.vocab_size, batch, num_target, seed + 1)

    logits, states = with_states(From(ours, source), target)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    found = theirs(source, decoder_input_ids=target, labels=labels, output_hidden_states=True)
    found.loss.backward()

    rows = [row_of("loss", loss, found.loss), row_of("logits", logits, found.logits)]
    rows += compare_states(states, [*found.encoder_hidden_states, *found.decoder_hidden_states])
    rows += compare_gradients(ours, gradients_of(theirs, ours, family))
    assert worst(rows).difference <= TOLERANCE, worst(rows)


@settings(max_examples=8)
@given(configs(), heads, row_lengths, st.sampled_from(["left", "right"]), seeds)
def test_padded_sources_train_alike(
    values: dict[str, Any], own_head: bool, lengths: list[int], side: str, seed: int
) -> None:
    theirs = reference(values, own_head, seed)
    ours, family = ours_of(theirs)
    source, present = sources(ours.vocab_size, lengths, side, seed)
    target = random_ids(ours.vocab_size, len(lengths), 12, seed)
    logits = ours(source, target, present)
    loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
    loss.backward()
    found = theirs(source, attention_mask=present.long(), decoder_input_ids=target, labels=target)
    found.loss.backward()
    rows = [row_of("loss", loss, found.loss), row_of("logits", logits, found.logits)]
    rows += compare_gradients(ours, gradients_of(theirs, ours, family))
    assert worst(rows).difference <= TOLERANCE, worst(rows)


@settings(max_examples=8)
@given(configs(), heads, row_lengths, st.sampled_from(["left", "right"]), seeds)
@torch.inference_mode()
def test_padded_rows_equal_rows_alone(
    values: dict[str, Any], own_head: bool, lengths: list[int], side: str, seed: int
) -> None:
    """Whatever stands in the padding: of sources on either side; of targets on the left, in one pass and with a
    cache."""
    ours, _ = ours_of(reference(values, own_head, seed))
    source, source_present = sources(ours.vocab_size, lengths, side, seed)
    target, target_present = sources(ours.vocab_size, lengths[::-1], "left", seed + 1)
    whole = ours(source, target, source_present, target_present)
    encoded, cache = ours.encode(source, source_present), ours.new_cache(*target.shape)
    pieces = torch.cat(
        [ours.decode(target[:, t : t + 1], encoded, cache, target_present[:, t : t + 1]) for t in range(max(lengths))],
        dim=1,
    )
    for row in range(len(lengths)):
        real = target_present[row]
        alone = ours(source[row][source_present[row]][None], target[row][real][None])[0]
        assert difference(whole[row][real], alone) <= TOLERANCE
        assert difference(pieces[row][real], alone) <= TOLERANCE


@settings(max_examples=10)
@given(configs(), heads, st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 30), seeds)
@torch.inference_mode()
def test_cached_equals_full(
    values: dict[str, Any], own_head: bool, cuts: list[int], num_source: int, seed: int
) -> None:
    """Any split of the target; the source's keys and values are worked out once a block, whatever is written."""
    ours, _ = ours_of(reference(values, own_head, seed))
    source = random_ids(ours.vocab_size, 2, num_source, seed)
    target = random_ids(ours.vocab_size, 2, sum(cuts), seed + 1)
    calls: list[nn.Module] = []
    for layer in ours.decoder.layers:
        layer.cross.k_proj.register_forward_hook(lambda module, given, out: calls.append(module))
        layer.cross.v_proj.register_forward_hook(lambda module, given, out: calls.append(module))
    cache, encoded = ours.new_cache(2, sum(cuts) + 3), ours.encode(source)
    pieces = torch.cat([ours.decode(piece, encoded, cache) for piece in target.split(cuts, dim=1)], dim=1)
    assert len(calls) == len(set(calls)) == 2 * len(ours.decoder.layers)
    assert difference(pieces, ours(source, target)) <= TOLERANCE
    assert cache.length == sum(cuts)


@settings(max_examples=5)
@given(configs(), heads, seeds)
@torch.inference_mode()
def test_bfloat16_is_close(values: dict[str, Any], own_head: bool, seed: int) -> None:
    theirs = reference(values, own_head, seed)
    ours, _ = ours_of(theirs)
    source, target = random_ids(ours.vocab_size, 2, 30, seed), random_ids(ours.vocab_size, 2, 24, seed + 1)
    exact = theirs(source, decoder_input_ids=target).logits
    rounded = ours.to(torch.bfloat16)(source, target).float()
    error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error <= BF16_BOUND


@settings(max_examples=8)
@given(
    values=configs(),
    own_head=heads,
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    stop_at=st.integers(0, 15),
    seed=seeds,
)
def test_what_the_engine_writes_is_their_generate(
    tiny_tokenizer: Tokenizer, values: dict[str, Any], own_head: bool, lengths: list[int], stop_at: int, seed: int
) -> None:
    """Several sources at once, with one of the ids the first would write as the stop. Theirs without a cache: its size
    is the encoder's depth."""
    theirs = reference(values, own_head, seed)
    ours, family = ours_of(theirs)
    sources = [random_ids(ours.vocab_size, 1, length, seed + number) for number, length in enumerate(lengths)]
    plain = Tokenizer(tiny_tokenizer.backend, {**tiny_tokenizer.settings, "chat_template": None})
    loaded = Pretrained(ours, plain, family, Path("t5"), {"eos_token_id": 10**9})
    sampling = GREEDY.model_copy(update={"max_tokens": 16})
    stop = list(generate_ids(loaded, sources[0][0].tolist(), sampling))[stop_at]
    engine = Engine(replace(loaded, generation={"eos_token_id": stop}))
    tickets = [engine.submit(source[0].tolist(), sampling) for source in sources]
    while engine.busy:
        engine.step()
    for ticket, source in zip(tickets, sources):
        found = theirs.generate(source, max_new_tokens=16, do_sample=False, use_cache=False, eos_token_id=stop)
        assert [START, *(piece.token for piece in ticket.pieces)] == found[0].tolist()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(configs(), heads, seeds)
@torch.inference_mode()
def test_what_is_saved_opens_in_transformers(tmp_path: Path, values: dict[str, Any], own_head: bool, seed: int) -> None:
    theirs = reference(values, own_head, seed)
    ours, family = ours_of(theirs)
    save_model(tmp_path, ours, family)
    reopened = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(reopened) is type(theirs)
    source, target = random_ids(ours.vocab_size, 2, 30, seed), random_ids(ours.vocab_size, 2, 9, seed)
    assert difference(ours(source, target), reopened(source, decoder_input_ids=target).logits) <= TOLERANCE
    assert torch.equal(load_model(tmp_path)[0](source, target), ours(source, target))


OLD: dict[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "vocab_size": 50,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 20,
    "num_layers": 2,
    "num_heads": 2,
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "is_encoder_decoder": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
"""As the configs of the published T5 are: what is not said has T5's defaults."""
OLD_1_1 = {**OLD, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


@pytest.mark.parametrize("config", [OLD, OLD_1_1], ids=["1.0", "1.1"])
@torch.inference_mode()
def test_published_configs_and_what_old_files_carry(tmp_path: Path, config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = t5.build(config)
    assert bool(model.tied) == (config is OLD) and model.head_scale == (0.25 if config is OLD else 1.0)
    save_model(tmp_path, model, t5)
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    for stack in ("encoder", "decoder"):
        tensors[f"{stack}.embed_tokens.weight"] = tensors["shared.weight"].clone()
    tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.ones(32, 2)
    save_file(tensors, tmp_path / WEIGHTS_FILE, metadata={"format": "pt"})
    source, target = random_ids(50, 2, 150, 0), random_ids(50, 2, 140, 1)
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, attn_implementation="eager")
    ours = load_model(tmp_path)[0]
    assert difference(ours(source, target), theirs(source, decoder_input_ids=target).logits) <= TOLERANCE


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"is_decoder": True}, "is_decoder"),
        ({"is_encoder_decoder": False}, "is_encoder_decoder"),
        ({"tie_encoder_decoder": True}, "tie_encoder_decoder"),
        ({"feed_forward_proj": "gated-unheard-of"}, "unheard-of"),
        ({"relative_attention_num_buckets": 3}, "3 buckets"),
        ({"relative_attention_max_distance": 8}, "up to 8"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, change: dict[str, Any], part: str) -> None:
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**OLD, **change}))
    with pytest.raises(HanlinError, match=part):
        load_model(tmp_path)


@settings(max_examples=50)
@given(bucketings, st.booleans())
def test_buckets_are_theirs(bucketing: tuple[int, int], bidirectional: bool) -> None:
    """To the last bit, where the logarithm comes out whole."""
    distance = torch.arange(-300, 300)
    theirs = T5Attention._relative_position_bucket(-distance, bidirectional, *bucketing)
    assert torch.equal(buckets(distance, *bucketing, bidirectional), theirs)
