"""Templates of a line or two, each for something that Jinja does."""

# What a template may see beside its messages.
VARIABLES = {
    "word": "Hello Wörld", "number": 7, "real": 2.5, "yes": True, "nothing": None, "empty": "",
    "names": ["ann", "bob", "cy"], "nested": {"a": {"b": [1, 2.0, "x"]}, "items": 3, "k": "v"},
    "people": [{"name": "Ann", "age": 3, "on": True}, {"name": "Bob", "age": 5, "on": False},
               {"name": "Cy", "on": True}],
    "spaced": "  a \t b\n c  ", "quotes": "it's \"so\"\\\n\u2028\u00a0\u200b\U0001F600",
}

WHITE_SPACE = [
    "a\n  {% if yes %}\n  b\n  {% endif %}\nc\n", "a {%- if yes -%} b {%- endif -%} c",
    "  {%+ if yes %}x{% endif +%}\ny", "a\n\n  {#- note -#}  \n b", "  {# note #}\nb", "{{ 1 }}\n{{ 2 }}\n",
    "{{- 1 -}}  \n  {{ 2 -}} \n x", "a  {% set x = 1 %}\nb", "\t{% set x = 1 %} {% set y = 2 %}\nz",
    "{% set x = 1 %}  {% set y = 2 %}\n  z", "{{ 1 }}  {% set y = 2 %}z", "a\r\nb\rc\n\n", "{", "{ {", "a {b} c %}",
    "{{ '{{' }}{{ '%}' }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{{'a': 1}.a}}", "{#- a -#}", "{##}x{#-#} y",
    "\u00a0\u2003{%- if yes %}x{% endif -%}\u2003y", "x{{ 1 }}\n  {% if yes %}\n1\n{% endif %}",
    "{% for n in names %}\n  - {{ n }}\n{% endfor %}\nend", "{%- for n in names -%}\n {{ n }}\n{%- endfor %}\n",
]

EXPRESSIONS = [
    "{{ 1 + 2 * 3 - 4 / 2 }}", "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }}", "{{ 2 ** 10 }}",
    "{{ 2 ** -1 }}", "{{ 7.0 // 2 }} {{ -7.5 % 2 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 1e16 }} {{ 123456789.125 }}",
    "{{ 1 / 3 }} {{ 0.1 + 0.2 }} {{ 100.0 }} {{ 1e22 }} {{ 5e-324 }}", "{{ 1_000 }}", "{{ -3|abs }} {{ -2 ** 2 }}",
    "{{ 'a' + 'b' ~ 1 ~ none ~ 2.0 }}", "{{ 'ab' * 3 }} {{ 2 * [1] }} {{ [1] + [2] }} {{ (1,) + (2,) }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}",
    "{{ 'a' in 'cat' }} {{ 4 not in [1, 2] }} {{ 'a' in nested }} {{ 1 in missing }} {{ 'é' in word }}",
    "{{ not yes }} {{ not not empty }} {{ yes and number }} {{ empty or nothing or 'last' }} {{ 0 and 1 }}",
    "{{ 'x' if yes else 'y' }}{{ 'x' if not yes }}{{ 'p' if empty else 'q' if nothing else 'r' }}",
    "{{ true }} {{ True }} {{ none }} {{ None }} {{ false }}", "{{ [1, 'a', none, 2.5, true] }} {{ (1,) }} {{ () }}",
    "{{ {'a': 1, 2: 'b', none: [1], true: 'z'} }} {{ {} }} {{ [] }}", "{{ quotes }} {{ [quotes] }}", "{{ ['\"', \"'\", 'a\\'b\"'] }}",
    "{{ 'a\\tb\\x41\\u00e9\\101\\q\\\nz' }}", "{{ 'a' 'b' \"c\" }}", "{{ names[0] }}{{ names[-1] }}{{ names[9] }}{{ names.0 }}",
    "{{ names[1:] }}{{ names[::-1] }}{{ names[:-1] }}{{ names[::2] }}{{ names[5:] }}{{ names[-9:2] }}{{ names[2:0:-1] }}",
    "{{ word[6:] }}|{{ word[::-1] }}|{{ word[7] }}|{{ word[-2] }}|{{ word[:0] }}|{{ word[99] }}",
    "{{ nested.a.b[2] }} {{ nested['a']['b'][0] }} {{ nested.zzz }}{{ nested['zzz'] }}", "{{ missing }}{{ missing is defined }}",
    "{{ word.zzz is defined }} {{ nothing.x is defined }} {{ number.x is defined }}", "{{ 1, 2 }} {{ (1, 2)[1] }}",
    "{{ nested.get('k') }} {{ nested.get('q') }} {{ nested.get('q', 4) }} {{ nested.keys()|list }} {{ nested.values()|list }}",
    "{% for k, v in nested.items() %}{{ k }}={{ v }};{% endfor %}", "{{ nested['items'] }}", "{{ 1 == '1' }} {{ none == false }} {{ [] == () }}",
    "{{ missing == missing2 }} {{ missing == none }} {{ {'a': 1} == {'a': 1.0} }} {{ 'a' != 'b' }}", "{{ +3 }} {{ --3 }} {{ -real }}",
    "{{ (names|length - 1) - 0 }} {{ names|length > 2 and yes }}", "{{ dict(a=1, b='x') }} {{ dict({'z': 1}, y=2) }}",
    "{{ range(3)|list }} {{ range(1, 7, 2)|list }} {{ range(3, 0, -1)|list }}", "{{ true + true }} {{ 3 * true }}",
    "{{ 'a' is string and 1 is not string }}", "{{ strftime_now('%d %b %Y %H:%M:%S %j %A %B %% %y %m') }}", "{{ 1 if true else raise_exception('no') }}",
]

STATEMENTS = [
    "{% set x = 1 %}{% if x == 1 %}one{% elif x == 2 %}two{% else %}more{% endif %}",
    "{% set x = 3 %}{% if x == 1 %}one{% elif x == 2 %}two{% else %}more{% endif %}",
    "{% for n in names %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}",
    "{% for n in names %}{{ loop.previtem }}<{{ n }}>{{ loop.nextitem }} {{ loop.cycle('a', 'b') }};{% endfor %}",
    "{% for n in [] %}x{% else %}none{% endfor %}", "{% for n in names if n != 'bob' %}{{ loop.index }}{{ n }}{% else %}e{% endfor %}",
    "{% for n in names if n == 'zz' %}{{ n }}{% else %}e{% endfor %}", "{% for c in 'aé😀' %}{{ c }},{% endfor %}",
    "{% for k in nested %}{{ k }},{% endfor %}", "{% for n in missing %}x{% endfor %}done",
    "{% for a, b in [[1, 2], (3, 4)] %}{{ a }}-{{ b }};{% endfor %}", "{% for (a, b) in [[1, 2]] %}{{ a }}-{{ b }};{% endfor %}",
    "{% set x = 1 %}{% for n in names %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=1, y='a') %}{% for n in names %}{% set ns.x = ns.x + 1 %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z }}",
    "{% set ns = namespace({'a': 2}, b=3) %}{{ ns.a + ns.b }}{{ ns['a'] }}", "{% for n in names %}{% if n == 'bob' %}{% break %}{% endif %}{{ n }}{% endfor %}",
    "{% for n in names %}{% if n == 'bob' %}{% continue %}{% endif %}{{ n }}{% endfor %}",
    "{% for n in names %}{% for m in names %}{% if m == 'bob' %}{% break %}{% endif %}{{ n }}{{ m }} {% endfor %}{{ loop.index }}{% endfor %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set x %}a{{ number }}b{% endset %}[{{ x }}]{{ x|upper }}",
    "{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ x }}{{ y }}", "{% if missing %}x{% else %}y{% endif %}",
    "{% if names %}x{% endif %}{% if [] %}y{% endif %}{% if {} %}y{% endif %}{% if 0.0 %}y{% endif %}{% if ' ' %}z{% endif %}",
    "{% for n in names %}{{ n }}{% if not loop.last %}, {% endif %}{% endfor %}", "{% generation %}{% set q = 1 %}a{{ q }}{% endgeneration %}{{ q }}",
    "{% set messages = messages[1:] %}{{ messages|length }}", "{% for m in messages %}{{ m.role }}:{{ m['content'] }};{% endfor %}",
    "{% for n in names %}{{ y }}{% set y = n %}{{ y }}{% endfor %}{{ y }}", "{% if a is defined %}1{% else %}{% if yes %}2{% endif %}{% endif %}",
    "{% for x in range(2) %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
]

FILTERS = [
    "{{ spaced|trim }}|{{ spaced.strip() }}|{{ spaced.lstrip() }}|{{ spaced.rstrip() }}|{{ 'xxaxx'|trim('x') }}|{{ 'xyaxy'.strip('yx') }}",
    "{{ names|join(', ') }} {{ names|join }} {{ [1, none, 2.5]|join('-') }} {{ people|join(',', attribute='name') }} {{ ', '.join(names) }}",
    "{{ word|upper }} {{ word|lower }} {{ 'hELLO wORLD-x (y)'|title }} {{ 'hELLO'|capitalize }} {{ 5|upper }} {{ \"they're x1y\".title() }}",
    "{{ word.upper() }} {{ word.lower() }} {{ 'éA b'.capitalize() }}", "{{ names|length }} {{ word|length }} {{ nested|count }} {{ missing|length }}",
    "{{ missing|default('d') }} {{ empty|default('d') }}{{ empty|default('d', true) }} {{ nothing|d('x') }} {{ nothing|d('x', boolean=true) }} {{ missing|default }}",
    "{{ names|first }} {{ names|last }} {{ []|first }}{{ 'é€'|last }} {{ nested|first }}", "{{ 'abc'|list }} {{ nested|list }} {{ 'abc'|reverse }} {{ names|reverse|list }}",
    "{{ '12'|int }} {{ ' 12 '|int + 1 }} {{ '1.9'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 2.9|int }} {{ -2.9|int }} {{ true|int }} {{ none|int }}",
    "{{ '1.5'|float }} {{ 'x'|float }} {{ 3|float }} {{ 'x'|float(2) }}", "{{ 3|string + 'x' }} {{ none|string }} {{ missing|string }}",
    "{{ 'aXbXc'|replace('X', '-') }} {{ 'aXbXc'|replace('X', '-', 1) }} {{ 'aXb'.replace('X', '') }} {{ 'ab'|replace('', '.') }} {{ 5|replace(5, 'y') }}",
    "{{ nested|items|list }} {% for k, v in nested|items %}{{ k }}{% endfor %}{{ missing|items|list }}",
    "{{ people|map(attribute='name')|join(',') }} {{ people|map(attribute='age', default=0)|list }} {{ names|map('upper')|join }} {{ names|map('replace', 'a', 'b')|list }}",
    "{{ people|selectattr('on')|map(attribute='name')|list }} {{ people|rejectattr('on')|map(attribute='name')|list }}",
    "{{ people|selectattr('age', 'defined')|list|length }} {{ people|selectattr('name', 'equalto', 'Bob')|list }} {{ people|rejectattr('name', 'in', ['Bob', 'Cy'])|map(attribute='name')|list }}",
    "{{ [1, 2, 3, 4]|select('odd')|list }} {{ [0, 1, '']|select|list }} {{ [1, 2, 3]|reject('gt', 1)|list }} {{ names|reject('equalto', 'bob')|join(', ') }}",
    "{{ nested|tojson }}", "{{ nested|tojson(indent=4) }}", "{{ nested|tojson(indent=2, sort_keys=true) }}", "{{ quotes|tojson }} {{ quotes|tojson(ensure_ascii=true) }}",
    "{{ [1, 2.0, none, true, 'a/b<c>&\\x7f\\x1f', 1e16, [], {}]|tojson }}", "{{ [[], {}, [1], {'a': []}]|tojson(indent=1) }}", "{{ {1: 'a', none: 2, true: 3, 1.5: 4}|tojson }}",
    "{{ nested|tojson(separators=(',', ':')) }} {{ names|tojson(indent=0) }} {{ names|tojson(indent='--') }}", "{{ -5|abs }} {{ real|abs }} {{ true|abs }}",
    "{{ none|map('upper')|list }} {{ false|select|list }}",
    "{{ {1: 'a', 10: 'b', 2.5: 'c', true: 'd'}|tojson(sort_keys=true) }} {{ {'b': 1, 'a': {'d': 2, 'c': 3}}|tojson(sort_keys=true) }} {{ {none: 1}|tojson(sort_keys=true) }}",
    "{{ 1e999 }} {{ -1e999 }} {{ 1e-999 }} {{ [1e999, -1e999]|tojson }} {{ '1e999'|float }} {{ ' -1e999 '|float }} {{ '1e-999'|float }} {{ '1.5x'|float }} {{ '1e999'|int(7) }}",
    "{{ 'a,b,c'.split(',', -7) }} {{ 'a,b'.rsplit(',', -9223372036854775807 - 1) }} {{ 'a b'.split(none, -9223372036854775807 - 1) }} {{ 'aXbX'.replace('X', '', -3) }} {{ 'aXbX'|replace('X', '', -2) }}",
    "{{ names|join('')|upper|length + 1 }}", "{{ 'a,b,,c'.split(',') }} {{ 'a,b,,c'.split(',', 1) }} {{ 'a,b,,c'.rsplit(',', 1) }} {{ ' a  b '.split() }} {{ ' a  b  c '.split(none, 1) }} {{ ' a  b  c '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }}",
    "{{ 'a<s>b<s>c'.split('<s>')[-1] }} {{ 'x'.split('y')[0] }} {{ 'ab' .split(sep='b', maxsplit=3) }}", "{{ 'a\\nb\\r\\nc\\n'.splitlines() }} {{ 'a\\nb\\n'.splitlines(true) }}",
    "{{ word.startswith('He') }} {{ word.endswith('ld') }} {{ word.startswith(('x', 'H')) }} {{ word.endswith('') }}",
    "{{ word.find('W') }} {{ word.find('l') }} {{ word.rfind('l') }} {{ word.find('q') }} {{ word.count('l') }} {{ 'aaa'.count('aa') }} {{ 'é'.count('') }}",
    "{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x-suf'.removesuffix('-suf') }} {{ 'AB'.isupper() }} {{ 'ab1'.islower() }} {{ ' \\t'.isspace() }} {{ ''.isspace() }}",
]

TESTS = [
    "{% for v in [1, 1.5, 'a', true, none, [1], (1,), {'a': 1}] %}" + "".join(
        "{{ 'x' if v is %s else '.' }}" % test for test in
        ("string", "number", "integer", "float", "boolean", "none", "mapping", "sequence", "iterable", "true", "false", "defined", "undefined"))
    + "|{% endfor %}",
    "{{ missing is undefined }}{{ missing is none }}{{ missing is string }}{{ missing is iterable }}{{ missing is sequence }}{{ missing is mapping }}",
    "{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 3 is eq 3 }}{{ 3 is ne(3) }}{{ 3 is gt 2 }}{{ 3 is lt 2 }}{{ 3 is in [3] }}",
    "{{ 'AB' is upper }}{{ 'ab' is lower }}{{ 'Ab' is upper }}{{ 3 is not eq 4 }}{{ not 3 is odd }}{{ range is callable }}{{ 3 is callable }}",
    "{{ 'y' if number is defined and number is not none else 'n' }}", "{{ yes is true and not (yes is false) }}", "{{ number is ge 7 }}{{ number is le(6) }}{{ number is sequence }}",
]

# What Jinja refuses, when it reads the template or when it renders it.
REFUSED = [
    "{{", "{% if %}", "{% if x %}", "{{ 1 + }}", "{% for x in %}{% endfor %}", "{% endif %}", "{{ 'a }}", "{# open", "{{ (1 }}", "{{ 1) }}", "{% unknown %}",
    "{{ missing.x }}", "{{ missing + 1 }}", "{{ 'a' + 1 }}", "{{ 'a' + none }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ names() }}", "{{ missing() }}", "{{ word.nosuch() }}",
    "{{ raise_exception('stop') }}", "{% for a, b in [[1]] %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% set none = 1 %}", "{{ 1 < 'a' }}", "{{ {1: 2, 'a': 3}|tojson(sort_keys=true) }}", "{{ {1: 2, none: 3}|tojson(sort_keys=true) }}", "{{ none < 1 }}",
    "{{ 5 in 5 }}", "{{ 'a'|nosuch }}", "{{ 'a' is nosuch }}", "{% set word.x = 1 %}", "{{ 'a'.split('') }}", "{{ word|join(1, 2, 3, 4) }}", "{{ range(100001) }}",
    "{{ names[::0] }}", "{{ none|length }}", "{{ nested|tojson(5, 6, 7, 8, 9) }}", "{{ missing|tojson }}", "{% break %}", "{{ {[1]: 2} }}", "{{ names.append(1) }}",
    "{{ nested.update({'a': 1}) }}", "{{ -none }}", "{{ 1 in 'a' }}", "{% for x in none %}{% endfor %}", "{{ $ }}", "{{ a b }}", "{% set x = 1 y %}", "{{ loop.index }}",
]

ALL = WHITE_SPACE + EXPRESSIONS + STATEMENTS + FILTERS + TESTS + REFUSED
