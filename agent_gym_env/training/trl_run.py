"""A run of one of TRL's trainers: what goes in, its folder, where it goes on, what comes out.

::

    out/run.json       the configuration, and the digest of the rows
    out/metrics.jsonl  a line of measurements every so many steps
    out/checkpoints/   what a stopped run goes on from
    out/tensorboard/   the same measurements, where they are wanted
    out/model/         the trained model, a folder in Hugging Face's layout
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent_gym_env.errors import DataError, ResumeMismatchError, StorageError
from agent_gym_env.extras import require
from agent_gym_env.lm.address import without_credentials
from agent_gym_env.lm.chat_templates import with_tools
from agent_gym_env.lm.huggingface_hub import locate_model
from agent_gym_env.lm.model_folder import no_progress_bar, reading_model, refuse_missing
from agent_gym_env.process_wide import SharedChange, environment_variable
from agent_gym_env.storage.files import folder_written_whole, read_file, written_whole
from agent_gym_env.training.chat_dataset import digest
from agent_gym_env.training.process_state import random_state_kept
from agent_gym_env.training.progress import OnMeasured, OnProgress
from agent_gym_env.training.sft_config import TINY
from agent_gym_env.training.training_config import LoRA, TrainingConfig

require("transformers", extra="train")

import datasets  # noqa: E402
import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils.import_utils import is_flash_attn_2_available  # noqa: E402

from agent_gym_env.training.trl_callbacks import (  # noqa: E402
    KeepTrained,
    MarkComplete,
    Metrics,
    Progress,
    RefuseNonFinite,
    Trained,
    is_at_end,
    last_complete,
    read_trained,
    refuse_non_finite,
    tensorboard_events,
)

if TYPE_CHECKING:
    from peft import LoraConfig

_CHECKPOINTING = next(
    field.name
    for field in dataclasses.fields(TrainingArguments)
    if field.name in ("activation_checkpointing", "gradient_checkpointing")
)
"""The newer name where there are both."""


def load_model(config: TrainingConfig) -> PreTrainedModel:
    """Load the model to be trained, on a GPU where there is one.

    Nothing of its folder is executed: weights are taken from safetensors only.

    Raises:
        DataError: there is no such model, or it has no safetensors.
    """
    source, on_gpu = locate_model(config.model), torch.cuda.is_available()
    with reading_model(source.name):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.name,
            # Frozen weights need no more digits; trained ones do, under bfloat16's autocast.
            dtype=torch.bfloat16 if on_gpu and config.lora else torch.float32,
            attn_implementation="flash_attention_2"
            if on_gpu and is_flash_attn_2_available()
            else "sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=source.local_files_only,
            output_loading_info=True,
        )
    model: PreTrainedModel
    model, loading_info = loaded
    refuse_missing(source.name, loading_info)
    return model


def load_tokenizer(config: TrainingConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the model to be trained.

    Raises:
        DataError: there is none, or it has no chat template.
    """
    if config.model == TINY and not Path(TINY).exists():
        problem = "a tiny model is made from conversations, by sft: name the folder it is in"
        raise DataError(problem, file=TINY)
    source = locate_model(config.model)
    with reading_model(source.name, "tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source.name,
            padding_side="left",
            trust_remote_code=False,
            local_files_only=source.local_files_only,
        )
    tokenizer = with_tools(tokenizer, config.chat_template, config.model)
    if tokenizer.chat_template is None:
        problem = (
            "the tokenizer has no chat template: take a model that was made for chats, or give one "
            "with chat_template (--chat-template): a file, `hermes` or `compact`"
        )
        raise DataError(problem, file=config.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def peft_config(lora: LoRA | None) -> LoraConfig | None:
    """Give the adapters as TRL's trainers take them.

    Raises:
        MissingDependency: peft is not installed.
    """
    if lora is None:
        return None
    require("peft", extra="train")
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        task_type="CAUSAL_LM",
    )


class TRLRun:
    """One run.

    Args:
        config: of the run.
        out: its folder.
        resume: go on from the last checkpoint in the folder, or begin where there is none.
        tensorboard: write TensorBoard's event files.
        on_progress: called with the method's name and the numbers of steps done and of all.
        on_measured: called with the trainer's measurements, such as ``loss``.

    Attributes:
        trained: counts of the data that the run was trained on, also before it was resumed.

    Raises:
        StorageError: the folder holds a run already, and this one is not to go on with it.
        ResumeMismatchError: the folder holds a run of another configuration or of other rows.
        DataError: a file of rows cannot be read.
    """

    def __init__(
        self,
        config: TrainingConfig,
        out: Path,
        *,
        resume: bool = False,
        tensorboard: bool = False,
        on_progress: OnProgress | None = None,
        on_measured: OnMeasured | None = None,
    ) -> None:
        if config.model != TINY:
            locate_model(config.model)  # before the rows are read, which may take long
        self._config = config
        self._out = out
        self._tensorboard = tensorboard
        self._on_progress = on_progress
        self._on_measured = on_measured
        self._settings = {
            "method": _name(config),
            "config": without_credentials(msgspec.to_builtins(config)),
            "rows": digest(config.rows),
        }
        self._checkpoint = self._begun(resume)
        self.trained = Trained() if self._checkpoint is None else read_trained(self._checkpoint)

    @property
    def model_folder(self) -> Path:
        """Where the trained model goes."""
        return self._out / "model"

    def arguments(self) -> dict[str, Any]:
        """Give what all of TRL's configurations take by these names."""
        config, on_gpu = self._config, torch.cuda.is_available()
        return {
            "output_dir": str(self._out / "checkpoints"),
            "learning_rate": config.learning_rate,
            "num_train_epochs": config.epochs,
            "max_steps": config.max_steps or -1,
            "per_device_train_batch_size": config.batch_size,
            "per_device_eval_batch_size": config.batch_size,
            "gradient_accumulation_steps": config.gradient_accumulation,
            "lr_scheduler_type": config.schedule,
            "warmup_steps": config.warmup if config.warmup < 1 else 0.999,
            "weight_decay": config.weight_decay,
            "max_grad_norm": config.max_grad_norm,
            _CHECKPOINTING: config.gradient_checkpointing,
            "logging_steps": config.log_every,
            "logging_first_step": True,
            "logging_nan_inf_filter": False,
            "eval_strategy": "steps" if config.held_out and config.eval_every else "no",
            "eval_steps": config.eval_every,
            "save_strategy": "steps",
            "save_steps": config.save_every,
            "save_total_limit": 2,
            "seed": config.seed,
            "bf16": on_gpu if config.bf16 is None else config.bf16,
            "use_cpu": not on_gpu,
            "report_to": "none",
            "disable_tqdm": True,
        }

    def callbacks(self) -> list[TrainerCallback]:
        """Give what a trainer is to tell as it goes."""
        callbacks: list[TrainerCallback] = [
            Metrics(self._out / "metrics.jsonl"),
            RefuseNonFinite(),
            KeepTrained(self.trained),
            MarkComplete(),  # the last of those that write to a checkpoint
            Progress(_name(self._config), self._on_progress, self._on_measured),
        ]
        if self._tensorboard:
            callbacks.append(tensorboard_events(self._out / "tensorboard"))
        return callbacks

    def count_batches(self, trainer: Any) -> None:
        """Make a trainer that reads rows add its batches to `trained`."""
        take_step = trainer.training_step

        def training_step(model: Any, inputs: Mapping[str, Any], *more: Any, **named: Any) -> Any:
            self.trained.add_batch(inputs)
            return take_step(model, inputs, *more, **named)

        trainer.training_step = training_step

    def train(self, trainer: Trainer) -> Path:
        """Train to the end, and save the model with its adapters merged into it.

        Returns:
            The folder of the trained model.

        Raises:
            AgentGymError: loss, gradient or weights are no numbers any more.
            DataError: a checkpoint holds more than tensors and numbers.
        """
        # Not before: a model or a row that cannot be read has begun nothing.
        self._write("run.json", self._settings)
        self._go_on(trainer)
        model = trainer.accelerator.unwrap_model(trainer.model)
        refuse_non_finite(model)
        if self._config.lora is not None:
            model = model.merge_and_unload()
        with folder_written_whole(self.model_folder, replaces=True) as unfinished:
            model.save_pretrained(unfinished)
            cast(PreTrainedTokenizerBase, trainer.processing_class).save_pretrained(unfinished)
        return self.model_folder

    def report(self, report: msgspec.Struct) -> None:
        """Write ``report.json``: what the run has made of its rows."""
        self._write("report.json", report)

    def leave_out_long(
        self, trainer: Any, tokens: Callable[[Mapping[str, Any]], int], kind: str
    ) -> None:
        """Take the rows that have too many tokens from what a trainer has prepared.

        Args:
            trainer: would cut off their ends.
            tokens: counts a row's.
            kind: what a row is called.

        Raises:
            DataError: no row is left to train on.
        """
        bounds = {"tokens": tokens, "most": self._config.max_length}
        trainer.train_dataset = trainer.train_dataset.filter(_fits, fn_kwargs=bounds)
        if not len(trainer.train_dataset):
            problem = f"no {kind} has at most max_length={self._config.max_length} tokens"
            raise DataError(problem, file=self._config.rows[0])
        if trainer.eval_dataset is not None:
            trainer.eval_dataset = trainer.eval_dataset.filter(_fits, fn_kwargs=bounds)

    def _go_on(self, trainer: Trainer) -> None:
        # It prints what is measured to the standard output, which is not the library's.
        trainer.remove_callback(PrinterCallback)
        try:
            if self._checkpoint is not None and is_at_end(self._checkpoint):
                # The trainer would take a step before it sees that none is left.
                trainer.remove_callback(Metrics)
                trainer._load_from_checkpoint(self._checkpoint)
            else:
                trainer.train(resume_from_checkpoint=self._checkpoint)
        except pickle.UnpicklingError as error:
            problem = f"the checkpoint holds what is not loaded: {error}"
            raise DataError(problem, file=self._checkpoint) from error

    def _write(self, name: str, value: Any) -> None:
        with written_whole(self._out / name) as file:
            file.write(msgspec.json.format(msgspec.json.encode(value)))

    def _begun(self, resume: bool) -> str | None:
        """See that a run in the folder is this one; give its last checkpoint."""
        path = self._out / "run.json"
        if not path.exists():
            return None
        self._compare(path, resume=resume)
        return last_complete(self._out / "checkpoints")

    def _compare(self, path: Path, *, resume: bool) -> None:
        if not resume:
            raise StorageError(
                f"{self._out} holds a run already: resume it, or name another folder"
            )
        try:
            begun = msgspec.json.decode(read_file(path), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"this is no run's configuration: {error}", file=str(path)) from error
        # As JSON, where there are no tuples.
        now = msgspec.json.decode(msgspec.json.encode(self._settings))
        if begun != now:
            raise ResumeMismatchError(
                f"{self._out} holds a run that differs in {', '.join(_differences(begun, now))}"
            )


@contextmanager
def process_kept() -> Iterator[None]:
    """Change the process as runs need it, and restore it when the last run ends.

    Progress bars and TRL's warning that parts of it are experimental are off. The trainers seed the
    process's random generators.
    """
    with _quiet.held(), no_progress_bar.held(), random_state_kept():
        yield


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    were_shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with environment_variable("TRL_EXPERIMENTAL_SILENCE", "1", override=False):
            yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()


_quiet = SharedChange(_quiet_libraries)


def _fits(row: Mapping[str, Any], tokens: Callable[[Mapping[str, Any]], int], most: int) -> bool:
    return tokens(row) <= most


def _name(config: TrainingConfig) -> str:
    return type(config).__name__.removesuffix("Config").lower()


def _differences(begun: dict[str, Any], now: dict[str, Any]) -> list[str]:
    of_runs = [name for name in now if name != "config" and begun.get(name) != now[name]]
    before, after = begun.get("config"), now["config"]
    if not isinstance(before, dict):
        return [*of_runs, "config"]
    return of_runs + [name for name in after if before.get(name) != after[name]]
