"""Preference rows equal what TRL's data functions make of the same objects: prompts found in the replies, pairs taken
apart into judged replies, sharegpt turned into messages.

TRL's `extract_prompt` and `unpair_preference_dataset`, https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from hypothesis import given
from hypothesis import strategies as st
from samples import assistant, system, user
from trl.data_utils import (
    extract_prompt,
    maybe_convert_to_chatml,
    maybe_extract_prompt,
    unpair_preference_dataset,
)

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.layouts import row_from

disable_progress_bar()

TEXTS = st.text("台灣山水 ab？。", min_size=1, max_size=6)


def row(value: dict[str, Any]) -> Row:
    return row_from(value, "1", "rows.jsonl, line 1")


@given(
    st.lists(st.tuples(TEXTS, TEXTS), max_size=2),
    TEXTS,
    st.lists(TEXTS, min_size=2, max_size=2, unique=True),
    st.booleans(),
)
def test_the_prompt_that_lists_of_messages_share(turns, question, replies, has_system):
    shared = [system("簡短")] if has_system else []
    for asked, answered in turns:
        shared += [user(asked), assistant(answered)]
    shared.append(user(question))
    value = {key: [*shared, assistant(text)] for key, text in zip(("chosen", "rejected"), replies)}
    theirs = extract_prompt(value)
    for given_too in ({}, {"prompt": question}):
        ours = row(value | given_too)
        assert maybe_extract_prompt(value | given_too) == theirs
        assert [list(ours.messages), list(ours.chosen), list(ours.rejected)] == list(theirs.values())


@given(TEXTS, st.lists(TEXTS, min_size=2, max_size=2, unique=True))
def test_the_prompt_that_texts_share(question, replies):
    """Where TRL finds one: it takes a text that begins another for longer than it is, and a blank for a prompt."""
    value = {"chosen": question + replies[0], "rejected": question + replies[1]}
    theirs = extract_prompt(value)
    ours = row(value)
    if value["chosen"].startswith(value["rejected"]) or value["rejected"].startswith(value["chosen"]):
        assert ours.reason or all(message["content"] for message in ours.all_messages)
    elif not theirs["prompt"].strip():
        assert ours.reason == "no prompt"
    else:
        assert [turn["content"] for turn in ours.all_messages] == list(theirs.values())


def test_a_pair_taken_apart():
    pair = {"prompt": "天空是", "chosen": "藍色的。", "rejected": "綠色的。"}
    theirs = unpair_preference_dataset(Dataset.from_list([pair])).to_list()
    ours = row(pair)
    for judged, replies in zip(theirs, (ours.chosen, ours.rejected), strict=True):
        read = row(judged)
        assert read.messages == ours.messages
        assert (read.chosen or read.rejected) == replies
        assert bool(read.chosen) == judged["label"]


@pytest.mark.parametrize("key", ["conversations", "messages"])
def test_sharegpt(key):
    value = {key: [{"from": "user", "value": "天空？"}, {"from": "assistant", "value": "藍色。"}]}
    assert list(row(value).messages) == maybe_convert_to_chatml(deepcopy(value))["messages"]
