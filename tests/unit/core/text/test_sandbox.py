"""A chat template may do what honest ones do, and nothing that ends badly: each attack is refused, soon and in little
memory."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.core.text import sandbox
from hanlin.core.text.sandbox import TemplateFailure, run_template

MESSAGES = [{"role": "user", "content": "嗨"}, {"role": "assistant", "content": "您好"}]


def run(template: str, **variables: Any) -> str:
    return run_template(template, {"messages": MESSAGES, **variables})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages %}{{ m.role }}{{ loop.index }}/{{ loop.length }} {% endfor %}", "user1/2 assistant2/2 "),
        ("{% for m in messages if m.role == 'user' %}{{ loop.last }}{% else %}none{% endfor %}", "True"),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content }}{% endfor %}", "您好"),
        ("{% for m in messages %}{{ m.content }}{% break %}{% endfor %}", "嗨"),
        ("{% for m in messages %}\n  {% if 1 %}\na\n  {% endif %}\n{% endfor %}", "a\na\n"),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "嗨"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2"),
        ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f(1) ~ f('二') }}", "[1][二]"),
        ("{{ {'甲': '<乙>', 'n': [1, none, true]} | tojson }}", '{"甲": "<乙>", "n": [1, null, true]}'),
        ("{{ {'甲': [1]} | tojson(indent=2) }}", '{\n  "甲": [\n    1\n  ]\n}'),
        ("{{ {'甲': 1} | tojson(separators=(',', ':')) }}", '{"甲":1}'),
        ("{{ {'甲': 1} | tojson(ensure_ascii=true) }}", '{"\\u7532": 1}'),
        ("{{ messages | map(attribute='content') | join('、') }}", "嗨、您好"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{{ messages[::-1][0].content }}{{ messages[1:] | length }}", "您好1"),
        ("{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}", "b"),
        ("{{ '%s-%d' % ('x', 3) }}{{ '{}!'.format('y') }}{{ '{0}'|format }}", "x-3y!{0}"),
        ("{{ messages[0].get('name', 'none') }}{{ missing is defined }}{{ missing }}", "noneFalse"),
        ("{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}", "role=user;content=嗨;"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x | upper }}{{ range(3) | list }}", "A1[0, 1, 2]"),
    ],
)
def test_what_honest_templates_do(template: str, text: str) -> None:
    assert run(template) == text


DOUBLING = "{{% set ns = namespace(s={first}) %}}{{% for i in range(99) %}}{{% set ns.s = {next} %}}{{% endfor %}}"

TOO_MUCH = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "filtered loops": "{% for i in 'x' * 9999 %}{% for j in range(9999) if false %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for i in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "slow steps": "{% set l = range(99999) | list %}{% for i in l %}{% if -1 in l %}{% endif %}{% endfor %}",
    "slow filters": "{% set l = range(99999) | list %}{{ l | select('in', l) | list | length }}",
    "endless macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "branching macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}",
    "long output": "{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}",
    "long block": "{% set x %}{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}{% endset %}",
    "times": "{{ 'a' * 10 ** 10 }}",
    "times, turned": "{{ 10 ** 10 * 'a' }}",
    "list times": "{{ ([1] * 10 ** 9) | length }}",
    "power": "{{ 10 ** (10 ** 10) }}",
    "product": DOUBLING.format(first="3", next="ns.s * ns.s"),
    "plus": DOUBLING.format(first="'a'", next="ns.s + ns.s"),
    "tilde": DOUBLING.format(first="'a'", next="ns.s ~ ns.s"),
    "lists of lists": DOUBLING.format(first="['a']", next="[ns.s, ns.s]") + "{{ ns.s }}",
    "tuples": DOUBLING.format(first="['a']", next="(ns.s, ns.s)") + "{{ ns.s }}",
    "objects": DOUBLING.format(first="['a']", next="{'x': ns.s, 'y': ns.s}") + "{{ ns.s }}",
    "dict()": DOUBLING.format(first="['a']", next="dict(x=ns.s, y=ns.s)") + "{{ ns.s }}",
    "views": DOUBLING.format(first="{'a': 1}", next="{'x': ns.s.items(), 'y': ns.s.items()}") + "{{ ns.s }}",
    "many slices": "{% set b = 'x' * 99999 %}" + DOUBLING.format(first="[]", next="ns.s + [b[1:]]") * 30,
    "growing list": "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + [i] %}{% endfor %}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent, starred": "{{ '%*d' % (10 ** 9, 1) }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "format, nested": "{{ '{:{}}'.format(1, 10 ** 9) }}",
    "format, repeated": "{{ ('{0}' * 9999).format('a' * 9999) }}",
    "join": "{{ ('x' * 99999).join('a' * 99999) }}",
    "join filter": "{{ (['x'] * 99999) | join('y' * 99999) }}",
    "replace": "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "replace filter": "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "indent": "{{ ('a\n' * 999) | indent(10 ** 9) }}",
    "batch": "{{ range(9) | batch(10 ** 9, 'x') | list }}",
    "slice": "{{ range(9) | slice(10 ** 9) | list }}",
    "round": "{{ 5 | round(-10 ** 9) }}",
    "json": "{{ [1] | tojson(indent=10 ** 9) }}",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "long template": "x" * 300_000,
}


@pytest.mark.parametrize("template", TOO_MUCH.values(), ids=list(TOO_MUCH))
def test_a_template_that_never_ends_or_fills_the_memory_is_stopped(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_CPU_SECONDS", 0.2)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    with pytest.raises(HanlinError, match="The chat template was stopped: ") as caught:
        run(template)
    assert not isinstance(caught.value, TemplateFailure)
    assert len(str(caught.value).splitlines()) == 4
    assert time.thread_time() - started < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024, "kilobytes"


FAILS = {
    "syntax": "{% for %}",
    "missing": "{{ messages[9].content }}",
    "no method": "{{ messages.foo() }}",
    "raises": "{{ raise_exception('只收一則') }}",
    "divides": "{{ 1 / 0 }}",
    "range": "{% for i in range(10 ** 12) %}{% endfor %}",
    "class": "{{ ''.__class__.__mro__ }}",
    "subscript": "{{ ''['__class__']['__mro__'] }}",
    "filter": "{{ (''|attr('__class__')).mro() }}",
    "globals": "{{ raise_exception.__globals__.os }}",
    "format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "init": "{{ cycler.__init__.__globals__.os }}",
    "self": "{{ self._TemplateReference__context.eval() }}",
    "namespace": "{{ namespace(__class__=1) }}",
    "namespace, later": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "mutates": "{{ messages.append(1) }}",
    "mutates a message": "{{ messages[0].update(role='system') }}",
    "padding": "{{ 'a'.ljust(10 ** 10) }}",
    "bytes": "{{ 'a'.encode() }}",
    "dull": "{{ lipsum() }}",
    "chance": "{{ messages | random }}",
    "files": "{% include '/etc/passwd' %}",
    "files, imported": "{% import 'os' as os %}",
    "blocks": "{% for i in [1] %}" * 30 + "{% endfor %}" * 30,
}


@pytest.mark.parametrize("template", FAILS.values(), ids=list(FAILS))
def test_a_template_that_fails_or_pries_is_refused(template: str) -> None:
    with pytest.raises(TemplateFailure, match="The chat template fails: ") as caught:
        run(template)
    assert len(str(caught.value).splitlines()) == 4
    assert MESSAGES[0] == {"role": "user", "content": "嗨"} and len(MESSAGES) == 2


def test_what_is_allowed_grows_with_the_conversation() -> None:
    long = [{"role": "user", "content": "長" * 3_000_000}]
    assert len(run_template("{{ messages[0].content }}" * 3, {"messages": long})) == 9_000_000
    many = [{"role": "user", "content": "短"}] * 3000
    template = "{% for m in messages %}{{ m.role ~ m.content | trim }}{% if not loop.last %}、{% endif %}{% endfor %}"
    assert run_template(template, {"messages": many}).count("、") == 2999


def test_one_budget_each() -> None:
    """A template that was stopped leaves nothing behind for the next."""
    for _ in range(3):
        with pytest.raises(HanlinError):
            run("{{ 'a' * 10 ** 10 }}")
        assert run("{{ messages | length }}") == "2"
