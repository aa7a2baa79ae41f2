"""The errors that this package raises for failures outside of it, such as of files and models.

    AgentGymError
    ├── DataError                    a file does not have the content that its format promises
    │   └── ChecksumError            the content of a file differs from the expected one
    ├── StorageError                 a file cannot be read or written
    │   ├── LockError                another process holds the lock
    │   └── ResumeMismatchError      the folder was made with another configuration
    ├── LMError                      a language model did not answer
    │   ├── TransientLMError         a new attempt may succeed
    │   ├── PermanentLMError         a new attempt will not succeed
    │   │   ├── CircuitOpenError     refused or unreachable so often that the whole run stops
    │   │   ├── MissingCredentials   no key is set; the whole run stops
    │   │   ├── RetiredModelError    the provider has shut the model down; the whole run stops
    │   │   └── ContextExceeded      the conversation is longer than the model can read
    │   ├── DeadlineError            the total time for one completion is over
    │   └── BudgetExceeded           the run has spent what it may spend
    ├── JudgeError                   a judge's verdict cannot be read
    └── MissingDependency            an optional library is not installed (also an ImportError)

Mistakes of an agent raise nothing: they are answered in the environment, by a tool result with an
error. Programmers' mistakes raise Python's own ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations


class AgentGymError(Exception):
    """Base of all errors of this package."""


class DataError(AgentGymError):
    """A file does not have the content that its format promises.

    Attributes:
        problem: message with what was found and what was expected.
        file: path of the file as the user wrote it, followed by the member's name in an archive.
        dialogue_id: id of the dialogue, if the place is inside one.
        turn: index of the turn inside the dialogue.
        pointer: JSON pointer to the place inside the file.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        dialogue_id: str | None = None,
        turn: int | None = None,
        pointer: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = file
        self.dialogue_id = dialogue_id
        self.turn = turn
        self.pointer = pointer
        super().__init__(problem, file, dialogue_id, turn, pointer)

    def __str__(self) -> str:
        places = (
            ("file", self.file),
            ("dialogue", self.dialogue_id),
            ("turn", self.turn),
            ("at", self.pointer),
        )
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        return f"{self.problem} ({where})" if where else self.problem

    def __reduce__(self) -> tuple[object, ...]:
        place = (self.file, self.dialogue_id, self.turn, self.pointer)
        return _rebuild_data_error, (type(self), self.problem, *place)


def _rebuild_data_error(
    kind: type[DataError],
    problem: str,
    file: str | None,
    dialogue_id: str | None,
    turn: int | None,
    pointer: str | None,
) -> DataError:
    return kind(problem, file=file, dialogue_id=dialogue_id, turn=turn, pointer=pointer)


class ChecksumError(DataError):
    """The content of a file differs from the expected one."""


class StorageError(AgentGymError):
    """A file cannot be read or written."""


class LockError(StorageError):
    """Another process holds the lock."""


class ResumeMismatchError(StorageError):
    """The folder was made with another configuration."""


class LMError(AgentGymError):
    """A language model did not answer."""


class TransientLMError(LMError):
    """The provider failed, but a new attempt may succeed."""


class PermanentLMError(LMError):
    """The provider refused the request; a new attempt will not succeed."""


class CircuitOpenError(PermanentLMError):
    """The provider refused the key, or could not be reached, so often that the run stops."""


class MissingCredentials(PermanentLMError):  # noqa: N818  (as `BudgetExceeded`)
    """The provider needs credentials and none are set; the run stops."""


class RetiredModelError(PermanentLMError):
    """The provider has shut the model down; the run stops."""


class ContextExceeded(PermanentLMError):  # noqa: N818  (as `BudgetExceeded`)
    """The conversation is longer than the model can read: the model fails, not the provider."""


class DeadlineError(LMError):
    """The total time for one completion is over."""


class BudgetExceeded(LMError):  # noqa: N818  (part of the public contract under this name)
    """The run has spent what it may spend."""


STOPS_THE_RUN = (BudgetExceeded, CircuitOpenError, MissingCredentials, RetiredModelError)
"""After these nothing more is answered: they end a run, where any other error ends an episode."""


class JudgeError(AgentGymError):
    """A judge's verdict cannot be read."""


class MissingDependency(AgentGymError, ImportError):  # noqa: N818  (public contract)
    """An optional library is not installed."""
