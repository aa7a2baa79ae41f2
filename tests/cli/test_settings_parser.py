"""Options and the file of ``--config`` are made from one struct."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import pytest

from agent_gym_env.cli import main
from agent_gym_env.cli import settings as all_settings
from agent_gym_env.cli.main import COMMANDS, Command, make_parser, parse
from agent_gym_env.cli.settings import Model, Split, Variant, with_language_model
from agent_gym_env.cli.settings_parser import Named, Parser, add_options, read_settings
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS
from agent_gym_env.errors import MissingDependency
from agent_gym_env.export.preference_pairs import PairRule
from agent_gym_env.lm.base import DEFAULT_MODEL

Capture = pytest.CaptureFixture[str]


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    width: int = 8


class Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shared settings.

    Attributes:
        json: print JSON.
        size: size of a 100 % sample,
            in turns.
    """

    json: bool = False
    size: Annotated[int, msgspec.Meta(ge=1)] = 3


class Example(Base, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An example.

    Attributes:
        files: files to read.
        policy: policies.
        out_folder: folder to write.
        rate: a rate.
        model: a model.
        masked: whether to mask.
        precise: whether to be precise.
        network: the network.
        adapters: adapters, trained if named.
        kind: kind.
        words: words.
    """

    files: Annotated[
        tuple[Path, ...], msgspec.Meta(min_length=1, extra={"positional": True, "metavar": "FILES"})
    ]
    policy: tuple[Named, ...]
    out_folder: Path = Path("out")
    rate: float = 0.5
    model: Model | None = None
    masked: bool = True
    precise: bool | None = None
    network: Network = Network()
    adapters: Network | None = None
    kind: Literal["b", "a"] = "b"
    words: tuple[str, ...] = ()


def read(*words: str) -> Example:
    parser = Parser(prog="example")
    add_options(parser, Example)
    return read_settings(Example, parser.parse_args(words))


def refused(capsys: Capture, *words: str) -> str:
    """Return the message of a command line that is refused with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        read(*words)
    assert ended.value.code == 2
    return capsys.readouterr().err


NEEDED = ("a.txt", "--policy", "oracle")


def test_texts_become_values_of_the_fields_types() -> None:
    found = read(
        "a.txt", "b.txt", "--policy", "oracle", "--policy", '{"name": "constant", "text": "x"}',
        "silent", "--size", "7", "--out-folder", "there", "--rate", "1e-3", "--model",
        '{"model": "m"}', "--network", '{"width": 2}', "--kind", "a", "--json",
    )  # fmt: skip
    assert found == Example(
        files=(Path("a.txt"), Path("b.txt")),
        policy=(Named(name="oracle"), Named(name="constant", text="x"), Named(name="silent")),
        size=7,
        out_folder=Path("there"),
        rate=0.001,
        model={"model": "m"},
        network=Network(2),
        kind="a",
        json=True,
    )
    assert all(isinstance(each, Named) for each in found.policy)


def test_null_is_a_value_where_nothing_is_one() -> None:
    config = ["--config", '{"model": "m"}']
    assert read(*NEEDED, *config).model == "m"
    assert read(*NEEDED, *config, "--adapters", "null").adapters is None


def test_switches_change_the_default_or_decide_what_is_open() -> None:
    assert read(*NEEDED).masked
    assert not read(*NEEDED, "--no-masked").masked
    assert read(*NEEDED).precise is None
    assert read(*NEEDED, "--no-precise").precise is False


def test_an_object_that_is_absent_by_default_may_be_named_without_a_value() -> None:
    assert read(*NEEDED).adapters is None
    assert read(*NEEDED, "--adapters").adapters == Network(8)
    assert read(*NEEDED, "--adapters", '{"width": 4}').adapters == Network(4)


FILE: dict[str, Any] = {
    "files": ["x.txt"],
    "policy": ["oracle", {"name": "constant", "text": "Hi"}],
    "size": 5,
    "json": True,
    "network": {"width": 3},
}
TOML = """
files = ["x.txt"]
policy = ["oracle", {name = "constant", text = "Hi"}]
size = 5
json = true
[network]
width = 3
"""
YAML = """
files: [x.txt]
policy: [oracle, {name: constant, text: Hi}]
size: 5
json: true
network: {width: 3}
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [("c.json", json.dumps(FILE)), ("c.toml", TOML), ("c.yaml", YAML), ("c.yml", YAML)],
)
def test_a_file_of_each_format_holds_the_same_settings(
    name: str, content: str, tmp_path: Path
) -> None:
    if name.endswith("ml") and name != "c.toml":
        pytest.importorskip("yaml", reason="needs the extra 'cli'")
    path = tmp_path / name
    path.write_text(content)
    assert read("--config", str(path)) == read("--config", json.dumps(FILE))
    assert read("--config", str(path)).policy[1] == {"name": "constant", "text": "Hi"}


def test_options_override_the_file() -> None:
    config = ["--config", json.dumps(FILE)]
    found = read(*config, "--size", "9", "--no-json", "--policy", "silent")
    assert (found.size, found.json, found.policy) == (9, False, ({"name": "silent"},))
    assert found.network == Network(3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sise": 1}, "--config: unknown field 'sise' (did you mean 'size'?)"),
        ({"size": "5"}, "--config.size: expected a whole number, found a string"),
        ({"size": 0}, "--config.size: expected a whole number >= 1"),
        (
            {"network": {"widht": 1}},
            "--config.network: unknown field 'widht' (did you mean 'width'",
        ),
        ({"policy": [{"text": "x"}]}, '--config.policy[0]: expected an object with a "name"'),
    ],
)
def test_a_wrong_setting_of_the_file_is_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  (compared below)
        read("--config", json.dumps({**FILE, **config}))
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("words", "name"), [(("a.txt",), "--policy"), (("--policy", "oracle"), "FILES")]
)
def test_a_setting_that_is_missing_is_required(words: tuple[str, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is required$"):
        read(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "x"), "argument --size: expected a whole number, not 'x'"),
        (("--size", "0"), "argument --size: expected a whole number >= 1, not '0'"),
        (("--rate", "nan"), "argument --rate: expected a number, not 'nan'"),
        (("--kind", "c"), "argument --kind: invalid choice: 'c'"),
        (("--sise", "1"), "unknown option --sise (did you mean 'size'?)"),
        (("--policy", '{"name": '), "argument --policy: not JSON"),
        (("--policy", '{"text": "x"}'), 'expected an object with a "name"'),
        (("--network", "wide"), "argument --network: expected an object, not 'wide'"),
        (("--config", "settings.ini"), "a file that ends in .toml, .yaml, .yml, .json"),
        (("--config", "nowhere.toml"), "cannot read nowhere.toml: No such file"),
        (("--config", "{} {}"), "argument --config: not JSON"),
    ],
)
def test_a_wrong_option_is_refused_with_what_was_expected(
    words: tuple[str, ...], message: str, capsys: Capture
) -> None:
    said = refused(capsys, *NEEDED, *words)
    assert message in said
    assert "For help: example --help" in said


@pytest.mark.parametrize("content", ["a = [", "a: [", "{"])
@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".json"])
def test_a_damaged_file_is_refused(
    suffix: str, content: str, tmp_path: Path, capsys: Capture
) -> None:
    if suffix == ".yaml":
        pytest.importorskip("yaml", reason="needs the extra 'cli'")
    path = tmp_path / f"c{suffix}"
    path.write_text(content)
    assert f"cannot read {path}" in refused(capsys, *NEEDED, "--config", str(path))


def test_the_help_explains_each_option_with_its_default(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        read("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "--size N size of a 100 % sample, in turns (default: 3)" in said
    assert "FILES files to read (required)" in said
    assert "--no-masked whether to mask" in said
    assert "--masked " not in said
    assert "{b,a} kind (default: b)" in said


def leaves(commands: dict[str, Any] = COMMANDS, *path: str) -> list[tuple[str, ...]]:
    return [
        leaf
        for name, command in commands.items()
        for leaf in (
            [(*path, name)] if isinstance(command, Command) else leaves(command, *path, name)
        )
    ]


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_setting_of_every_command_is_explained(words: tuple[str, ...]) -> None:
    if words == ("train", "ppo"):
        pytest.importorskip("numpy")
    parser: Any = make_parser(words)
    for word in words:
        (commands,) = (each for each in parser._actions if each.choices and each.nargs == "A...")
        parser = commands.choices[word]
    for action in parser._actions:
        assert action.help, f"{' '.join(words)}: {action.dest}"
    assert parser.description.endswith(".")


def test_what_the_settings_repeat_is_what_the_library_has() -> None:
    assert get_args(Split) == SPLITS
    assert get_args(Variant) == SCHEMA_VARIANTS
    assert DEFAULT_MODEL in str(all_settings.ModelSettings.__doc__)
    rule = PairRule()
    explained = str(all_settings.Export.__doc__)
    assert f"difference of rewards in a pair; {rule.min_margin} by default" in explained
    assert f"pairs from one state; {rule.max_pairs} by default" in explained


def test_yaml_without_its_library_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("size: 3")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "run pip install pyyaml, or use JSON" in refused(capsys, *NEEDED, "--config", str(path))


def test_the_language_model_is_named_in_policies_and_judges_that_ask_one() -> None:
    _, settings = parse(["evaluate", "--policy", "llm", "oracle", "--model", "mine"])
    named = with_language_model(settings)
    assert named.policy == ({"name": "llm", "model": "mine"}, {"name": "oracle"})
    assert named.reward == ()


def test_a_configuration_of_a_command_is_read(tmp_path: Path) -> None:
    path = tmp_path / "play.toml"
    path.write_text('corpus = "sgd"\npolicy = "silent"\n')
    _, settings = parse(["play", "--config", str(path), "--corpus", "sample"])
    assert (settings.corpus, settings.policy) == ("sample", {"name": "silent"})


@pytest.mark.parametrize("policy", ["silent", {"name": "constant", "text": "Hi"}])
def test_a_single_value_takes_the_place_of_a_list(policy: Any) -> None:
    alone, listed = ({**FILE, "policy": each} for each in (policy, [policy]))
    assert read("--config", json.dumps(alone)) == read("--config", json.dumps(listed))


def test_a_parser_of_all_commands_leaves_out_options_whose_library_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = main._named

    def without_torch(place: str) -> Any:
        if place == "train_ppo:PPO":
            raise MissingDependency("torch is not installed")
        return named(place)

    monkeypatch.setattr(main, "_named", without_torch)
    make_parser()
    with pytest.raises(MissingDependency):
        make_parser(["train", "ppo"])
