"""The recipe that SFT, DPO and GRPO share: a run of one of TRL's trainers, and its folder.

::

    out/run.json       the settings, and the digest of the rows
    out/metrics.jsonl  a line of measurements every few steps
    out/checkpoints/   the state that a stopped run is resumed from
    out/tensorboard/   the measurements for TensorBoard, if wanted
    out/model/         the trained model, a folder in Hugging Face's layout
    out/report.json    the data that the run was trained on, and its results
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import msgspec

from agent_gym_env.errors import DataError, ResumeMismatchError, StorageError
from agent_gym_env.extras import require
from agent_gym_env.lm.chat_templates import with_tools
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.lm.huggingface_models import (
    locate_model,
    no_progress_bar,
    reading_model,
    refuse_missing,
)
from agent_gym_env.process_wide import SharedChange, environment_variable, random_state_kept
from agent_gym_env.storage.files import folder_written_whole, read_file, written_whole
from agent_gym_env.training.chat_dataset import digest
from agent_gym_env.training.config import TINY, LoRA, OnMeasured, OnProgress, TrainingConfig

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

from agent_gym_env.training.trackers import Tracker, guarded  # noqa: E402
from agent_gym_env.training.trl_callbacks import (  # noqa: E402
    KeepTrained,
    MarkComplete,
    Metrics,
    Progress,
    RefuseNonFinite,
    Track,
    Trained,
    is_at_end,
    last_complete,
    read_trained,
    refuse_non_finite,
    tensorboard_events,
)

if TYPE_CHECKING:
    from peft import LoraConfig
    from typing_extensions import Unpack

_Config = TypeVar("_Config", bound=TrainingConfig)

_CHECKPOINTING = next(
    field.name
    for field in dataclasses.fields(TrainingArguments)
    if field.name in ("activation_checkpointing", "gradient_checkpointing")
)
"""Name of the option in the installed transformers: the newer one if it has both."""


class RunOptions(TypedDict, total=False):
    """Keyword arguments that every trainer takes beside its settings and its folder.

    Attributes:
        resume: continue from the last checkpoint in the folder, or from the beginning if it has
            none. The result equals that of an uninterrupted run.
        tensorboard: also write TensorBoard's event files.
        on_progress: called with the name of the phase, and how many of its steps are done and in
            total.
        on_measured: called with new measurements, such as ``loss``.
        tracker: receives them, too; its errors become a warning.
    """

    resume: bool
    tensorboard: bool
    on_progress: OnProgress | None
    on_measured: OnMeasured | None
    tracker: Tracker | None


def run_trainer(
    method: str,
    config: _Config,
    fit: Callable[[_Config, TRLRun], msgspec.Struct],
    *,
    out: Path,
    **options: Unpack[RunOptions],
) -> Path:
    """Train a model with one of TRL's trainers.

    Args:
        method: name of the trainer in `agent_gym_env.training.trainers`.
        config: settings of the run.
        fit: makes the trainer, calls `TRLRun.train` with it, and returns the report.
        out: folder of the run; see this module.
        **options: see `RunOptions`.

    Returns:
        The folder of the trained model.

    Raises:
        DataError: the rows or the model cannot be read, or no row is left to train on.
        StorageError: the folder holds another run, or cannot be written.
        AgentGymError: loss, gradient or weights are NaN or infinite.
    """
    with _process_restored():
        run = TRLRun(method, config, out, **options)
        run.report(fit(config, run))
        return run.model_folder


def load_model(config: TrainingConfig) -> PreTrainedModel:
    """Load the model that is to be trained, on a GPU if there is one.

    No code from its folder is executed, and weights are read from safetensors only.

    Raises:
        DataError: the model does not exist, or has no safetensors.
    """
    source, on_gpu = locate_model(config.model), torch.cuda.is_available()
    with reading_model(source.name):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.name,
            # Trained weights need float32's precision, even if they are multiplied in bfloat16.
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
    """Load the tokenizer of the model that is to be trained.

    Raises:
        DataError: the model has no tokenizer, or the tokenizer has no chat template.
    """
    if config.model == TINY and not Path(TINY).exists():
        problem = (
            "only sft makes a tiny model, from conversations; expected the folder of a model that "
            "sft has trained"
        )
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
            "the tokenizer has no chat template; choose a model for chats, or set chat_template "
            "(--chat-template) to a file, `hermes`, `compact` or `signatures`"
        )
        raise DataError(problem, file=config.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def peft_config(lora: LoRA | None) -> LoraConfig | None:
    """Convert adapter settings to the form that TRL's trainers take.

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
    """A run: its settings, its folder, and the trainer's arguments that follow from both.

    Args:
        method: name of the trainer.
        config: settings of the run.
        out: folder of the run.
        resume: see `RunOptions`, also for the following arguments.
        tensorboard: write event files.
        on_progress: called after each step.
        on_measured: called with measurements.
        tracker: receives them.

    Attributes:
        out: folder of the run.
        on_progress: callback for phases before the training itself.
        trained: counts of the data that the run was trained on, also before it was resumed.

    Raises:
        StorageError: the folder holds a run already, and ``resume`` is false.
        ResumeMismatchError: the folder holds a run with other settings or other rows.
        DataError: a file of rows cannot be read.
    """

    def __init__(
        self,
        method: str,
        config: TrainingConfig,
        out: Path,
        *,
        resume: bool = False,
        tensorboard: bool = False,
        on_progress: OnProgress | None = None,
        on_measured: OnMeasured | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        if config.model != TINY:
            locate_model(config.model)  # before the rows are read, which may take long
        self._config = config
        self.out = out
        self.on_progress = on_progress
        self._settings = {
            "method": method,
            "config": without_credentials(msgspec.to_builtins(config)),
            "rows": digest(config.rows),
        }
        self._checkpoint = self._last_checkpoint(resume=resume)
        self.trained = Trained() if self._checkpoint is None else read_trained(self._checkpoint)
        self._progress = Progress(method, on_progress, on_measured)
        self._tensorboard = tensorboard
        self._tracker = tracker

    @property
    def model_folder(self) -> Path:
        """Folder of the trained model."""
        return self.out / "model"

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that all of TRL's configurations share."""
        config, on_gpu = self._config, torch.cuda.is_available()
        return {
            "output_dir": str(self.out / "checkpoints"),
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
        """Make the callbacks that record and check a run as it goes on."""
        callbacks: list[TrainerCallback] = [
            Metrics(self.out / "metrics.jsonl"),
            RefuseNonFinite(),
            KeepTrained(self.trained),
            MarkComplete(),  # after all others that write to a checkpoint
            self._progress,
        ]
        if self._tensorboard:
            callbacks.append(tensorboard_events(self.out / "tensorboard"))
        if self._tracker is not None:
            callbacks.append(Track(guarded(self._tracker)))
        return callbacks

    def count_batches(self, trainer: Any) -> None:
        """Count every batch that a trainer reads in `trained`."""
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
            AgentGymError: loss, gradient or weights are NaN or infinite.
            DataError: a checkpoint holds objects other than tensors and numbers.
        """
        # Not earlier: if the model or a row cannot be read, the folder stays free.
        self._write("run.json", self._settings)
        self._train_or_resume(trainer)
        model = trainer.accelerator.unwrap_model(trainer.model)
        refuse_non_finite(model)
        if self._config.lora is not None:
            model = model.merge_and_unload()
        with folder_written_whole(self.model_folder, replaces=True) as unfinished:
            model.save_pretrained(unfinished)
            cast(PreTrainedTokenizerBase, trainer.processing_class).save_pretrained(unfinished)
        return self.model_folder

    def report(self, report: msgspec.Struct) -> None:
        """Write ``report.json``."""
        self._write("report.json", report)

    def leave_out_long(
        self, trainer: Any, tokens: Callable[[Mapping[str, Any]], int], kind: str
    ) -> None:
        """Remove rows with too many tokens, whose ends the trainer would cut off.

        Args:
            trainer: a trainer that has tokenized its rows.
            tokens: returns the number of a row's tokens.
            kind: word for a row in the error.

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

    def _train_or_resume(self, trainer: Trainer) -> None:
        # A library must not print measurements to the standard output.
        trainer.remove_callback(PrinterCallback)
        try:
            if self._checkpoint is not None and is_at_end(self._checkpoint):
                # The trainer would take one step more before it stops.
                trainer.remove_callback(Metrics)
                trainer._load_from_checkpoint(self._checkpoint)
            else:
                trainer.train(resume_from_checkpoint=self._checkpoint)
        except pickle.UnpicklingError as error:
            problem = f"the checkpoint holds objects other than tensors and numbers: {error}"
            raise DataError(problem, file=self._checkpoint) from error

    def _write(self, name: str, value: Any) -> None:
        with written_whole(self.out / name) as file:
            file.write(msgspec.json.format(msgspec.json.encode(value)))

    def _last_checkpoint(self, *, resume: bool) -> str | None:
        """Find the checkpoint to resume from, after a check that the folder's run is this one."""
        path = self.out / "run.json"
        if not path.exists():
            return None
        self._compare(path, resume=resume)
        return last_complete(self.out / "checkpoints")

    def _compare(self, path: Path, *, resume: bool) -> None:
        if not resume:
            raise StorageError(f"{self.out} holds a run already: resume it, or name another folder")
        try:
            earlier = msgspec.json.decode(read_file(path), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"not the settings of a run: {error}", file=str(path)) from error
        # Through JSON, which turns tuples into lists.
        now = msgspec.json.decode(msgspec.json.encode(self._settings))
        if earlier != now:
            raise ResumeMismatchError(
                f"{self.out} holds a run that differs in {', '.join(_differences(earlier, now))}"
            )


@contextmanager
def _process_restored() -> Iterator[None]:
    """Silence progress bars and TRL's warning about experimental parts, and restore all later.

    Restores the random generators, too, which the trainers seed.
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


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [name for name in now if name != "config" and earlier.get(name) != now[name]]
    before, after = earlier.get("config"), now["config"]
    if not isinstance(before, dict):
        return [*names, "config"]
    return names + [name for name in after if before.get(name) != after[name]]
