#include "tests/fuzz/chat_template_seeds.h"

namespace tinkex::fuzz {
namespace {

const std::string kZero(1, '\0');

}  // namespace

std::vector<std::string> chat_template_seeds() {
  return {
      "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
      "{{ '<|s|>\n' }}{% endif %}{{'<|s|>' + message['role'] + '\n' + message['content']}}"
      "{% endfor %}{% if add_generation_prompt %}{{ '<|s|>assistant\n' }}{% endif %}",
      "{%- set ns = namespace(on=true, last=messages|length - 1) %}\n"
      "{%- for message in messages[::-1] %}\n  {%- set i = (messages|length - 1) - loop.index0 %}\n"
      "  {%- if ns.on and message.role == \"user\" and not message.content.startswith('<t>') %}\n"
      "    {%- set ns.on = false %}{%- set ns.last = i %}\n  {%- endif %}\n{%- endfor %}{{ ns.last "
      "}}",
      "{% for m in messages %}{% if m.content is string and '</think>' in m.content %}"
      "{{ m.content.split('</think>')[-1].lstrip('\\n').rstrip() }}{% endif %}{% endfor %}",
      "{{ bos_token }}{#- note -#}{% if tools is none %}  {{ messages|tojson(indent=4) }}{% endif "
      "%}",
      "{% for c in messages[2].tool_calls %}{% set c = c.function %}{% for k, v in "
      "c.arguments|items %}{{ k ~ '=' ~ v }}{% if not loop.last %}, {% endif %}{% endfor %}{% "
      "endfor %}",
      "{% if (messages[0].role == 'user') != (1 % 2 == 0) %}{{ raise_exception('no\\u00e9') }}{% "
      "endif %}",
      "{{ strftime_now('%d %b %Y') }} {{ 1 + 2 * 3.5 // 2 ** 2 - -1 }} {{ (1, [2], {'a': none}) }}",
      "{% for x in range(1, 9, 2) if x is odd %}{% if x > 5 %}{% break %}{% endif %}{{ x }}"
      "{% continue %}{% else %}none{% endfor %}",
      "{% set x %}a{{ messages|map(attribute='role')|select('ne', 'user')|join(', ')|upper }}"
      "{% endset %}{{ x|replace('A', 'b')|trim('b')|default('d', true)|reverse|list|first }}",
      "{% set a, b = 'x,y'.split(',') %}{{ a if b is defined and b is not eq 'x' else c }}"
      "{% generation %}{{ dict(a=1).get('a')|string|int + 2 }}{% endgeneration %}",
      "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ loop.cycle(1) }}",
      "{{ 'aéb'[::-1][1:] ~ 'A'.lower().title()|capitalize ~ ' a b '.split()|last }}" + kZero +
          R"([{"role": "user", "content": "\u00e9"}])",
      "{% for m in messages %}{{ m }}{% endfor %}" + kZero +
          R"([{"a": null, "b": [[{"c": 1e300}]]}])",
      "{% if a %}{% elif b %}{% elif not c %}{{ 'x' in ['x'] and 1 < 2 <= 2 }}{% else %}{% endif "
      "%}",
      "a\r\n  {%+ if true +%}\n b {{- 1 -}} {%- endif %}\n{# open",
      "{{ [1] * 99999999 }}{% for a in range(99999) %}{% for b in 'ab' * 9999 %}{% endfor %}{% "
      "endfor %}",
  };
}

}  // namespace tinkex::fuzz
