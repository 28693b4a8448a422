"""Replies of a given form, by llguidance (https://github.com/guidance-ai/llguidance): JSON schema, regular expression,
Lark grammar, or one of several texts. A mask says which tokens can still lead to such a reply."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch

from hanlin.core.generate.constrain.vocabulary import Vocabulary
from hanlin.core.generate.sampling import Sampling
from hanlin.core.run.errors import HanlinError, RequestError
from hanlin.core.text.json_schema import JSON_OPTIONS, with_ascii_refs

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

NO_FORCING = '%llguidance {"no_forcing": true}\n'
PAGE = "docs/constrain.md"
NO_TOKEN = "no token of the model's vocabulary leads on"
ADVICE = (
    ("Unimplemented keys", "leave these keywords out of the schema, and ask for what they say in the prompt"),
    ("oneOf", "write anyOf, or give each alternative a property whose const tells it from the others"),
    ("Unknown format", "write the format as a pattern"),
    ("look", "write it without look-ahead, look-behind and \\b"),
    ("Unsatisfiable", "change what contradicts itself"),
    ("not present in a registry", "copy the other schema into $defs"),
    ("recursion", "nest it less deeply"),
)
"""(part of what llguidance says, what to do)."""


class Grammar:
    """The constraint of one reply. Raises HanlinError as soon as no token leads to a reply of this form.

    matcher: llguidance's. It allows the stop tokens where the reply may end.
    """

    def __init__(self, vocabulary: Vocabulary, matcher: LLMatcher):
        self._vocabulary, self._matcher = vocabulary, matcher
        self._num_accepted = self._num_stops = 0

    def allowed(self) -> torch.Tensor:
        """(V,) bool."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        bits_V = np.unpackbits(bits, count=self._vocabulary.size, bitorder="little").view(np.bool_)
        allowed_V = torch.from_numpy(bits_V)
        if self._at_start:
            same_V = self._vocabulary.same_as_first
            allowed_V = allowed_V[same_V] & (same_V >= 0)
            if not allowed_V.any():
                raise no_way_on(NO_TOKEN)
        return allowed_V

    def accept(self, token: int) -> None:
        if token in self._vocabulary.stop_ids:
            # It ends the reply whatever the form. llguidance counts it at some ends and not at others.
            self._num_stops += 1
            return
        self._matcher.consume_token(int(self._vocabulary.same_as_first[token]) if self._at_start else token)
        self._check()
        self._num_accepted += 1

    def rollback(self, num_tokens: int) -> None:
        num_stops = min(num_tokens, self._num_stops)
        self._num_stops -= num_stops
        self._num_accepted -= num_tokens - num_stops
        self._matcher.rollback(num_tokens - num_stops)
        self._check()

    @property
    def _at_start(self) -> bool:
        return not self._num_accepted and bool(self._vocabulary.first)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise no_way_on(_line(self._matcher.get_error()))


def no_way_on(reason: str) -> HanlinError:
    """Nothing is allowed, or llguidance gave up."""
    return RequestError(
        f"The reply can't be given the form asked for: {NO_TOKEN if 'NoExtension' in reason else reason}.",
        "a form that the model's tokens can spell",
        "change the schema, regex, grammar or choices",
        f"{PAGE}#when-something-is-refused",
    )


def grammar_of(sampling: Sampling, vocabulary: Vocabulary) -> Grammar | None:
    """None where no form is asked for. Raises HanlinError for one that can't be read or is not supported."""
    option = next((name for name in ("json_schema", "regex", "grammar", "choices") if getattr(sampling, name)), None)
    if option is None:
        return None
    llguidance = _llguidance(option)
    try:
        source = _source(llguidance, option, getattr(sampling, option))
    except HanlinError:
        raise
    except (ValueError, RecursionError) as error:  # no JSON, half a character, nested without end
        raise _refused(option, f"{error}") from None
    # Verbose errors would tell a request what others wrote, should the text of one get into a log.
    limits = llguidance.LLParserLimits(verbose_errors=False)
    source = source if vocabulary.spells_everything else _without_forcing(source)
    matcher = llguidance.LLMatcher(_tokenizer(llguidance, vocabulary), source, log_level=0, limits=limits)
    if matcher.is_error():
        raise _refused(option, matcher.get_error())
    return Grammar(vocabulary, matcher)


def _source(llguidance: Any, option: str, text: Any) -> str:
    """What LLMatcher reads."""
    if option == "json_schema":
        return llguidance.LLMatcher.grammar_from_json_schema(_schema(text), defaults=JSON_OPTIONS)
    if option == "regex":
        return llguidance.LLMatcher.grammar_from_regex(text)
    if option == "choices":
        # Lark's strings are JSON's. A terminal (in capitals) may have any number of alternatives, a rule 2,000.
        text = "start: CHOICE\nCHOICE: " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in text)
    return llguidance.LLMatcher.grammar_from_lark(text)


def _without_forcing(source: str) -> str:
    """Where a grammar leaves no choice, llguidance asks for the tokens of that text, and has to get some. A vocabulary
    without bytes may have none, or only tokens that reach beyond it (a space is part of the next word)."""
    if not source.startswith('{"grammars":'):  # Lark stays as it is
        return NO_FORCING + source
    grammars = json.loads(source)["grammars"]
    name = grammars[0]["name"]
    return json.dumps({"grammars": [{"lark_grammar": f"{NO_FORCING}start: @{name}"}, *grammars]})


def _schema(text: str) -> dict[str, Any]:
    schema = json.loads(text)
    if isinstance(schema, bool):  # everything, or nothing
        schema = {} if schema else {"enum": []}
    if not isinstance(schema, dict):
        raise _refused("json_schema", f"it is a {type(schema).__name__}, not an object")
    return with_ascii_refs(schema)


def _refused(option: str, reason: str) -> HanlinError:
    reason = _line(reason)
    advice = next((advice for part, advice in ADVICE if part in reason), "correct it where the message points")
    return RequestError(f"{option}: {reason}", "a form that is supported", advice, f"{PAGE}#when-something-is-refused")


def _line(reason: str) -> str:
    """llguidance draws arrows below the place; an error here is four lines."""
    return " ".join(reason.removesuffix("<non-verbose/>").split())


def _llguidance(option: str) -> Any:
    try:
        import llguidance
    except ImportError:
        raise RequestError(
            f"{option} needs llguidance.", "the extra constrain", 'pip install "hanlin[constrain]"', PAGE
        ) from None
    return llguidance


_TOKENIZERS: WeakKeyDictionary[Vocabulary, LLTokenizer] = WeakKeyDictionary()


def _tokenizer(llguidance: Any, vocabulary: Vocabulary) -> LLTokenizer:
    """Made once for a vocabulary: a second for 262,144 tokens."""
    if vocabulary not in _TOKENIZERS:
        words = _Words(vocabulary)
        # Its slices, prepared masks of common classes, would double the second and save a twentieth of later ones.
        _TOKENIZERS[vocabulary] = llguidance.LLTokenizer(words, eos_token=sorted(vocabulary.stop_ids), slices=[])
        words.tokens = []  # it has its own copy and keeps `words`
    return _TOKENIZERS[vocabulary]


class _Words:
    """A vocabulary in the shape llguidance takes; the attributes' names are its own."""

    is_tokenizer_wrapper = True

    def __init__(self, vocabulary: Vocabulary):
        self.tokens = [vocabulary.special.get(token, text) for token, text in enumerate(vocabulary.texts)]
        self.special_token_ids = sorted(vocabulary.special)
        self.eos_token_id = min(vocabulary.stop_ids)
        self.bos_token_id = None
        self._vocabulary = ref(vocabulary)

    def __call__(self, text: str) -> list[int]:
        """Asked where a grammar leaves no choice of text: these tokens alone are allowed then."""
        vocabulary = self._vocabulary()
        return [] if vocabulary is None else vocabulary.encode(text)
