"""Agent Gym: task-oriented dialogues with tool calls as Gymnasium environments.

Importing this package registers ``SGD-v0`` and ``SGDSim-v0``;
``gym.make("agent_gym_env:SGD-v0")`` imports it by itself. Everything else is imported when it is
first used, so that the import stays fast.

The names below, and those of `agent_gym_env.wrappers`, `agent_gym_env.export`,
`agent_gym_env.testing` and `agent_gym_env.trl`, are the public ones. All other modules are
internal.
"""

from typing import TYPE_CHECKING

from agent_gym_env.envs.registration import register_environments
from agent_gym_env.lazy_names import lazy_names

if TYPE_CHECKING:
    from agent_gym_env.assembly import collect as collect
    from agent_gym_env.assembly import make_act_choices as make_act_choices
    from agent_gym_env.assembly import make_candidates as make_candidates
    from agent_gym_env.assembly import make_env as make_env
    from agent_gym_env.assembly import make_policy as make_policy
    from agent_gym_env.assembly import make_reward as make_reward
    from agent_gym_env.assembly import play_episodes as play_episodes
    from agent_gym_env.assembly import unused_dialogues as unused_dialogues
    from agent_gym_env.corpus.corpus import open_corpus as open_corpus
    from agent_gym_env.corpus.logs.importing import import_logs as import_logs
    from agent_gym_env.corpus.reader import CorpusReader as CorpusReader
    from agent_gym_env.envs.dialogue import SGDEnv as SGDEnv
    from agent_gym_env.envs.sgd_sim import SGDSimEnv as SGDSimEnv
    from agent_gym_env.envs.vector import SGDSimVectorEnv as SGDSimVectorEnv
    from agent_gym_env.envs.vector import SGDVectorEnv as SGDVectorEnv
    from agent_gym_env.errors import AgentGymError as AgentGymError
    from agent_gym_env.errors import BudgetExceeded as BudgetExceeded
    from agent_gym_env.errors import ChecksumError as ChecksumError
    from agent_gym_env.errors import DataError as DataError
    from agent_gym_env.errors import DeadlineError as DeadlineError
    from agent_gym_env.errors import JudgeError as JudgeError
    from agent_gym_env.errors import LMError as LMError
    from agent_gym_env.errors import LockError as LockError
    from agent_gym_env.errors import MissingDependency as MissingDependency
    from agent_gym_env.errors import PermanentLMError as PermanentLMError
    from agent_gym_env.errors import ResumeMismatchError as ResumeMismatchError
    from agent_gym_env.errors import StorageError as StorageError
    from agent_gym_env.errors import TransientLMError as TransientLMError
    from agent_gym_env.evaluation.compare import compare as compare
    from agent_gym_env.evaluation.evaluate import summarize as summarize
    from agent_gym_env.evaluation.report import write_report as write_report
    from agent_gym_env.evaluation.rescore import rescore as rescore
    from agent_gym_env.extras import require_or_exit as require_or_exit
    from agent_gym_env.hf_hub.transfer import pull_from_hub as pull_from_hub
    from agent_gym_env.hf_hub.transfer import push_to_hub as push_to_hub
    from agent_gym_env.lm.base import LanguageModel as LanguageModel
    from agent_gym_env.lm.base import Request as Request
    from agent_gym_env.lm.base import Response as Response
    from agent_gym_env.lm.open_model import open_model as open_model
    from agent_gym_env.optimization.runner import OptimizationRunner as OptimizationRunner
    from agent_gym_env.policies.act_policy import ActPolicy as ActPolicy
    from agent_gym_env.policies.acts_oracle import ActsOraclePolicy as ActsOraclePolicy
    from agent_gym_env.policies.base import BatchPolicy as BatchPolicy
    from agent_gym_env.policies.base import Policy as Policy
    from agent_gym_env.policies.constant import ConstantPolicy as ConstantPolicy
    from agent_gym_env.policies.dspy_program import DSPyPolicy as DSPyPolicy
    from agent_gym_env.policies.llm import LLMPolicy as LLMPolicy
    from agent_gym_env.policies.oracle import OraclePolicy as OraclePolicy
    from agent_gym_env.policies.retrieval import RetrievalPolicy as RetrievalPolicy
    from agent_gym_env.policies.rule import RulePolicy as RulePolicy
    from agent_gym_env.policies.sb3_file import Shape as Shape
    from agent_gym_env.policies.sb3_model import SB3Policy as SB3Policy
    from agent_gym_env.policies.transformers_model import TransformersPolicy as TransformersPolicy
    from agent_gym_env.policies.uniform import UniformPolicy as UniformPolicy
    from agent_gym_env.registry import register_client as register_client
    from agent_gym_env.registry import register_corpus as register_corpus
    from agent_gym_env.registry import register_export as register_export
    from agent_gym_env.registry import register_policy as register_policy
    from agent_gym_env.registry import register_reward as register_reward
    from agent_gym_env.registry import register_runner as register_runner
    from agent_gym_env.registry import register_strategy as register_strategy
    from agent_gym_env.registry import register_tool_backend as register_tool_backend
    from agent_gym_env.registry import register_tracker as register_tracker
    from agent_gym_env.registry import register_trainer as register_trainer
    from agent_gym_env.registry import register_user as register_user
    from agent_gym_env.reward_audit.task_audit import audit_task as audit_task
    from agent_gym_env.reward_audit.task_audit import verify_task as verify_task
    from agent_gym_env.rewards.base import ClosedTurn as ClosedTurn
    from agent_gym_env.rewards.base import Reward as Reward
    from agent_gym_env.rewards.base import Score as Score
    from agent_gym_env.rollout.episode import Episode as Episode
    from agent_gym_env.rollout.journal.reading import read_episodes as read_episodes
    from agent_gym_env.rollout.journal.reading import write_episodes as write_episodes
    from agent_gym_env.rollout.play import play as play
    from agent_gym_env.tools.backend import ToolBackend as ToolBackend
    from agent_gym_env.training.act_envs import ActEnvsConfig as ActEnvsConfig
    from agent_gym_env.training.act_ppo import train_act_ppo as train_act_ppo
    from agent_gym_env.training.candidate_envs import CandidateEnvs as CandidateEnvs
    from agent_gym_env.training.candidate_envs import CandidateEnvsConfig as CandidateEnvsConfig
    from agent_gym_env.training.config import DPOConfig as DPOConfig
    from agent_gym_env.training.config import GRPOConfig as GRPOConfig
    from agent_gym_env.training.config import KTOConfig as KTOConfig
    from agent_gym_env.training.config import SFTConfig as SFTConfig
    from agent_gym_env.training.config import TinyConfig as TinyConfig
    from agent_gym_env.training.dpo import train_dpo as train_dpo
    from agent_gym_env.training.grpo import train_grpo as train_grpo
    from agent_gym_env.training.kto import train_kto as train_kto
    from agent_gym_env.training.ppo import train_ppo as train_ppo
    from agent_gym_env.training.ppo_config import ActPPOConfig as ActPPOConfig
    from agent_gym_env.training.ppo_config import PPOConfig as PPOConfig
    from agent_gym_env.training.sft import train_sft as train_sft
    from agent_gym_env.training.trackers import Tracker as Tracker
    from agent_gym_env.training.trackers import open_trackers as open_trackers
    from agent_gym_env.training.trainers import Trainer as Trainer
    from agent_gym_env.types import Action as Action
    from agent_gym_env.types import Completion as Completion
    from agent_gym_env.types import DialogueAct as DialogueAct
    from agent_gym_env.types import Observation as Observation
    from agent_gym_env.types import ToolCall as ToolCall
    from agent_gym_env.types import ToolResult as ToolResult
    from agent_gym_env.users.wording import ActsToSay as ActsToSay
    from agent_gym_env.users.wording import UserWording as UserWording
    from agent_gym_env.users.wording import UserWords as UserWords

__version__ = "0.2.0"

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "assembly": (
            "collect make_act_choices make_candidates make_env make_policy make_reward "
            "play_episodes unused_dialogues"
        ),
        "corpus.corpus": "open_corpus",
        "corpus.logs.importing": "import_logs",
        "corpus.reader": "CorpusReader",
        "envs.dialogue": "SGDEnv",
        "envs.sgd_sim": "SGDSimEnv",
        "envs.vector": "SGDSimVectorEnv SGDVectorEnv",
        "errors": (
            "AgentGymError BudgetExceeded ChecksumError DataError DeadlineError JudgeError "
            "LMError LockError MissingDependency PermanentLMError ResumeMismatchError "
            "StorageError TransientLMError"
        ),
        "evaluation.compare": "compare",
        "evaluation.evaluate": "summarize",
        "evaluation.report": "write_report",
        "evaluation.rescore": "rescore",
        "extras": "require_or_exit",
        "hf_hub.transfer": "pull_from_hub push_to_hub",
        "lm.base": "LanguageModel Request Response",
        "lm.open_model": "open_model",
        "optimization.runner": "OptimizationRunner",
        "policies.act_policy": "ActPolicy",
        "policies.acts_oracle": "ActsOraclePolicy",
        "policies.base": "BatchPolicy Policy",
        "policies.constant": "ConstantPolicy",
        "policies.dspy_program": "DSPyPolicy",
        "policies.llm": "LLMPolicy",
        "policies.oracle": "OraclePolicy",
        "policies.retrieval": "RetrievalPolicy",
        "policies.rule": "RulePolicy",
        "policies.sb3_file": "Shape",
        "policies.sb3_model": "SB3Policy",
        "policies.transformers_model": "TransformersPolicy",
        "policies.uniform": "UniformPolicy",
        "registry": (
            "register_client register_corpus register_export register_policy register_reward "
            "register_runner register_strategy register_tool_backend register_tracker "
            "register_trainer register_user"
        ),
        "reward_audit.task_audit": "audit_task verify_task",
        "rewards.base": "ClosedTurn Reward Score",
        "rollout.episode": "Episode",
        "rollout.journal.reading": "read_episodes write_episodes",
        "rollout.play": "play",
        "tools.backend": "ToolBackend",
        "training.act_envs": "ActEnvsConfig",
        "training.act_ppo": "train_act_ppo",
        "training.candidate_envs": "CandidateEnvs CandidateEnvsConfig",
        "training.config": "DPOConfig GRPOConfig KTOConfig SFTConfig TinyConfig",
        "training.dpo": "train_dpo",
        "training.grpo": "train_grpo",
        "training.kto": "train_kto",
        "training.ppo": "train_ppo",
        "training.ppo_config": "ActPPOConfig PPOConfig",
        "training.sft": "train_sft",
        "training.trackers": "Tracker open_trackers",
        "training.trainers": "Trainer",
        "types": "Action Completion DialogueAct Observation ToolCall ToolResult",
        "users.wording": "ActsToSay UserWording UserWords",
    },
)

register_environments()
