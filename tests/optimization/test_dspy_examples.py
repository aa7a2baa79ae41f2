from __future__ import annotations

import json

import pytest

from agent_gym_env.corpus.corpus import Corpus
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.optimization.dspy_examples import (
    RecordedTurns,
    TurnProgram,
    choose_turns,
    program_of,
)
from agent_gym_env.policies.dspy_module import SGDAgentModule, program_inputs
from agent_gym_env.policies.dspy_program import DSPyPolicy
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.rewards.presets import make_reward_for
from tests.optimization.pupil import Pupil, recorded_steps

dspy = pytest.importorskip("dspy", reason="pip install -e '.[dspy]'")


@pytest.fixture(scope="module")
def recorded(sample: Corpus) -> RecordedTurns:
    split = sample.split("train")
    return RecordedTurns(split, make_reward_for("balanced", split, sample))


def with_call(recorded: RecordedTurns) -> str:
    """A turn in which a call is due, with another one before it."""
    for index in range(len(recorded.split)):
        task = recorded.split.task(index)
        due = [number for number, turn in enumerate(task.turns) if turn.call is not None]
        if len(due) > 1:
            return f"{task.dialogue_id}#{due[1]}"
    raise AssertionError


def test_an_example_is_the_conversation_as_the_environment_shows_it(
    recorded: RecordedTurns,
) -> None:
    turn = with_call(recorded)
    example = recorded.example(turn)
    replay = recorded.replay(turn)
    observation, info = replay.begin()
    assert info["turn"] == int(turn.rpartition("#")[2])
    assert example.inputs().toDict() == {
        **program_inputs(observation, replay.task.date), "turn": turn
    }  # fmt: skip
    lines = [json.loads(line) for line in example.conversation.splitlines()]
    assert lines[0] == {"today": "Friday, 2019-03-01"}
    assert lines[-1] == {"user": replay.recorded_turn().user}
    assert any("result" in line for line in lines)


def test_an_example_shows_the_step_that_was_recorded(recorded: RecordedTurns) -> None:
    example = recorded.example(with_call(recorded))
    call = recorded.replay(example.turn).recorded_turn().call
    assert call is not None
    assert json.loads(example.tool_call) == {"name": call.name, "arguments": call.arguments}
    assert example.response == ""
    assert example.reference_reply == recorded.replay(example.turn).recorded_turn().text


def test_a_turn_can_be_entered_again_and_again(recorded: RecordedTurns) -> None:
    turn = with_call(recorded)
    first, second = recorded.replay(turn), recorded.replay(turn)
    first.step(("Hm.", (), None))
    assert second.begin() == recorded.replay(turn).begin()


def test_the_way_to_a_turn_asks_no_reward(sample: Corpus) -> None:
    class Expensive(GroundTruthReward):
        def score(self, turn: object) -> object:  # type: ignore[override]
            raise AssertionError("an earlier turn must not be scored")

    recorded = RecordedTurns(sample.split("train"), Expensive())  # type: ignore[arg-type]
    recorded.replay(with_call(recorded))


def test_groups_of_turns_share_no_dialogue(sample: Corpus) -> None:
    groups = choose_turns(sample.split("train"), [50, 50, 50], seed=3)
    dialogues = [{turn.rpartition("#")[0] for turn in group} for group in groups]
    assert [len(group) for group in groups] == [50, 50, 50]
    assert [len(each) for each in dialogues] == [50, 50, 50]
    assert not set.intersection(*dialogues)
    assert len(set().union(*dialogues)) == 150


def test_more_turns_than_dialogues_take_several_of_each(sample: Corpus) -> None:
    groups = choose_turns(sample.split("dev"), [100, 50], seed=3)
    dialogues = [{turn.rpartition("#")[0] for turn in group} for group in groups]
    assert [len(set(group)) for group in groups] == [100, 50]
    assert not dialogues[0] & dialogues[1]


def test_the_draw_is_that_of_its_seed(sample: Corpus) -> None:
    split = sample.split("dev")
    assert choose_turns(split, [5], seed=1) == choose_turns(split, [5], seed=1)
    assert choose_turns(split, [5], seed=1) != choose_turns(split, [5], seed=2)


def test_more_turns_than_there_are_are_refused(sample: Corpus) -> None:
    with pytest.raises(ValueError, match="turns for a group of 9999: ask for fewer"):
        choose_turns(sample.split("dev"), [9999], seed=1)


def test_a_played_turn_carries_the_reward_of_the_environment(
    sample: Corpus, recorded: RecordedTurns
) -> None:
    pupil = Pupil(recorded_steps([recorded.split]), remembers=1.0)
    lm = ScriptedLM(lambda request: pupil.answer(request.messages))
    policy = DSPyPolicy(SGDAgentModule(), lm)
    turn = with_call(recorded)
    score = recorded.play(policy, turn)
    assert score.value == 1.0
    assert score.components["tool_accuracy"] == 1.0
    assert len(lm.requests) == 2

    with dspy.context(lm=policy._lm):
        played = TurnProgram(SGDAgentModule(), recorded)(**recorded.example(turn).inputs())
    assert (played.reward, played.components) == (score.value, score.components)
    assert len(played.tool_calls) == 1


def test_a_program_is_taken_out_with_its_instructions_and_demonstrations(
    recorded: RecordedTurns,
) -> None:
    compiled = TurnProgram(SGDAgentModule(), recorded)
    predictor = compiled.agent.predict.predict
    predictor.signature = predictor.signature.with_instructions("Be good.")
    predictor.demos = [recorded.example(with_call(recorded))]
    agent = program_of(compiled)
    assert agent.instructions == "Be good."
    assert list(agent.demos[0]) == ["conversation", "tools", "response", "tool_call"]
