"""``agent-gym serve-policy``."""

from __future__ import annotations

import argparse
import os

from agent_gym_env.cli.arguments import add_chat_template, positive, whole_number
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.extras import require_installed
from agent_gym_env.lm.huggingface_models import check_model_path

API_KEY = "AGENT_GYM_API_KEY"


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser(
        "serve-policy",
        help="serve a trained model behind an endpoint that speaks OpenAI's protocol",
    )
    parser.add_argument("checkpoint", help="a Hugging Face folder, or a name on its hub")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=whole_number, default=8000,
                        help="0 for any that is free; default: %(default)s")  # fmt: skip
    parser.add_argument("--api-key", default=os.environ.get(API_KEY),
                        help=f"what clients must send; default: ${API_KEY}. Needed where other "
                        "machines can connect")  # fmt: skip
    parser.add_argument("--name", help="of the model; default: the folder's")
    parser.add_argument("--temperature", type=float, default=0.0,
                        help="where a request names none; default: %(default)s")  # fmt: skip
    parser.add_argument("--max-new-tokens", type=positive, default=256,
                        help="of an answer, at most; default: %(default)s")  # fmt: skip
    parser.add_argument("--batch-size", type=positive, default=64,
                        help="answers that are written at once; default: %(default)s")  # fmt: skip
    parser.add_argument("--unguided", action="store_true",
                        help="do not hold calls to the schemas of their tools")  # fmt: skip
    add_chat_template(parser)
    parser.add_argument("--device", help="cuda, cpu; default: the GPU where there is one")
    parser.add_argument("--dtype", help="bfloat16, float32; default: the first on a GPU")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    require_installed("fastapi", extra="serve")
    check_model_path(options.checkpoint)  # before the libraries are imported, which takes long

    from agent_gym_env.lm.openai_server import serve
    from agent_gym_env.lm.transformers_client import TransformersClient

    model = TransformersClient(
        options.checkpoint,
        device=options.device,
        dtype=options.dtype,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        batch_size=options.batch_size,
        guided=not options.unguided,
        chat_template=options.chat_template,
        name=options.name,
    )
    serve(
        model,
        host=options.host,
        port=options.port,
        api_key=options.api_key,
        on_ready=lambda url: print(f"{model.name} at {url}", flush=True),
    )
