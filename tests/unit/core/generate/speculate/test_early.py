"""The first layers as a model of their own, over the model's own cache."""

from __future__ import annotations

import pytest
import torch
from tiny_families import CONTEXT, tiny_model

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.speculate.early import first_layers, num_early
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer


def test_the_first_layers_leave_the_model_as_it_was(tiny_tokenizer: Tokenizer) -> None:
    model = tiny_model("gemma3", tiny_tokenizer).model
    ids = torch.arange(24).view(2, 12)
    whole = model(ids)
    shallow = first_layers(model, 2)
    assert len(shallow.layers) == 2 and len(model.layers) == 3
    assert not torch.equal(shallow(ids), whole)
    assert shallow.lm_head is model.lm_head and shallow.entry is model.entry
    assert torch.equal(model(ids), whole)


def test_layers_that_add_nothing_make_every_guess_right(tiny_tokenizer: Tokenizer) -> None:
    """The last block's outputs are zero, so the first two are the whole model."""
    loaded = tiny_model("qwen3", tiny_tokenizer)
    with torch.no_grad():
        loaded.model.layers[2].attention.o_proj.weight.zero_()
        loaded.model.layers[2].mlp.down_proj.weight.zero_()
    options = EngineOptions(max_streams=1, cache_tokens=CONTEXT, speculate="early", early_layers=2, num_draft=5)
    engine = Engine(loaded, options)
    ticket = engine.submit([5, 6, 7], GREEDY.model_copy(update={"max_tokens": 30}))
    steps = 0
    while not ticket.done:
        engine.step()
        steps += 1
    assert ticket.num_accepted == ticket.num_drafted > 0
    assert steps <= 1 + -(-len(ticket.pieces) // 6)


@pytest.mark.parametrize(("num_layers", "asked", "count"), [(2, 0, 1), (6, 0, 2), (26, 0, 9), (6, 5, 5)])
def test_a_third_unless_asked(num_layers: int, asked: int, count: int) -> None:
    assert num_early(num_layers, asked) == count


@pytest.mark.parametrize(("num_layers", "asked"), [(1, 0), (3, 3), (3, 9)])
def test_the_whole_model_is_refused(num_layers: int, asked: int) -> None:
    with pytest.raises(HanlinError, match=f"the model has {num_layers} layers"):
        num_early(num_layers, asked)
