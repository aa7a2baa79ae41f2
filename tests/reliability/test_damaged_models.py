"""A saved policy, program, model or cache with any damage is read or refused."""

from __future__ import annotations

import io
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.retrieval.model_file import RetrievalModel
from agent_gym_env.retrieval.training import load_or_train, train_model
from tests.reliability.damage import damaged, damaged_bytes
from tests.reliability.playing import sized

Damage = Callable[[bytes, random.Random], bytes]


def outcomes_of(path: Path, use: Callable[[], object], damage: Damage, attempts: int) -> None:
    """Use a file that is damaged in many ways; it is put back at the end."""
    whole = path.read_bytes()
    random_ = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(attempts):
        path.write_bytes(damage(whole, random_))
        outcomes[attempt(use)] += 1
    path.write_bytes(whole)
    print(path.name, dict(outcomes))
    assert attempt(use) == "used"
    assert outcomes["refused"] or attempts < 20


def attempt(use: Callable[[], object]) -> str:
    """Use a file; gives what came of it."""
    try:
        use()
    except AgentGymError:
        return "refused"
    return "used"


def damaged_archive(content: bytes, random_: random.Random) -> bytes:
    """Damage the bytes of an archive, or a member, with a checksum that is right."""
    if random_.random() < 0.5:
        return damaged_bytes(content, random_)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random_.choice(list(members))
    draw = random_.random()
    if draw < 0.6:
        members[name] = damaged_bytes(members[name][:2_000], random_) + members[name][2_000:]
    elif draw < 0.8:
        del members[name]
    else:
        members[name] = random_.choice(list(members.values()))
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for each, said in members.items():
            archive.writestr(each, said)
    return changed.getvalue()


@pytest.fixture(scope="module")
def train() -> Split:
    return open_corpus("sample").split("train")


def test_a_damaged_memory_is_learned_anew(train: Split, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    train_model(train, training_dialogues=3, indexed=3).save(path)
    outcomes_of(path, lambda: RetrievalModel.load(path), damaged_archive, sized(40, 2_000))


def test_a_model_with_a_member_that_is_not_an_array_is_trained_again(
    train: Split, agent_gym_home: Path
) -> None:
    first = load_or_train(train, training_dialogues=2, indexed=3)
    (path,) = (agent_gym_home / "retrieval").glob(f"{train.fingerprint[:8]}*-2-3-*.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.npy", b"not an array")
    with pytest.raises(DataError, match="this is not a retrieval model"):
        RetrievalModel.load(path)
    again = load_or_train(train, training_dialogues=2, indexed=3)
    assert np.array_equal(first.classifier.weights, again.classifier.weights)
    assert RetrievalModel.load(path).vocabulary == first.vocabulary


def test_a_damaged_policy_is_refused_or_read(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra 'sb3'")
    from agent_gym_env.policies.sb3_model import SB3Policy
    from tests.policies.test_sb3_model import Source, policy

    path = tmp_path / "policy.npz"
    policy().save(path)
    outcomes_of(path, lambda: SB3Policy.load(path, Source()), damaged_archive, sized(100, 2_000))


def test_a_damaged_checkpoint_is_refused_or_read(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3", reason="needs the extra 'sb3'")
    pytest.importorskip("sb3_contrib", reason="needs the extra 'sb3'")
    from agent_gym_env.training.ppo import train_ppo
    from agent_gym_env.training.ppo_run import CHECKPOINT
    from tests.training.small_run import small

    config = small(total_timesteps=64, cloning={"dialogues": 0}, evaluation={"dialogues": 1})
    train_ppo(config, out=tmp_path)
    outcomes_of(
        tmp_path / CHECKPOINT,
        lambda: train_ppo(config, out=tmp_path, resume=True),
        damaged_archive,
        sized(20, 2_000),
    )


def test_a_damaged_program_is_refused_or_read(tmp_path: Path) -> None:
    pytest.importorskip("dspy", reason="needs the extra 'dspy'")
    from agent_gym_env.policies.dspy_module import load_program, save_program
    from tests.policies.test_dspy_module import taught

    path = tmp_path / "program.json"
    save_program(taught(), path)
    outcomes_of(path, lambda: load_program(path), damaged, sized(100, 2_000))


def test_a_damaged_model_folder_is_refused_or_loaded(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra 'train'")
    from agent_gym_env.lm.transformers_client import load_model
    from tests.local_models import write_model

    folder = write_model(tmp_path / "model")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in files}
    for path in files:
        damage = damaged if path.suffix == ".json" else damaged_bytes
        outcomes_of(path, lambda: load_model(folder), damage, sized(24, 2_000) // len(files))
