from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest

from agent_gym_env.lm import bounded_template
from agent_gym_env.lm.bounded_template import TemplateLimitError, render


class Tokenizer:
    """As much of a tokenizer as rendering needs."""

    def __init__(self, template: str) -> None:
        self.special_tokens_map = {"eos_token": "<end>"}
        self._template = template

    def get_chat_template(self, tools: Any = None) -> str:
        return self._template


SAID = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m.content ~ eos_token }}\n{% endfor %}",
         "user: Hi<end>\n"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "Hi"}]'),
        ("{% for n in range(9) %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}", "01"),
        ("{%- macro f(x) -%}<{{ x }}>{%- endmacro -%}{{ f(1) }}{{ f('a') + 'b' }}", "<1><a>b"),
        ("a{% generation %}b{% endgeneration %}c", "abc"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 7 %}{% endfor %}"
         "{{ ns.n * 2 }} {{ '-' * 3 }} {{ '%s!' % 'x' }} {{ 2 ** 5 }} {{ 'a' | center(3) }}",
         "14 --- x! 32  a "),
        ("{{ undefined_name }}{{ none }}{{ messages[0].nothing }}|", "None|"),
        ("{% macro f(a) %}{{ a }}[{{ caller() }}]{% endmacro %}"
         "{% call f('b'|upper) %}x{% endcall %}{% filter upper %}a{% endfilter %}"
         "{% set y | upper %}c{% endset %}{{ y.lower() }}",
         "B[x]Ac"),
        ("{{ ['a', 'b'] | join(', ') }}{{ messages | map(attribute='role') | join }}", "a, buser"),
        ("{% if tools %}T{% endif %}{% if add_generation_prompt %}G{% endif %}", "G"),
    ],
)  # fmt: skip
def test_a_template_is_rendered_as_jinja_renders_it(template: str, written: str) -> None:
    assert render(Tokenizer(template), SAID, goes_on=True) == written


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
        "{{ f(60) }}",
        "{{ 'x' * 10 ** 12 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ [0] * 10 ** 12 }}",
        "{% set ns = namespace(x='xx') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}"
        "{% endfor %}",
        "{% set ns = namespace(x='xx') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}",
        "{% set ns = namespace(x='xx') %}{% for i in range(99) %}"
        "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
        "{% for i in range(99999) %}" + "x" * 10_000 + "{% endfor %}",
        "{{ '%9999999999d' % 1 }}",
        "{{ 'x'.center(10 ** 12) }}",
        "{{ 'x' | center(10 ** 12) }}",
        "{{ messages | tojson(indent=10 ** 12) }}",
        "x" * (bounded_template.MAX_SOURCE + 1),
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% if 1 %}" * 500 + "{% endif %}" * 500,
    ],
)
def test_an_endless_or_huge_template_ends_with_an_error(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of the steps: the limit of a million takes a macro ten seconds.
    monkeypatch.setattr(bounded_template, "MAX_STEPS", 100_000)
    with pytest.raises(TemplateLimitError):
        render(Tokenizer(template), SAID)


def test_a_template_s_own_refusal_is_told() -> None:
    with pytest.raises(jinja2.TemplateError, match="only users"):
        render(Tokenizer("{{ raise_exception('only users') }}"), SAID)


def test_a_template_reaches_nothing_of_python() -> None:
    with pytest.raises(jinja2.exceptions.SecurityError):
        render(Tokenizer("{{ ''.__class__.__mro__[1].__subclasses__() }}"), SAID)


def test_it_writes_what_transformers_writes(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra train is not installed")
    from tests.local_models import conversations, load, write_model

    tokenizer = load(write_model(tmp_path / "tiny")).tokenizer
    for row in conversations(4):
        whole = tokenizer.apply_chat_template(row["messages"], tools=row["tools"], tokenize=False)
        assert render(tokenizer, row["messages"], row["tools"]) == whole


@pytest.mark.parametrize(
    "expression",
    [
        "x|replace('a', 'aa')", "x.replace('a', 'aa')", "[x, x]|join", "''.join([x, x])",
        "'%s%s'|format(x, x)", "'{}{}'.format(x, x)", "'%s%s' % (x, x)", "x.translate({97: 'aa'})",
        "[x, x]|string", "'{:>999999999}'.format(x)", "'{0:{1}}'.format('a', '999999999')",
    ],
)  # fmt: skip
def test_no_filter_or_method_lets_a_text_grow_without_end(expression: str) -> None:
    loop = f"{{% for i in range(60) %}}{{% set ns.x = {expression.replace('x', 'ns.x')} %}}"
    source = f"{{% set ns = namespace(x='a') %}}{loop}{{% endfor %}}"
    with pytest.raises(TemplateLimitError):
        render(Tokenizer(source), [])
