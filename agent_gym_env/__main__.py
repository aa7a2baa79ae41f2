"""``python -m agent_gym_env``, the same as ``agent-gym``."""

import sys

from agent_gym_env.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
