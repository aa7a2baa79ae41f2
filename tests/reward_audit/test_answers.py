from pathlib import Path

import pytest

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.evaluation.rescore import closed_turns
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.reward_audit.answers import MAX_TEXT_CHARS, Reply, recorded_turns
from agent_gym_env.rollout.play import play_all
from agent_gym_env.types import ToolCall


@pytest.fixture(scope="module")
def tiny(tiny_corpus: Path) -> Corpus:
    return open_corpus(tiny_corpus)


def test_a_turn_as_recorded_says_and_calls_what_the_corpus_did(tiny: Corpus) -> None:
    turn = list(recorded_turns(tiny.split("train").task(0)))[1].closed
    assert turn.text == "We are out of Sencha."
    assert turn.calls == (ToolCall("Teas_1-Order", {"name": "Sencha", "grams": "50"}),)
    assert (turn.index, turn.date) == (1, "2019-03-01")


def test_recorded_turns_are_those_that_the_oracle_plays(tiny: Corpus) -> None:
    env = SGDEnv(tiny.name, split="dev")
    for episode in play_all(env, OraclePolicy(env), env.split.dialogue_ids()):
        task = env.split.task(env.split.index(episode.dialogue_id))
        recorded = [turn.closed for turn in recorded_turns(task, episode.tools)]
        assert recorded == list(closed_turns(episode))


def test_the_conversation_as_asked_ends_with_the_words_of_the_user(tiny: Corpus) -> None:
    task = tiny.split("dev").task(0)
    for index, turn in enumerate(recorded_turns(task)):
        assert turn.closed.log.startswith(turn.asked)
        assert turn.asked.endswith(f'{{"role":"user","content":"{task.turns[index].user}"}}')


def test_another_call_has_no_result_and_the_recorded_one_keeps_its_own(tiny: Corpus) -> None:
    turn = next(recorded_turns(tiny.split("train").task(0)))
    assert turn.closed.calls
    assert turn.answered(Reply("Hm.", turn.closed.calls)).log == turn.closed.log
    other = turn.answered(Reply("Hm.", (ToolCall("Teas_1-Sing"),)))
    assert (other.text, other.log) == ("Hm.", turn.asked)


def test_an_answer_is_cut_where_the_environment_cuts_it(tiny: Corpus) -> None:
    turn = next(recorded_turns(tiny.split("train").task(0)))
    assert len(turn.answered(Reply("x" * 100_000)).text) == MAX_TEXT_CHARS
