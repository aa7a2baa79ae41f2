"""A language model plays a dialogue. Here a script stands in for it, so that no key is needed."""

import json

from agent_gym_env.assembly import make_env
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.policies.llm import LLMPolicy
from agent_gym_env.rollout.play import play

# The same with a model (pip install -e '.[llm]', and the key in GOOGLE_API_KEY):
#     from agent_gym_env.lm.litellm_client import litellm_client
#     lm = litellm_client(budget=Budget(usd=1.0), cache=Path("out/answers"))


def answer(request: Request) -> str:
    """Say what a result holds; else call the first tool, with what the user said last."""
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
