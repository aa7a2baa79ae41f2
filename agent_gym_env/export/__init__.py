"""Recorded episodes as rows for trainers, tables, datasets, trajectories and traces."""

from typing import TYPE_CHECKING

from agent_gym_env.lazy_names import lazy_names

if TYPE_CHECKING:
    from agent_gym_env.export.atif import trajectories as trajectories
    from agent_gym_env.export.from_episodes import conversations as conversations
    from agent_gym_env.export.from_episodes import corrections as corrections
    from agent_gym_env.export.from_episodes import labels as labels
    from agent_gym_env.export.from_episodes import prompts as prompts
    from agent_gym_env.export.minari_dataset import write_minari as write_minari
    from agent_gym_env.export.opentelemetry_tracer import trace_episode as trace_episode
    from agent_gym_env.export.parquet import read_parquet as read_parquet
    from agent_gym_env.export.parquet import write_parquet as write_parquet
    from agent_gym_env.export.preference_pairs import PairRule as PairRule
    from agent_gym_env.export.preference_pairs import common_states as common_states
    from agent_gym_env.export.preference_pairs import labels_of_pairs as labels_of_pairs
    from agent_gym_env.export.preference_pairs import preferences as preferences
    from agent_gym_env.export.rows import Tally as Tally
    from agent_gym_env.export.rows import write_rows as write_rows
    from agent_gym_env.export.spans import traces as traces

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "atif": "trajectories",
        "from_episodes": "conversations corrections labels prompts",
        "minari_dataset": "write_minari",
        "opentelemetry_tracer": "trace_episode",
        "parquet": "read_parquet write_parquet",
        "preference_pairs": "PairRule common_states labels_of_pairs preferences",
        "rows": "Tally write_rows",
        "spans": "traces",
    },
)
