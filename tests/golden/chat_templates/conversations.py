"""Conversations for the templates of models."""

import itertools


def says(role, content, **more):
    return {"role": role, "content": content, **more}


SYSTEM = says("system", "  Be brief.\n")
ASK = says("user", "Was heißt 你好?\n\n")
ANSWER = says("assistant", "\n Hello 😀 \n")
THOUGHT = says("assistant", "<think>\nHm, 1 < 2.\n</think>\n\nIt is so.")
REASONED = says("assistant", "Yes.", reasoning_content="\nWell.\n")
CALL = {"type": "function", "function": {"name": "weather", "arguments": {
    "city": "Zürich", "days": 2, "units": ["°C", None, 1.5], "deep": {"x": True}}}}
CALLS = says("assistant", "", tool_calls=[CALL])
TWO_CALLS = says("assistant", "Let me see.", tool_calls=[
    CALL, {"name": "time", "arguments": {"zone": "UTC"}}])
TOOL_RESULT = says("tool", '{"degrees": 21}', name="weather")
NULL_CONTENT = says("assistant", None, tool_calls=[CALL])
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "It's the \"weather\" <here> & there",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"]}}}]

SHORT = [ASK, ANSWER]

_MESSAGES = [
    [ASK], [SYSTEM, ASK], SHORT, [SYSTEM, ASK, ANSWER], [ASK, ANSWER, ASK], [ASK, THOUGHT, ASK, THOUGHT],
    [SYSTEM, ASK, REASONED, ASK, ANSWER], [ASK, REASONED], [ASK, CALLS, TOOL_RESULT],
    [ASK, TWO_CALLS, TOOL_RESULT, TOOL_RESULT, ANSWER], [ASK, NULL_CONTENT, TOOL_RESULT, THOUGHT],
    [ASK, ASK], [ANSWER], [SYSTEM], [], [says("user", "")], [says("user", ["part"])],
    [says("user", "<|im_end|></s><|eot_id|>"), says("assistant", "a\r\nb\u2028c\u00a0")],
    [ASK, ANSWER, says("system", "Now in French."), ASK],
    [ASK, says("ipython", {"a": [1, 2]}), ANSWER],
]

ALL = [{"messages": messages, "add_generation_prompt": prompt, "variables": {}}
       for messages, prompt in itertools.product(_MESSAGES, (False, True))]
ALL += [{"messages": messages, "add_generation_prompt": True, "variables": variables}
        for messages in ([SYSTEM, ASK], [ASK, CALLS, TOOL_RESULT], [ASK, TWO_CALLS, TOOL_RESULT], [])
        for variables in ({"tools": TOOLS}, {"tools": TOOLS, "tools_in_user_message": False},
                          {"tools": []}, {"enable_thinking": False}, {"enable_thinking": True},
                          {"date_string": "1 Jan 2026"}, {"builtin_tools": ["weather", "code_interpreter"]},
                          {"custom_tools": TOOLS})]
