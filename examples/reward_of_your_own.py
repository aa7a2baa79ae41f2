"""A reward of your own: any object with a name, the names of its parts, and ``score``."""

from agent_gym_env import ClosedTurn, Score, play_episodes, rescore, summarize


class Brevity:
    """Full marks for a reply that is no longer than the recorded one, fewer for each word more."""

    name = "brevity"
    parts = ("words_saved",)

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; a turn in which the agent says nothing is not for this reward to judge."""
        said, expected = len(turn.text.split()), len(turn.target.text.split())
        if said == 0:
            return Score(None, {"words_saved": None}, reason="nothing was said")
        value = min(1.0, expected / said)
        return Score(value, {"words_saved": value})


# In play: the environment asks it at the end of each turn …
played = list(play_episodes("constant", split="dev", reward=Brevity(), episodes=20))
print(summarize(played).reward)

# … or afterwards, on episodes that were played under another reward.
recorded = play_episodes("constant", split="dev", reward="balanced", episodes=20)
rescored = [rescore(episode, Brevity()) for episode in recorded]
print(summarize(rescored).reward)
