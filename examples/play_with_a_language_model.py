"""A language model plays a dialogue. Here a script takes its place, so that no key is needed."""

import json

from agent_gym_env import LLMPolicy, Request, make_env, play
from agent_gym_env.testing import ScriptedLM

# The same with a model (pip install -e '.[llm]', and the key in GOOGLE_API_KEY):
#     lm = open_model({"model": "gemini/…", "budget_usd": 1.0, "cache": "out/answers"})


def answer(request: Request) -> str:
    """Report a tool's result, or call the first tool with the user's last message."""
    last = request.messages[-1]
    if last["role"] == "tool":
        rows = json.loads(last["content"]).get("results") or [{"answer": "nothing"}]
        return "I found " + ", ".join(rows[0].values())
    function = request.tools[0]["function"]
    arguments = dict.fromkeys(function["parameters"]["required"], last["content"])
    # In text, as a small model may write it: the policy reads it all the same.
    return f"```json\n{json.dumps({'name': function['name'], 'arguments': arguments})}\n```"


env = make_env(split="dev", reward="balanced", render_mode="ansi")
lm = ScriptedLM(answer)
episode = play(env, LLMPolicy(lm), seed=7)
print(env.render())
print(f"{len(lm.requests)} requests; the first turn earned {episode.turns[0].reward:.3f}")
