"""Runs a chat template, which is a program from whoever made the model: no way out, and bounded work.

Jinja's own sandbox keeps a template from attributes it must not reach. It does not keep it from looping for ever or
from filling the memory. So here every turn of a loop, call, filter, test and piece of output is a step, every value
that is built is measured before it is used, and a template that needs more than an honest one ever does is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from hanlin.core.run.errors import HanlinError
from hanlin.core.text import sandbox_functions as functions
from hanlin.core.text.sandbox_functions import Explodes

MAX_TEMPLATE_CHARS = 200_000
"""The longest template in use has about 20,000."""

MAX_STEPS = 1_000_000
MAX_CPU_SECONDS = 5.0
SPARE_CHARS, CHARS_PER_CHAR = 1_000_000, 8
"""A value, and all that is written, may have this many characters, and so many more for each one of the input."""

BUILT_PER_WRITTEN = 16
"""All values together that a template builds on its way."""

ELEMENT_CHARS = 16
"""What an element of a list counts, in characters: about its memory."""


class TemplateFailure(HanlinError):
    """The template itself refuses or fails: it raised, asked for what is not there, or is not Jinja."""


def run_template(template: str, variables: Mapping[str, Any]) -> str:
    """The text a template makes of `variables`, as transformers would render it.

    Raises TemplateFailure when the template fails, HanlinError when it would run without end or fill the memory.
    """
    try:
        with _limited(variables):
            return _compiled(template).render(variables)
    except (Explodes, RecursionError, MemoryError) as error:
        reason = str(error) if isinstance(error, Explodes) else "it recurses without end"
        raise HanlinError(
            f"The chat template was stopped: {reason}.",
            "a template that writes each message once",
            "use another template; do not trust the folder this one came from",
            "docs/chat.md",
        ) from None
    except Exception as error:  # a template is a program: it can fail in any way
        raise TemplateFailure(
            f"The chat template fails: {' '.join(str(error).split())[:300] or type(error).__name__}",
            "a Jinja template over `messages`",
            "correct chat_template in tokenizer_config.json",
            "docs/chat.md",
        ) from None


def parse(template: str) -> nodes.Template:
    """The template's syntax tree. Raises jinja2.TemplateError."""
    return _ENVIRONMENT.parse(template)


@dataclass
class _Budget:
    """What one rendering may use. max_chars: of one value, and of everything written."""

    max_chars: int
    steps: int = 0
    built: int = 0
    written: int = 0
    deadline: float = field(default_factory=lambda: time.thread_time() + MAX_CPU_SECONDS)

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS or time.thread_time() > self.deadline:
            raise Explodes("it loops without end")

    def check(self, num_chars: int) -> None:
        """Raises before something of this size is built."""
        if num_chars > self.max_chars:
            raise Explodes(f"it builds a value of more than {self.max_chars:,} characters")

    def measured(self, value: Any) -> Any:
        self.check(functions.size(value, self.max_chars))
        if isinstance(value, Collection):
            self.built += len(value) * (1 if isinstance(value, str) else ELEMENT_CHARS)
        if self.built > self.max_chars * BUILT_PER_WRITTEN:
            raise Explodes(f"it builds values of more than {self.max_chars * BUILT_PER_WRITTEN:,} characters together")
        return value

    def write(self, value: Any) -> str:
        self.step()
        text = value if isinstance(value, str) else str(self.measured(value))
        self.written += len(text)
        if self.written > self.max_chars:
            raise Explodes(f"it writes more than {self.max_chars:,} characters")
        return text


_BUDGET: ContextVar[_Budget] = ContextVar("budget")


@contextmanager
def _limited(variables: Mapping[str, Any]) -> Iterator[None]:
    input_chars = functions.size(variables, 2**62)
    token = _BUDGET.set(_Budget(SPARE_CHARS + CHARS_PER_CHAR * input_chars))
    try:
        yield
    finally:
        _BUDGET.reset(token)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, counted. What it doesn't hand to a method is rewritten in the syntax tree (`_Counting`)."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in functions.REFUSED_METHODS and super().is_safe_attribute(obj, attr, value)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget = _BUDGET.get()
        budget.step()
        args = functions.before_call(function, args, budget.check)
        return budget.measured(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        budget = _BUDGET.get()
        budget.step()
        functions.before_operator(operator, left, right, budget.check)
        return budget.measured(super().call_binop(context, operator, left, right))

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Counting().visit(source), *args, **kwargs)


class _Counting(NodeTransformer):
    """A step into each loop; a measure around each expression that builds something without a call."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_filtered(nodes.Const(None), _STEP)))
        if node.test:
            node.test = _filtered(node.test, _STEP)
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Const:
        """As a constant it passes through `_write` and is counted."""
        return nodes.Const(node.data, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        return _filtered(node, _MEASURE)

    visit_List = visit_Dict = visit_Concat  # type: ignore[assignment]

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        self.generic_visit(node)
        return _filtered(node, _MEASURE) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        self.generic_visit(node)
        return _filtered(node, _MEASURE) if isinstance(node.arg, nodes.Slice) else node


_STEP, _MEASURE = "count a step", "measure a value"  # no template can spell a name with spaces


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@pass_context
def _write(context: Any, value: Any) -> str:
    """Every piece of output. Taking the context keeps Jinja from doing this when it compiles."""
    return _BUDGET.get().write(value)


@pass_context
def _step(context: Any, value: Any) -> Any:
    _BUDGET.get().step()
    return value


@pass_context
def _measure(context: Any, value: Any) -> Any:
    return _BUDGET.get().measured(value)


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}` marks replies for trainers that need it. Here it is its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _PlainNamespace(Namespace):
    """namespace(…) without hidden attributes and without a printed form that could nest."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, args = args[0], args[1:]
        values = dict(*args, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<namespace>"


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"a namespace can't hold {name!r}")


def _raise_exception(message: Any) -> None:
    raise TemplateError(str(message))


def _environment() -> Environment:
    """Settings and names are those transformers gives to chat templates."""
    made: Any = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        finalize=_write,
        extensions=[_Generation, loopcontrols],
    )
    made.globals = {
        **{name: made.globals[name] for name in ("range", "cycler", "joiner")},
        "dict": lambda *args, **kwargs: dict(*args, **kwargs),  # the type itself would show more than it should
        "namespace": _PlainNamespace,
        "raise_exception": _raise_exception,
    }
    counted = functions.Counter(lambda: _BUDGET.get().step(), lambda n: _BUDGET.get().check(n), _measured)
    made.filters = counted.filters(made.filters) | {_STEP: _step, _MEASURE: _measure}
    made.tests = counted.tests(made.tests)
    return made


def _measured(value: Any) -> Any:
    return _BUDGET.get().measured(value)


_ENVIRONMENT = _environment()


@lru_cache(maxsize=16)
def _compiled(template: str):
    if len(template) > MAX_TEMPLATE_CHARS:
        raise Explodes(f"it is {len(template):,} characters long")
    return _ENVIRONMENT.from_string(template)
