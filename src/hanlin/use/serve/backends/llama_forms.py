"""A reply's form for llama.cpp: a Lark grammar with the head by which it hands one to llguidance.
https://github.com/ggml-org/llama.cpp/blob/master/docs/llguidance.md"""

from __future__ import annotations

import json

from hanlin.core.generate.sampling import Sampling
from hanlin.core.run.errors import RequestError
from hanlin.core.text.json_schema import with_ascii_refs

HEAD = "%llguidance {}\n"
SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""`JSON_OPTIONS` for the llguidance inside xllamacpp, which takes separators as they are and not as expressions."""
PAGE = "docs/constrain.md"


def form_of(sampling: Sampling) -> str:
    """The grammar's text; "" for a free reply. Raises RequestError for what llguidance can't read: llama.cpp itself
    would only print it and write on without a form."""
    lark = _lark(sampling)
    if not lark:
        return ""
    try:
        from llguidance import LLMatcher
    except ImportError:
        raise RequestError(
            "A reply's form needs llguidance.", "the extra constrain", 'pip install "hanlin[constrain]"', PAGE
        ) from None
    if reason := LLMatcher.validate_grammar(HEAD + lark):
        raise RequestError(
            f"The reply's form: {' '.join(reason.split())}", "a form that is supported", "correct it", PAGE
        )
    return HEAD + lark


def _lark(sampling: Sampling) -> str:
    if sampling.json_schema:
        try:
            schema = json.loads(sampling.json_schema)
        except ValueError as error:
            raise RequestError(f"json_schema: {error}", "a schema in JSON", "correct it", PAGE) from None
        if isinstance(schema, bool):
            schema = {} if schema else {"enum": []}
        schema = {"x-guidance": SPACING, **with_ascii_refs(schema)}
        return f"start: %json {json.dumps(schema, ensure_ascii=False)}\n"
    if sampling.regex:
        escaped = sampling.regex.replace("\\/", "/").replace("/", "\\/").replace("\n", "\\n")
        return f"start: /{escaped}/\n"
    if sampling.choices:
        return "start: CHOICE\nCHOICE: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in sampling.choices)
    return sampling.grammar
