import pytest
from msgspec import structs

from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import transcript
from tests.evaluation.episode_factory import call, episode, turn


def test_the_conversation_is_rebuilt_message_by_message() -> None:
    played = episode(turn(made=[call(city="Lisbon")], user="Hi", says="One."), turn(user="More"))
    first, second = (messages.closed for messages in transcript(played))
    assert first == (
        '[{"role":"user","content":"Hi"},'
        '{"role":"assistant","content":null,"tool_calls":[{"id":"call_0","type":"function",'
        '"function":{"name":"Hotels_1-FindHotel","arguments":"{\\"city\\":\\"Lisbon\\"}"}}]},'
        '{"role":"tool","tool_call_id":"call_0",'
        '"content":"{\\"name\\":\\"Hotels_1-FindHotel\\",\\"status\\":\\"success\\",'
        '\\"results\\":[]}"},'
        '{"role":"assistant","content":"One."}]'
    )
    assert second.startswith(f'{first[:-1]},{{"role":"user","content":"More"}}')


def test_calls_are_numbered_through_the_whole_dialogue() -> None:
    made = [call(city="Lisbon"), call(city="Porto")]
    *_, last = transcript(episode(turn(made=made), turn(made=made)))
    messages = last.closed
    assert [f'"tool_call_id":"call_{number}"' in messages for number in range(5)] == [
        True, True, True, True, False
    ]  # fmt: skip


@pytest.mark.parametrize("results", ["[]", "[1, 2, 3]", "", "no JSON"])
def test_results_that_do_not_answer_the_calls_are_named_by_their_place(results: str) -> None:
    good = turn(made=[call()])
    bad = turn(made=[call(), call()])
    steps = (structs.replace(bad.steps[0], tool_result=results), bad.steps[1])
    broken = episode(good, structs.replace(bad, steps=steps), dialogue_id="7_00001")
    with pytest.raises(DataError, match="dialogue 7_00001, turn 1"):
        list(transcript(broken))
