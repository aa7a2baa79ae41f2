import msgspec
import pytest

from agent_gym_env.assembly import collect
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.server.browse.goals import Goals
from agent_gym_env.server.browse.index import Index, Key
from agent_gym_env.server.browse.runs import Run, RunFolder


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Episode]:
    folder = tmp_path_factory.mktemp("runs")
    collect(
        "acts-oracle", folder / "run", env="SGDSim-v0", understanding="acts", episodes=1, seed=0
    )
    (run,) = RunFolder(folder).runs()
    index = Index(run, folder / "cache")
    index.update()
    return run, index.episode(Key(0))


def test_the_goal_of_a_simulated_user_is_found(simulated: tuple[Run, Episode]) -> None:
    run, episode = simulated
    errands = Goals(["sample"]).errands(run, episode)
    assert errands is not None
    assert episode.simulated_user is not None
    assert len(errands) == episode.simulated_user.errands
    assert sum(each.changes for each in errands) == episode.simulated_user.writes


def test_no_corpus_is_opened_that_the_operator_has_not_allowed(
    simulated: tuple[Run, Episode],
) -> None:
    run, episode = simulated
    assert Goals([]).errands(run, episode) is None
    assert run.manifest is not None
    world = {**run.manifest.config["world"], "corpus": "os.path:join"}
    manifest = msgspec.structs.replace(run.manifest, config={"world": world})
    hostile = msgspec.structs.replace(run, manifest=manifest)
    assert Goals([]).errands(hostile, episode) is None
    assert Goals(["nowhere", "sample"]).errands(hostile, episode) is not None


def test_a_goal_of_another_corpus_is_not_shown(simulated: tuple[Run, Episode]) -> None:
    run, episode = simulated
    other = msgspec.structs.replace(episode, corpus="c0ffee")
    assert Goals(["sample"]).errands(run, other) is None
