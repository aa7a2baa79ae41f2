"""Proposers of instructions that survive answers which cannot be parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent_gym_env.extras import require

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)
from dspy.adapters import ChatAdapter  # noqa: E402
from dspy.teleprompt.gepa import InstructionProposer  # noqa: E402
from dspy.utils.exceptions import AdapterParseError  # noqa: E402

_PROPOSED, _BASIC = "proposed_instruction", "basic_instruction"
"""Fields of the signature by which MIPROv2 asks for an instruction."""


class ProposalAdapter(ChatAdapter):  # type: ignore[misc]  # dspy is untyped
    """DSPy's chat adapter; if MIPROv2's proposer fails, it proposes the old instruction."""

    def __call__(
        self,
        lm: Any,
        lm_kwargs: dict[str, Any],
        signature: Any,
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Send a request and parse the answer; see `ChatAdapter`."""
        try:
            answers: list[dict[str, Any]] = super().__call__(
                lm, lm_kwargs, signature, demos, inputs
            )
        except (AdapterParseError, dspy.utils.exceptions.LMError):
            if _PROPOSED not in signature.output_fields or _BASIC not in inputs:
                raise
            return [{_PROPOSED: inputs[_BASIC]}]
        return answers


class TolerantProposer(InstructionProposer):  # type: ignore[misc]  # dspy is untyped
    """GEPA's own proposer; if it fails, it proposes the old instruction.

    Args:
        forget: called when the last answer could not be used.
    """

    def __init__(self, forget: Callable[[], None]) -> None:
        super().__init__()
        self._forget = forget

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """Propose instructions; see `InstructionProposer`."""
        try:
            proposed: dict[str, str] = super().__call__(
                candidate, reflective_dataset, components_to_update
            )
        except Exception:  # noqa: BLE001  (of a model's words, parsed by foreign code)
            self._forget()
            return {name: candidate[name] for name in components_to_update if name in candidate}
        return proposed
