"""Only the warnings that are listed are left out."""

from __future__ import annotations

import logging
import warnings

import pytest

from agent_gym_env.cli.output import without_library_warnings

LISTED = "`is_gradient_checkpointing` is deprecated and will be removed in v6. Use …"
KERNEL = "`causal_conv1d_fn` is falling back to its reference PyTorch implementation because …"
KERNELS = "transformers.integrations.hub_kernels"


def warn(message: str, module: str) -> None:
    warnings.warn_explicit(message, FutureWarning, "somewhere.py", 1, module=module)


def test_a_listed_warning_is_left_out_and_another_is_not() -> None:
    with without_library_warnings():
        warn(LISTED, "transformers.modeling_utils")
        with pytest.warns(FutureWarning, match="past_key_values"):
            warn("`past_key_values` is deprecated", "transformers.modeling_utils")
        with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
            warn(LISTED, "agent_gym_env.training.trl_run")
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        warn(LISTED, "transformers.modeling_utils")


def test_a_kernel_for_a_gpu_is_not_missed_where_there_is_none(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    logger = logging.getLogger(KERNELS)
    caplog.set_level(logging.WARNING, KERNELS)  # another test may have silenced transformers
    logger.addHandler(caplog.handler)  # transformers' loggers hand nothing on to the root
    with without_library_warnings():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        logger.warning(KERNEL)
        logger.warning("something else")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        logger.warning(KERNEL)
    logger.removeHandler(caplog.handler)
    said = list(dict.fromkeys(record.getMessage() for record in caplog.records))
    assert said == ["something else", KERNEL]
