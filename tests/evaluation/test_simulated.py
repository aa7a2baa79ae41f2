"""Figures of simulated dialogues, worked by hand, and of episodes that were played."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from agent_gym_env.assembly import play_episodes
from agent_gym_env.cli.main import main
from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import Evaluation, summarize
from agent_gym_env.evaluation.report import render_report
from agent_gym_env.evaluation.simulated import (
    OF_AGENT,
    SimulatedFigures,
    outcome,
    pass_all,
    pass_any,
)
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.rollout.episode import (
    Episode,
    SimulatedTurn,
    SimulatedUser,
    StepRecord,
    TurnRecord,
)
from agent_gym_env.types import Action, DialogueAct
from agent_gym_env.users import agenda
from agent_gym_env.users.agent_turn import AgentTurn
from tests.evaluation.episode_factory import call, episode

Capture = pytest.CaptureFixture[str]
SIMULATION: dict[str, Any] = {"env": "SGDSim-v0", "split": "dev", "understanding": "acts"}
RESTLESS = {"name": "agenda", "miss": 0.3, "volunteer": 0.5}


def played(
    dialogue_id: str = "1_00000",
    *,
    success: bool = True,
    strict: bool | None = None,
    events: Sequence[Sequence[str]] = ((), ()),
    understood: Sequence[bool] = (True, True),
    recorded: Sequence[bool] = (True, True),
    writes: int = 1,
    leaves: bool = False,
    reasons: tuple[str, ...] = (),
    calls: int = 1,
    more_turns: int = 0,
    **fields: Any,
) -> Episode:
    """Make an episode of two turns, or of as many as there are in ``events``, and some more."""
    events, understood = [*events, *[()] * more_turns], [*understood, *[True] * more_turns]
    recorded = [*recorded, *[True] * more_turns]
    verdict = Verdict(success, success if strict is None else strict, float(success), reasons)
    made = tuple(call() for _ in range(calls))
    turns = [
        TurnRecord(
            user="Hi",
            steps=(StepRecord(Action("Yes", made if number == 0 else ())),),
            reward=0.25,
            simulated=SimulatedTurn(
                "Hotels_1",
                AgentTurn("more"),
                verdict,
                answer=(UserAct("Hotels_1", "AFFIRM"),),
                understood=understood[number],
                recorded=recorded[number],
                events=tuple(each),
            ),
        )
        for number, each in enumerate(events)
    ]
    defaults = {"services": ("Hotels_1",), "seen_services": ("Hotels_1",)}
    user = SimulatedUser(dialogue_id, {"patience": 4}, 1, writes, Verdict(), leaves)
    return episode(*turns, dialogue_id=dialogue_id, simulated_user=user, **{**defaults, **fields})


def figures(*episodes: Episode) -> SimulatedFigures:
    found = summarize(episodes).simulated
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("plays", "successes", "k", "all_of", "any_of"),
    [
        (5, 3, 1, 3 / 5, 3 / 5),
        (5, 3, 2, 3 / 10, 1 - 1 / 10),
        (5, 3, 3, 1 / 10, 1.0),
        (5, 3, 4, 0.0, 1.0),
        (4, 1, 2, 0.0, 1 - 3 / 6),
        (4, 4, 4, 1.0, 1.0),
        (4, 0, 4, 0.0, 0.0),
    ],
)
def test_pass_k_is_estimated_without_bias(
    plays: int, successes: int, k: int, all_of: float, any_of: float
) -> None:
    """C(c, k) / C(n, k) and 1 - C(n - c, k) / C(n, k): 3 of 5 in two plays is 3 / 10 and 9 / 10."""
    assert pass_all(plays, successes, k) == pytest.approx(all_of)
    assert pass_any(plays, successes, k) == pytest.approx(any_of)


def test_pass_k_is_a_mean_over_dialogues() -> None:
    """Of four plays, dialogue A succeeds in 3 and B in 1: C(3, 2) / C(4, 2) = 1/2, and 0."""
    first = [played("A", success=seed < 3, seed=seed) for seed in range(4)]
    second = [played("B", success=seed < 1, seed=seed) for seed in range(4)]
    found = figures(*first, *second)
    assert [each.k for each in found.reliability] == [1, 2, 3, 4]
    assert [each.all_success.mean for each in found.reliability] == pytest.approx(
        [0.5, 0.25, 0.125, 0.0]
    )
    assert [each.any_success.mean for each in found.reliability] == pytest.approx(
        [0.5, 0.75, 0.875, 1.0]
    )
    assert {(each.fewest, each.most) for each in found.reliability} == {(4, 4)}
    assert {each.all_success.count for each in found.reliability} == {2}
    assert found.reliability[1].all_success.low == pytest.approx(0.0, abs=1e-9)
    assert found.reliability[1].all_success.high == pytest.approx(0.5)


def test_a_dialogue_with_fewer_plays_does_not_count_for_more() -> None:
    twice = [played("A", seed=seed) for seed in range(2)]
    found = figures(*twice, played("B", success=False, seed=0))
    one, two = found.reliability
    assert (one.fewest, one.most, one.all_success.mean, one.all_success.count) == (1, 2, 0.5, 2)
    assert (two.fewest, two.most, two.all_success.mean, two.all_success.count) == (2, 2, 1.0, 1)


def test_one_play_of_each_dialogue_has_no_pass_k() -> None:
    assert figures(played("A"), played("B")).reliability == ()


def test_many_plays_are_listed_by_powers_of_two() -> None:
    found = figures(*(played(seed=seed) for seed in range(20)))
    assert [each.k for each in found.reliability] == [1, 2, 3, 4, 5, 6, 7, 8, 16, 20]


def test_success_turns_and_calls_are_means_over_episodes() -> None:
    found = figures(
        played("A", calls=3),
        played("B", success=True, strict=False, more_turns=2),
        played("C", success=False, calls=2),
    )
    assert found.success.mean == pytest.approx(2 / 3)
    assert found.strict.mean == pytest.approx(1 / 3)
    assert found.turns.mean == pytest.approx(8 / 3)
    assert found.calls.mean == pytest.approx(2)


def test_dialogues_are_grouped_by_services_and_by_writes() -> None:
    services = ("Hotels_1", "Taxis_1")
    found = figures(
        played("A"),
        played("B", services=services, success=False, writes=0),
        played("C", seen_services=(), strict=False),
        played("D", seen_services=(), services=services),
    )
    means = {group: estimate.mean for group, estimate in found.strict_in.items()}
    assert means == {
        "seen": 1.0, "mixed": 0.0, "unseen": 0.5,
        "with_write": pytest.approx(2 / 3), "without_write": 0.0,
    }  # fmt: skip
    assert found.success_in["unseen"].mean == 1.0


def test_domains_have_the_strict_success_of_their_dialogues() -> None:
    services = ("Hotels_1", "Taxis_1", "Hotels_2")
    found = summarize([played("A"), played("B", services=services, strict=False)]).domains
    assert {name: estimate.mean for name, estimate in found.items()} == {"Hotels": 0.5, "Taxis": 0}


def test_a_dialogue_that_was_cut_off_is_no_success() -> None:
    cut = played(terminated=False, truncated=True)
    assert outcome(cut) is not None
    assert figures(cut).strict.mean == 0.0
    assert figures(cut).reasons == {"cut_off": 1}


def test_an_episode_that_broke_off_is_left_out() -> None:
    found = figures(played("A"), played("B", terminated=False, error="TimeoutError: slow"))
    assert (found.success.mean, found.success.count, found.success.left_out) == (1.0, 1, 1)


def test_faults_of_the_user_are_counted_apart_from_those_of_the_agent() -> None:
    """Of ten turns: 2 not understood, 3 answered by rule, 1 of each kind of the agent's faults."""
    found = figures(
        played(
            "A",
            events=(
                ("not_understood", "patience_lost", "words_own"),
                ("missed", "words_own"),
                ("words_recorded",),
                ("words_model_failed",),
                (),
            ),
            understood=(False, False, True, True, True),
            recorded=(False, False, False, False, False),
        ),
        played(
            "B",
            events=(
                ("offer_of_unknown_row", "patience_lost"),
                ("offer_refused", "patience_lost"),
                ("question_repeated", "patience_lost"),
                (),
                (),
            ),
            understood=(False, True, True, True, True),
            recorded=(False, False, False, True, True),
            leaves=True,
        ),
    ).user
    assert found.not_understood.mean == pytest.approx(0.2)
    assert found.defaults.mean == pytest.approx(0.3)
    assert found.out_of_place.mean == pytest.approx(0.1)
    assert found.corrected.mean == pytest.approx(0.1)
    assert found.ignored.mean == pytest.approx(0.1)
    assert (found.recorded_words.mean, found.recorded_words.count) == (0.25, 4)
    assert found.words_failed.mean == 0.25
    assert found.patience_lost.mean == 2.0
    assert found.leaves.mean == 0.5


def test_a_turn_that_was_misread_is_no_fault_of_the_agent() -> None:
    """Of three turns two state their acts, and one of these was read as another kind of turn."""
    one = played(
        events=(("offer_of_unknown_row",), (), ()), understood=[True] * 3, recorded=[True] * 3
    )
    stated = [(DialogueAct("REQUEST", "city"),), (DialogueAct("REQ_MORE"),), ()]
    turns = tuple(
        structs.replace(turn, steps=(StepRecord(Action("Yes", acts=acts)),))
        for turn, acts in zip(one.turns, stated, strict=True)
    )
    found = figures(structs.replace(one, turns=turns)).user
    assert (found.misread.mean, found.misread.count) == (0.5, 2)
    assert found.out_of_place.mean == 0.0


def test_every_event_of_the_user_is_known() -> None:
    """A counter that is added to the user must be sorted: its own fault, or the agent's."""
    source = inspect.getsource(agenda)
    counted = set(re.findall(r'(?:count|_not_understood)\("(\w+)"\)', source))
    own = {name for name in counted if name.startswith("default_")}
    own |= {"not_understood", "missed", "patience_lost"}
    own |= {"confirmation_in_search"}  # which the user answers
    assert counted >= OF_AGENT.keys() - {"_"}
    assert counted - own == OF_AGENT.keys()


def test_reasons_are_counted_without_slots_and_numbers() -> None:
    reasons = ("errand_0_not_settled", "errand_1_not_settled", "write_wrong:date")
    found = figures(
        played("A", success=False, reasons=reasons),
        played("B", success=False, reasons=("errand_1_not_settled",)),
    )
    assert found.reasons == {"errand_not_settled": 2, "write_wrong": 1}


def test_policies_are_compared_by_success() -> None:
    """The first is strict in 3 of 4 dialogues, the second in 1 of the same 4."""
    first = [played(f"1_0000{n}", success=n != 0, seed=n, policy="good") for n in range(4)]
    second = [played(f"1_0000{n}", success=n == 3, seed=n, policy="bad") for n in range(4)]
    found = compare(first, second)
    assert found.strict is not None
    assert found.success is not None
    assert found.strict.difference == pytest.approx(0.5)
    assert found.success.difference == pytest.approx(0.5)
    assert found.splits["with_write"].difference == pytest.approx(0.5)
    assert found.splits["without_write"].count == 0
    assert found.mean_return.difference == 0.0
    assert found.headline is found.strict


def test_other_users_are_not_compared() -> None:
    options: dict[str, Any] = {**SIMULATION, "episodes": 2}
    patient, hasty = (
        list(play_episodes("acts-oracle", patience=patience, **options)) for patience in (4, 1)
    )
    with pytest.raises(ValueError, match="their user differs"):
        compare(patient, hasty)


@pytest.fixture(scope="module")
def restless() -> list[Evaluation]:
    """Evaluations of the acts oracle, whom the user often misses, and of an agent in silence."""
    policies: list[Any] = ["acts-oracle", ConstantPolicy("")]
    return [
        summarize(play_episodes(policy, episodes=12, trials=3, user=RESTLESS, **SIMULATION))
        for policy in policies
    ]


def test_a_user_who_misses_turns_is_seen_in_the_figures(restless: list[Evaluation]) -> None:
    oracle, silent = (each.simulated for each in restless)
    assert oracle is not None
    assert silent is not None
    assert 0.15 < (oracle.user.not_understood.mean or 0) < 0.45
    assert silent.strict.mean == 0.0
    assert silent.user.leaves.mean == 1.0
    assert silent.user.not_understood.mean == 1.0
    first, *_, last = (each.all_strict.mean or 0.0 for each in oracle.reliability)
    assert last <= first
    assert [each.fewest for each in oracle.reliability] == [3, 3, 3]


def test_trials_have_seeds_of_their_own_and_a_batch_plays_the_same() -> None:
    class Batch(ConstantPolicy):
        def act_batch(self, observations: Any, *, seeds: Any) -> list[Action]:
            return [Action("Hm.") for _ in observations]

    arguments: dict[str, Any] = {"episodes": 3, "trials": 4, "user": RESTLESS, **SIMULATION}
    serial = list(play_episodes(Batch("Hm."), **arguments))
    batch = list(play_episodes(Batch("Hm."), batch=3, **arguments))
    assert len({(each.dialogue_id, each.seed) for each in serial}) == 12
    assert [each.turns for each in serial] == [each.turns for each in batch]


def test_a_report_of_simulations_shows_success_and_hides_what_does_not_apply() -> None:
    agents = [
        list(play_episodes(policy, episodes=4, trials=2, user=RESTLESS, **SIMULATION))
        for policy in ("acts-oracle", "silent")
    ]
    evaluated = [(summarize(each), each) for each in agents]
    page = render_report(evaluated, [compare(*agents)])
    for text in ("strict pass^k", "patience lost", "strict success, first minus second"):
        assert text in page
    for text in ("a due call missed", "How much turns earn", "Tool calls"):
        assert text not in page


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
def test_the_page_of_a_simulation_shows_what_the_user_made_of_each_turn(tmp_path: Path) -> None:
    from tests.evaluation.test_report import _rendered

    episodes = list(play_episodes("acts-oracle", episodes=2, **SIMULATION))
    path = tmp_path / "page.html"
    path.write_text(render_report([(summarize(episodes), episodes)]), encoding="utf-8")
    dom = _rendered(shutil.which("chromium") or "", path)
    for text in ("strict success", "simulated user", "read as", "milestones"):
        assert text in dom


def test_the_commands_evaluate_compare_and_report(tmp_path: Path, capsys: Capture) -> None:
    env = json.dumps({"name": "SGDSim-v0", "user": RESTLESS})
    policies = ["--policy", "acts-oracle", "silent"]
    command = ["evaluate", "--env", env, *policies, "--episodes", "4", "--trials", "2"]
    assert main([*command, "--out", str(tmp_path), "--understanding", "acts"]) == 0
    shown = capsys.readouterr().out
    for text in ("4 dialogues, 8 episodes", "strict pass^k", "patience lost", '"miss":0.3'):
        assert text in shown
    first, second = (str(tmp_path / f"{name}.jsonl") for name in ("acts-oracle", "silent"))
    assert main(["compare", first, second]) == 0
    assert "success" in capsys.readouterr().out
    assert main(["report", first, second, "--out", str(tmp_path / "page.html")]) == 0
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path), "--understanding", "acts", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["evaluations"][0]["simulated"]["reliability"][1]["k"] == 2
    assert main([*command, "--out", str(tmp_path), "--patience", "2"]) == 5


def test_a_configuration_holds_options_of_the_environment(capsys: Capture) -> None:
    env = {"name": "SGDSim-v0", "patience": 2, "noise": {"acts": 0.1}}
    config = {"env": env, "policy": "acts-oracle", "understanding": "acts", "episodes": 2}
    assert main(["evaluate", "--config", json.dumps(config), "--json"]) == 0
    setting = json.loads(capsys.readouterr().out)["evaluations"][0]["setting"]
    options = json.loads(setting["user"])
    assert (options["patience"], options["noise"]["acts"]) == (2, 0.1)


def test_recorded_dialogues_are_summed_up_as_before() -> None:
    episodes = list(play_episodes("oracle", split="dev", episodes=2))
    found = summarize(episodes)
    assert found.simulated is None
    assert found.setting.user is None
    plain = [msgspec.to_builtins(each) for each in (found, compare(episodes, episodes))]
    assert not {"simulated", "success", "strict"} & {*plain[0], *plain[1]}
    assert all("user" not in each["setting"] for each in plain)


def test_options_of_the_other_environment_are_refused(capsys: Capture) -> None:
    assert main(["evaluate", "--policy", "oracle", "--patience", "2"]) == 2
    assert "patience" in capsys.readouterr().err
    sim = ["evaluate", "--env", "SGDSim-v0", "--policy", "acts-oracle", "--episodes", "1"]
    assert main([*sim, "--tools-offered", "all"]) == 2
    assert "tools_offered" in capsys.readouterr().err
    assert main([*sim, "--reward", "balanced"]) == 2
    assert "reward of SGDSim-v0 must be one of task" in capsys.readouterr().err
