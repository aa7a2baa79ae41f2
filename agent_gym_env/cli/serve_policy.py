"""``agent-gym serve-policy``: a trained model behind an endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.settings import ServePolicy
from agent_gym_env.extras import require_installed
from agent_gym_env.lm.huggingface_models import check_model_path


def serve_policy(settings: ServePolicy) -> None:
    """Serve the model until the command is stopped."""
    require_installed("fastapi", extra="serve")
    check_model_path(settings.checkpoint)  # before the libraries are imported, which takes long

    from agent_gym_env.lm.openai_server import serve
    from agent_gym_env.lm.transformers_client import TransformersClient

    model = TransformersClient(
        settings.checkpoint,
        device=settings.device,
        dtype=settings.dtype,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        batch_size=settings.batch_size,
        guided=not settings.unguided,
        chat_template=settings.chat_template,
        name=settings.name,
    )

    def show(url: str) -> None:
        if settings.json:
            print_json({"model": model.name, "url": url}, indent=-1)
        else:
            print(f"{model.name} at {url}", flush=True)

    serve(
        model,
        host=settings.host,
        port=settings.port,
        api_key=settings.api_key,
        on_ready=show,
    )
