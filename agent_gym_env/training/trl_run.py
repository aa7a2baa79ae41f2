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
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent_gym_env.corpus.disk import written_whole
from agent_gym_env.errors import DataError, ResumeMismatchError, StorageError
from agent_gym_env.extras import require
from agent_gym_env.lm.address import without_credentials
from agent_gym_env.lm.chat_templates import with_tools
from agent_gym_env.training.chat_dataset import digest
from agent_gym_env.training.progress import OnProgress
from agent_gym_env.training.sft_config import TINY
from agent_gym_env.training.training_config import LoRA, TrainingConfig

require("transformers", extra="train")

import datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
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
    MarkComplete,
    Metrics,
    Progress,
    RefuseNonFinite,
    is_at_end,
    last_complete,
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
    on_gpu = torch.cuda.is_available()
    try:
        return AutoModelForCausalLM.from_pretrained(
            config.model,
            # Frozen weights need no more digits; trained ones do, under bfloat16's autocast.
            dtype=torch.bfloat16 if on_gpu and config.lora else torch.float32,
            attn_implementation="flash_attention_2"
            if on_gpu and is_flash_attn_2_available()
            else "sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=Path(config.model).exists(),
        )
    except (OSError, ValueError) as error:
        raise DataError(f"cannot load the model: {error}", file=config.model) from error


def load_tokenizer(config: TrainingConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the model to be trained.

    Raises:
        DataError: there is none, or it has no chat template.
    """
    if config.model == TINY and not Path(TINY).exists():
        problem = "a tiny model is made from conversations, by sft: name the folder it is in"
        raise DataError(problem, file=TINY)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            config.model,
            padding_side="left",
            trust_remote_code=False,
            local_files_only=Path(config.model).exists(),
        )
    except (OSError, ValueError) as error:
        raise DataError(f"cannot load the tokenizer: {error}", file=config.model) from error
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
    ) -> None:
        _hush()
        self._config = config
        self._out = out
        self._tensorboard = tensorboard
        self._on_progress = on_progress
        self._settings = {
            "method": _name(config),
            "config": without_credentials(msgspec.to_builtins(config)),
            "rows": digest(config.rows),
        }
        self._checkpoint = self._begun(resume)

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
            MarkComplete(),
        ]
        if self._on_progress is not None:
            callbacks.append(Progress(self._on_progress, _name(self._config)))
        if self._tensorboard:
            callbacks.append(tensorboard_events(self._out / "tensorboard"))
        return callbacks

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
        unfinished = self.model_folder.with_name(".model.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        model.save_pretrained(unfinished)
        cast(PreTrainedTokenizerBase, trainer.processing_class).save_pretrained(unfinished)
        shutil.rmtree(self.model_folder, ignore_errors=True)
        unfinished.rename(self.model_folder)
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
            begun = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(f"this is no run's configuration: {error}", file=str(path)) from error
        # As JSON, where there are no tuples.
        now = msgspec.json.decode(msgspec.json.encode(self._settings))
        if begun != now:
            raise ResumeMismatchError(
                f"{self._out} holds a run that differs in {', '.join(_differences(begun, now))}"
            )


def _hush() -> None:
    """Leave it to us to show progress, and know that parts of TRL are experimental."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _fits(row: Mapping[str, Any], tokens: Callable[[Mapping[str, Any]], int], most: int) -> bool:
    return tokens(row) <= most


def _name(config: TrainingConfig) -> str:
    return type(config).__name__.removesuffix("Config").lower()


def _differences(begun: dict[str, Any], now: dict[str, Any]) -> list[str]:
    of_runs = [name for name in now if name != "config" and begun.get(name) != now[name]]
    before, after = begun.get("config", {}), now["config"]
    return of_runs + [name for name in after if before.get(name) != after[name]]
