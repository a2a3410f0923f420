"""Chat templates in the formats of the families, none with {% generation %} marks but those that say so."""

from __future__ import annotations

SMOLLM2 = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LLAMA3 = """{{- bos_token }}
{%- if messages[0].role == "system" %}{% set system = messages[0].content | trim %}
{%- set messages = messages[1:] %}{% else %}{% set system = "" %}{% endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools %}{{ "Environment: ipython\\n" }}{% endif %}
{{- "Today Date: " + (date_string or "26 Jul 2024") + "\\n\\n" + system + "<|eot_id|>" }}
{%- if tools %}
    {%- set first = messages[0].content | trim %}{% set messages = messages[1:] %}
    {{- "<|start_header_id|>user<|end_header_id|>\\n\\nRespond with JSON for a function call: " }}
    {{- '{"name": function name, "parameters": dictionary of argument name and its value}.\\n\\n' }}
    {%- for tool in tools %}{{ tool | tojson(indent=4) + "\\n\\n" }}{% endfor %}
    {{- first + "<|eot_id|>" }}
{%- endif %}
{%- for m in messages %}
    {%- if m.tool_calls %}
        {%- if m.tool_calls | length != 1 %}{{ raise_exception("one call at a time") }}{% endif %}
        {%- set call = m.tool_calls[0].function %}
        {{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}
        {{- '{"name": "' + call.name + '", "parameters": ' + (call.arguments | tojson) + "}<|eot_id|>" }}
    {%- elif m.role == "tool" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" + (m.content | tojson) + "<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>" + m.role + "<|end_header_id|>\\n\\n" + m.content | trim + "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}{% endif %}"""

QWEN2 = """{%- if tools %}
    {{- "<|im_start|>system\\n" + (messages[0].content if messages[0].role == "system" else "You help.") }}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}{{ "\\n" + (tool | tojson) }}{% endfor %}
    {{- "\\n</tools>\\nAnswer within <tool_call></tool_call>.<|im_end|>\\n" }}
{%- elif messages[0].role != "system" %}{{ "<|im_start|>system\\nYou help.<|im_end|>\\n" }}{% endif %}
{%- for m in messages %}
    {%- if m.role == "user" or (m.role == "system" and not (loop.first and tools)) %}
        {{- "<|im_start|>" + m.role + "\\n" + m.content + "<|im_end|>\\n" }}
    {%- elif m.role == "assistant" %}
        {{- "<|im_start|>assistant" }}
        {%- if m.content %}{{ "\\n" + m.content }}{% endif %}
        {%- for call in m.tool_calls or [] %}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- (call.function.arguments | tojson) + "}\\n</tool_call>" }}
        {%- endfor %}
        {{- "<|im_end|>\\n" }}
    {%- elif m.role == "tool" %}
        {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}{{ "<|im_start|>user" }}{% endif %}
        {{- "\\n<tool_response>\\n" + m.content + "\\n</tool_response>" }}
        {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}{{ "<|im_end|>\\n" }}{% endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\\n" }}{% endif %}"""

# Thinking is kept in the last turn alone, and an empty thought is written there.
QWEN3 = """{%- for m in messages %}
    {%- if m.role == "assistant" %}
        {%- set said = m.content or "" %}{% set thought = m.reasoning_content or "" %}
        {%- if not thought and "</think>" in said %}
            {%- set thought = said.split("</think>")[0].rstrip("\\n").split("<think>")[-1].lstrip("\\n") %}
            {%- set said = said.split("</think>")[-1].lstrip("\\n") %}
        {%- endif %}
        {{- "<|im_start|>assistant\\n" }}
        {%- if loop.last %}{{ "<think>\\n" + thought.strip("\\n") + "\\n</think>\\n\\n" }}{% endif %}
        {{- said.lstrip("\\n") }}
        {%- for call in m.tool_calls or [] %}
            {{- "\\n" if said or not loop.first else "" }}
            {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- (call.function.arguments | tojson) + "}\\n</tool_call>" }}
        {%- endfor %}
        {{- "<|im_end|>\\n" }}
    {%- else %}
        {{- "<|im_start|>" + m.role + "\\n" + m.content + "<|im_end|>\\n" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\\n" }}
    {%- if enable_thinking is defined and not enable_thinking %}{{ "<think>\\n\\n</think>\\n\\n" }}{% endif %}
{%- endif %}"""

# Tools are told at the last question, and there is no header that asks for an answer.
MISTRAL = """{{- bos_token }}{% set system = "" %}
{%- if messages[0].role == "system" %}{% set system = messages[0].content + "\\n\\n" %}
{%- set messages = messages[1:] %}{% endif %}
{%- set users = messages | selectattr("role", "equalto", "user") | list %}
{%- for m in messages %}
    {%- if m.role == "user" %}
        {%- if tools and m == users[-1] %}
            {{- "[AVAILABLE_TOOLS]" + (tools | tojson) + "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {{- "[INST]" + (system if loop.first else "") + m.content + "[/INST]" }}
    {%- elif m.tool_calls %}
        {{- "[TOOL_CALLS][" }}
        {%- for call in m.tool_calls %}
            {{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}{{ ", " if not loop.last }}
        {%- endfor %}
        {{- "]" + eos_token }}
    {%- elif m.role == "assistant" %}{{ " " + m.content | trim + eos_token }}
    {%- elif m.role == "tool" %}{{ "[TOOL_RESULTS]" + m.content + "[/TOOL_RESULTS]" }}
    {%- else %}{{ raise_exception("Only user, assistant and tool roles!") }}
    {%- endif %}
{%- endfor %}"""

GEMMA = """{{ bos_token }}
{%- for m in messages %}
    {%- if (m.role == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("Roles must alternate") }}
    {%- endif %}
    {{- "<start_of_turn>" + ("model" if m.role == "assistant" else m.role) + "\\n" }}
    {{- m.content | trim + "<end_of_turn>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<start_of_turn>model\\n" }}{% endif %}"""

# The same three with marks, in the ways templates write them.
CHATML_MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3_MARKED = """
{%- for m in messages %}
    {%- if loop.first %}{{ bos_token }}{% endif %}
    {%- if m.role == "assistant" %}
        {{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}
        {%- generation %}
        {{- m.content | trim + "<|eot_id|>" }}
        {%- endgeneration %}
    {%- else %}
        {{- "<|start_header_id|>" + m.role + "<|end_header_id|>\\n\\n" + m.content | trim + "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}{% endif %}"""
GEMMA_MARKED = """
{{- bos_token -}}
{% for m in messages %}
    {%- if m.role == "assistant" -%}
        {{- "<start_of_turn>model\\n" -}}
        {%- generation -%}
            {{- m.content | trim + "<end_of_turn>\\n" -}}
        {%- endgeneration -%}
    {%- else -%}
        {{- "<start_of_turn>" + m.role + "\\n" + m.content | trim + "<end_of_turn>\\n" -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<start_of_turn>model\\n" }}{% endif %}"""
INDENTED_MARKED = """{% for m in messages %}
  {% if m.role == "assistant" %}
[A]
    {% generation %}
  {{ m.content }}
<|im_end|>
    {% endgeneration %}
  {% else %}
[Q]{{ m.content }}<|im_end|>
  {% endif %}
{% endfor %}
"""

STOCK = {
    "smollm2": SMOLLM2,
    "llama3": LLAMA3,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "mistral": MISTRAL,
    "gemma": GEMMA,
}
MARKED = {
    "chatml": CHATML_MARKED,
    "llama3": LLAMA3_MARKED,
    "gemma": GEMMA_MARKED,
    "indented": INDENTED_MARKED,
}
