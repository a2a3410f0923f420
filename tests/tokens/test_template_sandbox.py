"""Templates are strangers' programs: what they cannot do."""

from __future__ import annotations

import time

import pytest

from tokenloom.tokens.chat import ChatTemplate, TemplateRefused

TURN = [{"role": "user", "content": "x"}]
ATTACKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='system') }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{% set ns = namespace(__class__=1) %}{{ ns.__class__ }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{{ '{0.__class__}'.format(1) }}{{ _budget._left }}{{ x.y }}",
    "{{ messages[0].content.nope() }}",
    "{{ 1 / 0 }}",
    "{{ lipsum(n=100000000) }}",
    "{% include '/etc/passwd' %}",
    "{{ 'x' * 10000000000 }}",
    "{{ 9 ** 9999999 }}",
    "{{ range(10000000000) | list }}",
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% set _budget = 1 %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for a in range(100000) %}{{ 'x' * 10000 }}{% endfor %}",
    "{% for x in messages %}",
]


@pytest.mark.parametrize("source", ATTACKS)
def test_hostile_templates_fail_safely_and_soon(source: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TemplateRefused, match=r"^template: "):
        ChatTemplate({"default": source}).render(TURN)
    assert time.monotonic() - begun < 120
    assert TURN == [{"role": "user", "content": "x"}]


def test_python_internals_read_as_nothing() -> None:
    for source in ("{{ raise_exception.__globals__ }}", "{{ messages.__class__ }}", "{{ dict.mro }}"):
        assert ChatTemplate({"default": source}).render(TURN) == ""
