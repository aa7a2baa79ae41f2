"""A manifest determines what is played, and is refused where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.benchmark import Manifest, manifest_names, new_manifest, read_manifest
from agent_gym_env.benchmark.manifest import open_benchmark, world, write_manifest
from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError

USER = {"name": "agenda", "miss": 0.1, "volunteer": 0.5}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return new_manifest("mine", split="dev", episodes=4, seed=3, trials=2)


def changed(manifest: Manifest, **fields: Any) -> bytes:
    return json.dumps({**msgspec.to_builtins(manifest), **fields}).encode()


def test_a_manifest_is_read_as_it_was_written(manifest: Manifest, tmp_path: Path) -> None:
    write_manifest(manifest, tmp_path / "mine.json")
    again = read_manifest(tmp_path / "mine.json")
    assert again == manifest
    assert again.hash == manifest.hash
    assert read_manifest(manifest) is manifest


def test_toml_and_json_of_the_same_values_have_the_same_hash(tmp_path: Path) -> None:
    made = new_manifest("s", env="SGDSim-v0", split="dev", episodes=2, user=USER)
    values = msgspec.to_builtins(made)
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if _is_flat(value)]
    lines += ["[reward]", 'name = "task"', "[options.user]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in USER.items()]
    (tmp_path / "s.toml").write_text("\n".join(lines))
    assert read_manifest(tmp_path / "s.toml").hash == made.hash


def _is_flat(value: object) -> bool:
    return value is not None and not isinstance(value, dict)


def test_the_manifests_of_the_package_are_read_and_two_are_of_the_sample() -> None:
    assert manifest_names() == ["sgd-sample", "sgd-test", "sgdsim-sample", "sgdsim-test"]
    found = {name: read_manifest(name) for name in manifest_names()}
    assert len({each.hash for each in found.values()}) == 4
    for name in ("sgd-sample", "sgdsim-sample"):
        _, ids = open_benchmark(found[name])
        assert len(ids) == found[name].dialogue_count


def test_the_manifests_of_sgd_are_of_the_real_corpus(sgd_path: Path) -> None:
    for name in ("sgd-test", "sgdsim-test"):
        manifest = read_manifest(name)
        _, ids = open_benchmark(manifest, str(sgd_path))
        assert len(ids) == manifest.dialogue_count


def test_ids_that_do_not_match_their_hash_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    first, second, *others = manifest.dialogues
    (tmp_path / "m.json").write_bytes(changed(manifest, dialogues=[second, first, *others]))
    with pytest.raises(DataError, match="are not the 4 that dialogues_hash"):
        read_manifest(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"dialogs": 1}, "unknown field 'dialogs'.*'dialogues'"),
        ({"env": "SGD-v1"}, "env: expected one of SGD-v0, .*did you mean 'SGD-v0'"),
        ({"trials": 65}, "64"),
        ({"fingerprint": "abc"}, "fingerprint"),
        ({"options": {"corpus": "/etc"}}, "has no option 'corpus'"),
        ({"reward": {}}, 'reward must be an object with a "name"'),
        ({"format": 2}, "the format is 2; this version reads 1"),
        ({"name": "x" * 201}, "name"),
    ],
)
def test_a_wrong_field_is_an_error_that_names_it(
    manifest: Manifest, tmp_path: Path, fields: dict[str, Any], problem: str
) -> None:
    (tmp_path / "m.json").write_bytes(changed(manifest, **fields))
    with pytest.raises(DataError, match=problem):
        read_manifest(tmp_path / "m.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_a_manifest_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    for name in ("m.json", "m.toml"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="not a manifest"):
            read_manifest(tmp_path / name)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="did you mean 'sgd-sample'"):
        read_manifest("sgd-sampel")


def test_another_corpus_is_refused(manifest: Manifest, tiny_corpus: Path) -> None:
    with pytest.raises(DataError, match="the corpus is not the benchmark's: its fingerprint is"):
        open_benchmark(manifest, str(tiny_corpus))


def test_a_corpus_with_another_train_split_is_refused(manifest: Manifest) -> None:
    other = msgspec.structs.replace(manifest, train_fingerprint="0" * 64)
    with pytest.raises(DataError, match="its train_fingerprint is"):
        open_benchmark(other)


def test_a_manifest_names_places_of_this_package_only(manifest: Manifest) -> None:
    for corpus in ("/etc", "os:path", "logs"):
        other = msgspec.structs.replace(manifest, corpus=corpus)
        with pytest.raises(ValueError, match="say with --corpus where it is"):
            world(other)


def test_a_manifest_of_a_path_has_its_last_name_only(tiny_corpus: Path) -> None:
    made = new_manifest("t", corpus=str(tiny_corpus), split="train")
    assert made.corpus == tiny_corpus.name
    assert made.dialogues == "all"
    assert open_benchmark(made, str(tiny_corpus))[1]


def test_the_command_writes_a_manifest(tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    env = json.dumps({"name": "SGDSim-v0", "user": USER})
    options = ["--env", env, "--split", "dev", "--episodes", "3", "--trials", "2"]
    assert main(["benchmark", "new", "--name", "mine", "--out", str(out), *options]) == 0
    found = read_manifest(out)
    assert (found.env, found.options["user"], found.trials) == ("SGDSim-v0", USER, 2)
    assert main(["benchmark", "new", "--name", "", "--out", str(out)]) == 2


@pytest.mark.parametrize("name", ["mine.toml", "mine.yaml", "mine"])
def test_a_manifest_goes_to_a_file_that_can_be_read_back(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert main(["benchmark", "new", "--name", "m", "--split", "dev", "--out", str(out)]) == 2
    assert "expected a file that ends in .json" in capsys.readouterr().err
    assert not out.exists()
