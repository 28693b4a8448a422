"""An engine's adapters: opened beside its base, each with the tokenizer and the stop tokens it was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.core.generate.kernels.apply import shared_copy
from hanlin.core.generate.speculate.draft import first_difference
from hanlin.core.model.adapters.attach import adapters_of
from hanlin.core.model.adapters.base import is_adapter, read_base, refuse_other_base
from hanlin.core.model.adapters.folder import read_adapter
from hanlin.core.model.adapters.lora import Adapter
from hanlin.core.model.adapters.switched import BASE, Assigned, put_switched
from hanlin.core.model.opening import locate_model, own_tokenizer
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError, RequestError, did_you_mean
from hanlin.core.text.tokenizer import Tokenizer

MORE = "docs/adapters.md"


def beside(loaded: Pretrained, addresses: Mapping[str, Path | str]) -> tuple[dict[str, Pretrained], Assigned]:
    """What a request can ask for, by name, BASE for the base alone; and where each pass says what its texts asked for.
    All share one model, a copy of the base's tree over the same numbers.

    addresses: name → a PEFT folder, or where one is to be had. Raises HanlinError for an adapter of another base, of
    another vocabulary, or of 4-bit matrices.
    """
    if not addresses:
        return {BASE: loaded}, Assigned()
    _refuse_names(loaded, addresses)
    known, adapters = {BASE: loaded}, {}
    for name, address in addresses.items():
        folder = locate_model(address)
        known[name], adapters[name] = _open(folder, loaded)
    model: Any = shared_copy(loaded.model)
    assigned = put_switched(model, adapters)
    return {name: replace(one, model=model) for name, one in known.items()}, assigned


def unknown_adapter(name: str, known: Mapping[str, Any]) -> RequestError:
    names = [other for other in known if other != BASE]
    return RequestError(
        f'No adapter is called "{name}".',
        did_you_mean(name, names) if names else "a request without an adapter: this engine has none",
        "hanlin.engine(model, adapters={NAME: FOLDER})",
        MORE,
    )


def _refuse_names(loaded: Pretrained, addresses: Mapping[str, Any]) -> None:
    if BASE in addresses:
        raise HanlinError("An adapter has no name.", "a name by which requests ask for it", "name it", MORE)
    if adapters_of(loaded.model):
        raise HanlinError(
            f"{loaded.path} has an adapter in it already.",
            "the base alone, with all adapters beside it",
            "open the base, and give the engine its adapters by name",
            MORE,
        )


def _open(folder: Path, loaded: Pretrained) -> tuple[Pretrained, dict[str, Adapter]]:
    if not is_adapter(folder):
        raise HanlinError(
            f"{folder} is no adapter.",
            "a PEFT folder: adapter_config.json and adapter_model.safetensors",
            "hanlin finetune tune=lora …  makes one",
            MORE,
        )
    _refuse_other_base(folder, loaded)
    adapters, _ = read_adapter(folder, loaded.model, loaded.family, loaded.model.get_parameter)
    tokenizer, generation = own_tokenizer(folder, loaded.model, loaded.tokenizer, loaded.generation)
    _refuse_other_vocabulary(folder, tokenizer, loaded)
    return Pretrained(loaded.model, tokenizer, loaded.family, folder, generation), adapters


def _refuse_other_base(folder: Path, loaded: Pretrained) -> None:
    recorded = read_base(folder)
    if recorded is None:
        return
    refuse_other_base(folder, loaded.path)
    if recorded.four_bit:
        raise HanlinError(
            f"{folder} was trained beside matrices in 4 bits; this base has others.",
            "adapters of the base as it is",
            f"hanlin merge adapter={folder} out=FOLDER, and open the merged model by itself",
            MORE,
        )


def _refuse_other_vocabulary(folder: Path, tokenizer: Tokenizer, loaded: Pretrained) -> None:
    theirs, ours = (
        dict[str, int](one.backend.get_vocab(with_added_tokens=True)) for one in (tokenizer, loaded.tokenizer)
    )
    different = first_difference(theirs, ours)
    if different:
        raise HanlinError(
            f"{folder} has another tokenizer than {loaded.path}: {different!r} is "
            f"{theirs.get(different, 'unknown')} there and {ours.get(different, 'unknown')} here.",
            "an adapter whose tokens mean the same",
            f"hanlin merge adapter={folder} out=FOLDER, and open the merged model by itself",
            MORE,
        )
