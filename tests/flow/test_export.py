"""`hanlin export`, `check export` and `show chat`: out and in again gives the same model, and peers agree."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import Answer, assert_four_lines

from hanlin.core.model.checkpoint_files import write_weights
from hanlin.core.model.families import llama
from hanlin.core.model.ggml import TYPES
from hanlin.core.model.gguf.writing import as_stored
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import save_model
from hanlin.core.model.weights import join, layout
from hanlin.core.text.tokenizer import Tokenizer

Command = Callable[..., Answer]


@pytest.mark.parametrize(("form", "dtype"), [("gguf", "f32"), ("hf", "float32"), ("gguf", "q8_0")])
def test_out_and_in_again(tiny_model_folder: Path, tmp_path: Path, command: Command, form: str, dtype: str) -> None:
    out = tmp_path / ("model.gguf" if form == "gguf" else "model")
    answer = command("export", tiny_model_folder, "--format", form, "--dtype", dtype, "--out", out)
    assert answer.code == 0, answer.err
    assert f"hanlin check export {out}" in answer.out
    before, after = open_model(tiny_model_folder, torch.float32), open_model(out, torch.float32)
    stored = as_stored(before, TYPES["f32" if form == "hf" else dtype])
    ids = torch.randint(before.model.vocab_size, (2, 20), generator=torch.manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(after(ids), stored(ids))
    assert after.tokenizer.encode("臺灣的茶") == before.tokenizer.encode("臺灣的茶")
    assert after.tokenizer.chat_template == before.tokenizer.chat_template
    assert after.stop_ids >= before.stop_ids


def test_round_the_houses_and_back(tiny_model_folder: Path, tmp_path: Path, command: Command) -> None:
    """Folder → GGUF → folder → GGUF: the last file is the first."""
    first, folder, last = tmp_path / "a.gguf", tmp_path / "b", tmp_path / "c.gguf"
    for source, form, dtype, out in (
        (tiny_model_folder, "gguf", "f32", first),
        (first, "hf", "float32", folder),
        (folder, "gguf", "f32", last),
    ):
        assert command("export", source, "--format", form, "--dtype", dtype, "--out", out).code == 0
    one, other = open_model(first), open_model(last)
    for name, value in one.model.named_parameters():
        assert torch.equal(value, other.model.get_parameter(name)), name
    assert one.model.config == other.model.config


@pytest.mark.parametrize("form", ["gguf", "hf"])
def test_peers_say_the_same(tiny_model_folder: Path, tmp_path: Path, command: Command, form: str) -> None:
    out = tmp_path / ("model.gguf" if form == "gguf" else "model")
    dtype = "f32" if form == "gguf" else "float32"
    assert command("export", tiny_model_folder, "--format", form, "--dtype", dtype, "--out", out).code == 0
    answer = command("check", "export", out)
    assert answer.code == 0, answer.err
    assert "llama.cpp" in answer.out and "Equal in llama.cpp and transformers." in answer.out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--format", "onnx"], "--format onnx is not known"),
        (["--dtype", "q4k"], "--dtype q4k is not known"),
        (["--format", "hf", "--dtype", "q4_k"], "--dtype q4_k is not known"),
        (["--out", "."], ". exists"),
    ],
)
def test_what_can_not_be_written(tiny_model_folder: Path, command: Command, words: list[str], part: str) -> None:
    assert_four_lines(command("export", tiny_model_folder, *words), part)


def test_a_model_that_is_none(tmp_path: Path, command: Command) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(50))
    assert_four_lines(command("export", tmp_path / "broken.gguf"), "not a readable GGUF file")
    assert_four_lines(command("generate", tmp_path / "broken.gguf", "x"), "not a readable GGUF file")
    assert_four_lines(command("check", "export", tmp_path / "nothing"), "has no config.json")


def test_a_model_without_a_template_is_not_asked_to_chat(
    tiny_model_folder: Path, tmp_path: Path, command: Command
) -> None:
    for file in tiny_model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for name in ("tokenizer_config.json", "generation_config.json"):
        settings = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        kept = {key: value for key, value in settings.items() if not key.startswith("chat_template")}
        (tmp_path / name).write_text(json.dumps(kept), encoding="utf-8")
    answer = command("chat", tmp_path)
    assert_four_lines(answer, "has no chat template")
    assert "hanlin generate" in answer.err


def test_rooms_take_a_gguf_file(life: Any, tiny_model_folder: Path, tmp_path: Path, command: Command) -> None:
    """What was exported can be fine-tuned, and the result opens."""
    from toy import FINETUNE, words_of, write_conversations

    file = tmp_path / "model.gguf"
    assert command("export", tiny_model_folder, "--dtype", "f32", "--out", file).code == 0
    data = write_conversations(tmp_path / "talk.jsonl")
    out = tmp_path / "runs" / "chat"
    answer = command("finetune", f"model={file}", f"data={data}", f"out={out}", *words_of(FINETUNE))
    assert answer.code == 0, answer.err
    assert open_model(out).model.num_parameters() == open_model(file).model.num_parameters()
    assert str(file) in command("lineage", out).out


def test_a_conversation_as_the_model_reads_it(tiny_model_folder: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "talk.json"
    messages = [{"role": "user", "content": "茶？"}, {"role": "assistant", "content": "好。<|im_end|>"}]
    file.write_text(json.dumps({"messages": messages}, ensure_ascii=False), encoding="utf-8")
    answer = command("show", "chat", tiny_model_folder, file, "--plain")
    assert answer.code == 0, answer.err
    assert "<|im_start|>user\n茶？<|im_end|>" in answer.out
    assert "【好。<|im_end|>】【<|im_end|>】" in answer.out, "a message that spells the stop token does not end there"
    assert "tokens" in answer.out and "trained" in answer.out
    file.write_text("[", encoding="utf-8")
    assert_four_lines(command("show", "chat", tiny_model_folder, file), "not a readable conversation")


CONVERT = """
import sys
from pathlib import Path
from hanlin.export import export_model
export_model(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), print)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds what a process makes for itself only there")
@pytest.mark.parametrize(("form", "dtype"), [("gguf", "q8_0"), ("hf", "float16")])
def test_converting_holds_a_shard_and_little_more(
    tmp_path: Path, tiny_tokenizer: Tokenizer, form: str, dtype: str
) -> None:
    """A model of 1.1 GB in six shards, in a process that may not have so much memory of its own."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": tiny_tokenizer.vocab_size,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 4,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }
    folder = tmp_path / "large"
    folder.mkdir()
    model = llama.build(config)
    size = sum(parameter.nbytes for parameter in model.parameters())
    save_model(folder, model, llama)
    for file in folder.glob("model*"):
        file.unlink()
    state = {name: value.detach() for name, value in model.named_parameters()}
    stored = {key: join(parts, state) for key, parts in layout(model, llama.NAMES).items()}
    write_weights(folder, stored.items(), {key: value.nbytes for key, value in stored.items()}, most=size // 6)
    tiny_tokenizer.save(folder)
    del model, state, stored

    limit = 2**30

    def bounded() -> None:
        """Memory the process makes for itself; files it maps don't count."""
        resource.setrlimit(resource.RLIMIT_DATA, (limit + size // 6, limit + size // 6))

    out = tmp_path / ("x.gguf" if form == "gguf" else "x")
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(folder), form, dtype, str(out)],
        capture_output=True,
        text=True,
        preexec_fn=bounded,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert size > limit and out.exists()
