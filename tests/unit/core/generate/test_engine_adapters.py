"""Texts of one batch with different adapters and none: each is what its own merged model writes alone, by ids and by
log-probabilities; in chunks, shared, guessed, on every kind of model. And PEFT says the same."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import ours_of
from tiny_families import CONFIGS, tiny_model
from toy import small_decoder
from transformers import AutoConfig, AutoModelForCausalLM

import hanlin
from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.text import Ticket
from hanlin.core.model.adapters.attach import Lora, attach
from hanlin.core.model.adapters.base import BASE_FILE, Base, base_of
from hanlin.core.model.adapters.folder import write_adapter
from hanlin.core.model.adapters.merging import merge_adapter
from hanlin.core.model.families import qwen3, t5
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.run.errors import HanlinError, RequestError
from hanlin.core.text.tokenizer import Tokenizer

TIE = 1e-4
"""Logits this close are equal: which of two comes first may hang on rounding."""
MERGED = 1e-5
"""Log-probabilities of the switched model and the merged one."""

OPTIONS = {
    "wide": Lora(rank=4, alpha=12),
    "rslora": Lora(rank=2, alpha=6, targets=("all-linear", "embed_tokens", "lm_head"), rslora=True),
    "dora": Lora(rank=3, alpha=6, dora=True),
}
KINDS = [*CONFIGS, "t5"]


def given(folder: Path, loaded: Pretrained, options: Lora, seed: int) -> Pretrained:
    """Writes a random adapter of the model; the model with it merged."""
    model = copy.deepcopy(loaded.model)
    attach(model, loaded.family, options, seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.1, generator=random))
    write_adapter(folder, model, loaded.family, options, Base("base", ""), loaded.tokenizer, loaded.generation)
    (folder / BASE_FILE).unlink()  # as PEFT writes it: the toy lies on no disk
    return replace(loaded, model=merge_adapter(model, loaded.family).eval())


def all_given(
    folder: Path, loaded: Pretrained, kinds: dict[str, Lora] = OPTIONS
) -> tuple[dict[str, Path], dict[str, Pretrained]]:
    addresses = {name: folder / name for name in kinds}
    for address in addresses.values():
        address.mkdir()
    made = {name: given(addresses[name], loaded, one, seed) for seed, (name, one) in enumerate(kinds.items())}
    return addresses, {"": loaded, **made}


def base_model(kind: str, tokenizer: Tokenizer) -> Pretrained:
    if kind != "t5":
        return tiny_model(kind, tokenizer)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "initializer_factor": 0.3}
    config = AutoConfig.for_model("t5", vocab_size=tokenizer.vocab_size, pad_token_id=0, **sizes)
    torch.manual_seed(0)
    model = t5.build({**config.to_dict(), "decoder_start_token_id": 0}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    return Pretrained(model, tokenizer, t5, Path("t5"), {"eos_token_id": tokenizer.eos_id, "decoder_start_token_id": 0})


def prompts_of(lengths: Sequence[int], vocab_size: int) -> list[list[int]]:
    """All begin alike, so that adapters could mistake each other's blocks for their own."""
    random = torch.Generator().manual_seed(1)
    beginning = torch.randint(4, vocab_size, (16,), generator=random).tolist()
    return [beginning + torch.randint(4, vocab_size, (length,), generator=random).tolist() for length in lengths]


def ask(engine: Engine, asked: Sequence[tuple[list[int], str]], max_tokens: int = 8) -> list[Ticket]:
    """The second half joins when the first is under way."""
    sampling = GREEDY.model_copy(update={"max_tokens": max_tokens, "top_logprobs": 3})
    tickets = [engine.submit(prompt, sampling, adapter=adapter) for prompt, adapter in asked[::2]]
    engine.step()
    tickets += [engine.submit(prompt, sampling, adapter=adapter) for prompt, adapter in asked[1::2]]
    while engine.busy:
        engine.step()
    return tickets


@torch.inference_mode()
def check(ticket: Ticket, merged: Pretrained) -> None:
    """Each token is the merged model's likeliest, by one full pass, and has its log-probability there."""
    assert ticket.error is None, ticket.error
    reply = [piece.token for piece in ticket.pieces]
    assert reply
    if hasattr(merged.model, "encoder"):
        model: Any = merged.model
        logits_TV = model(torch.tensor([ticket.prompt]), torch.tensor([[merged.start_id, *reply[:-1]]]))[0]
    else:
        logits_TV = merged.model(torch.tensor([ticket.prompt + reply[:-1]]))[0, len(ticket.prompt) - 1 :]
    expected_TV = logits_TV.log_softmax(-1)
    for piece, expected_V in zip(ticket.pieces, expected_TV):
        assert expected_V.max() - expected_V[piece.token] <= TIE, ticket.adapter
        assert piece.logprobs is not None
        assert piece.logprobs.own == pytest.approx(float(expected_V[piece.token]), abs=MERGED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("speculate", ["", "lookup"])
def test_each_text_has_its_own_adapter(kind: str, speculate: str, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    loaded = base_model(kind, tiny_tokenizer)
    kinds = OPTIONS if kind != "t5" else {**OPTIONS, "rslora": Lora(rank=2, alpha=6, rslora=True)}
    addresses, merged = all_given(tmp_path, loaded, kinds)
    options = EngineOptions(block_tokens=4, chunk_tokens=7, speculate=speculate)
    engine = Engine(loaded, options, addresses)
    names = ["", *kinds]
    asked = [
        (prompt, names[number % len(names)]) for number, prompt in enumerate(prompts_of([3, 3, 9, 1, 5, 2, 4, 4], 500))
    ]
    for ticket in ask(engine, asked):
        check(ticket, merged[ticket.adapter])
    engine.close()


def test_one_prompt_with_each_adapter(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    """Blocks read with one are never another's; asked again, each finds its own."""
    loaded = tiny_model("qwen3", tiny_tokenizer)
    addresses, merged = all_given(tmp_path, loaded)
    engine = Engine(loaded, EngineOptions(block_tokens=4), addresses)
    (prompt,) = prompts_of([9], 500)
    first = [ask(engine, [(prompt, name)])[0] for name in merged]
    again = ask(engine, [(prompt, name) for name in merged])
    assert [ticket.num_shared for ticket in first] == [0] * 4
    assert [ticket.num_shared for ticket in again] == [24] * 4
    for ticket in (*first, *again):
        check(ticket, merged[ticket.adapter])
    assert len({tuple(piece.token for piece in ticket.pieces) for ticket in first}) == 4


def test_recurrent_states_are_kept_apart(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("mamba", tiny_tokenizer)
    addresses, merged = all_given(tmp_path, loaded)
    engine = Engine(loaded, EngineOptions(), addresses)
    (prompt,) = prompts_of([9], 500)
    for number in range(2):
        for ticket in [ask(engine, [(prompt, name)])[0] for name in merged]:
            assert ticket.num_shared == (24 if number else 0)
            check(ticket, merged[ticket.adapter])


def test_the_first_layers_guess_with_the_adapter_too(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("mixtral", tiny_tokenizer)
    addresses, merged = all_given(tmp_path, loaded)
    engine = Engine(loaded, EngineOptions(speculate="early", early_layers=2), addresses)
    tickets = ask(engine, list(zip(prompts_of([3, 4, 5, 6], 500), merged)))
    for ticket in tickets:
        check(ticket, merged[ticket.adapter])
    assert sum(ticket.num_drafted for ticket in tickets)


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4", "auto"])
def test_beside_other_number_formats(weights: str, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    """The base is rounded and the adapter is not: as near to the merged model as the base is to its own."""
    loaded = tiny_model("qwen3", tiny_tokenizer)
    addresses, merged = all_given(tmp_path, loaded)
    plain = Engine(loaded, EngineOptions(), addresses)
    rounded = Engine(loaded, EngineOptions(weights=weights), addresses)
    ids_BT = torch.tensor(prompts_of([4, 4, 4, 4], 500))
    states = []
    for engine in (plain, rounded):
        engine.passes._assigned.assign([*merged])
        with torch.inference_mode():
            states.append(engine.model.hidden(ids_BT))
    off_B = (states[0] - states[1]).square().mean((1, 2)).sqrt() / states[0].square().mean((1, 2)).sqrt()
    assert 0 < off_B.max() < (0.5 if weights == "int4" else 0.1), off_B
    assert off_B[1:].max() < 2 * off_B[0] + 0.01
    for ticket in ask(rounded, list(zip(ids_BT.tolist(), merged))):
        assert ticket.error is None and ticket.pieces


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_equal_to_peft(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    """Its own folder, its own outputs; ranks and alphas that differ, some layers without."""
    import peft

    sizes = {**CONFIGS["qwen3"][1], "vocab_size": tiny_tokenizer.vocab_size, "pad_token_id": None}
    config = AutoConfig.for_model("qwen3", **sizes)
    torch.manual_seed(0)
    theirs_base = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    ours, family = ours_of(theirs_base)
    loaded = Pretrained(ours, tiny_tokenizer, family, Path("qwen3"), {"eos_token_id": 10**9})
    options = {
        "law": peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], rank_pattern={"q_proj": 2}),
        "news": peft.LoraConfig(r=3, lora_alpha=9, target_modules=["v_proj", "up_proj"], layers_to_transform=[1]),
    }
    theirs = {}
    for seed, (name, one) in enumerate(options.items()):
        theirs[name] = peft.get_peft_model(copy.deepcopy(theirs_base), one).eval()
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for key, parameter in theirs[name].named_parameters():
                if "lora_" in key:
                    parameter.normal_(0, 0.2, generator=random)
        theirs[name].save_pretrained(tmp_path / name)
    engine = Engine(loaded, EngineOptions(), {name: tmp_path / name for name in options})
    prompts = prompts_of([5, 6, 7], 500)
    for ticket in ask(engine, list(zip(prompts, ["law", "news", ""]))):
        model = theirs.get(ticket.adapter, theirs_base)
        ids = torch.tensor([ticket.prompt + [piece.token for piece in ticket.pieces]])
        with torch.inference_mode():
            expected_TV = model(ids).logits[0, len(ticket.prompt) - 1 : -1].log_softmax(-1)
        for piece, expected_V in zip(ticket.pieces, expected_TV):
            assert piece.logprobs is not None
            assert piece.logprobs.own == pytest.approx(float(expected_V[piece.token]), abs=MERGED)


@pytest.fixture
def on_disk(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Pretrained:
    model = small_decoder(vocab_size=tiny_tokenizer.vocab_size)
    (tmp_path / "base").mkdir()
    save(tmp_path / "base", model, qwen3, tiny_tokenizer)
    return hanlin.load(tmp_path / "base")


def written(folder: Path, loaded: Pretrained, tokenizer: Tokenizer, base: Base) -> Path:
    folder.mkdir()
    model = copy.deepcopy(loaded.model)
    attach(model, qwen3, Lora(rank=2))
    write_adapter(folder, model, qwen3, Lora(rank=2), base, tokenizer, {"eos_token_id": 7})
    return folder


def test_an_adapter_brings_its_own_stop_tokens_and_template(on_disk: Pretrained, tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer = Tokenizer(on_disk.tokenizer.backend, {**on_disk.tokenizer.settings, "chat_template": template})
    folder = written(tmp_path / "law", on_disk, tokenizer, base_of(on_disk.path))
    engine = hanlin.engine(on_disk, adapters={"law": folder}, max_streams=2)
    assert 7 in engine.known["law"].stop_ids and 7 not in engine.known[""].stop_ids
    question, options = [{"role": "user", "content": "台灣"}], {"temperature": 0, "max_tokens": 6}
    alone = list(hanlin.chat(hanlin.load(folder), question, **options))
    assert list(hanlin.chat(engine, question, adapter="law", **options)) == alone
    assert list(hanlin.chat(engine, question, **options)) != alone
    chosen = GREEDY.model_copy(update={"choices": ("玉山",), "max_tokens": 30})
    last = list(engine.stream(tokenizer.encode("台灣"), chosen, adapter="law"))[-1]
    assert (last.finish, last.token) == ("stop", 7), "a form ends with the adapter's own stop token"


def test_what_an_engine_refuses(on_disk: Pretrained, tmp_path: Path) -> None:
    tokenizer, base = on_disk.tokenizer, base_of(on_disk.path)
    law = written(tmp_path / "law", on_disk, tokenizer, base)
    engine = Engine(on_disk, EngineOptions(), {"law": law})
    with pytest.raises(RequestError, match=r'"lay".*\n.*law'):
        engine.submit([5, 6], GREEDY, adapter="lay")
    with pytest.raises(RequestError, match="has none"):
        Engine(on_disk).submit([5, 6], GREEDY, adapter="law")
    with pytest.raises(HanlinError, match="has none"):
        list(hanlin.generate(on_disk, "台灣", adapter="law"))
    four_bit = written(tmp_path / "four", on_disk, tokenizer, replace(base, four_bit="nf4"))
    other = written(tmp_path / "other", on_disk, tokenizer, replace(base, sha256="0" * 64))
    for folder, message in [(four_bit, "4 bits"), (other, "sha256"), (on_disk.path, "no adapter")]:
        with pytest.raises(HanlinError, match=message):
            Engine(on_disk, EngineOptions(), {"one": folder})
    with pytest.raises(HanlinError, match="no name"):
        Engine(on_disk, EngineOptions(), {"": law})
    attach(on_disk.model, qwen3, Lora(rank=2))
    with pytest.raises(HanlinError, match="in it already"):
        Engine(on_disk, EngineOptions(), {"law": law})
