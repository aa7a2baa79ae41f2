"""The page ``/api``: the OpenAPI document of a server, for people, without files of other hosts."""

from __future__ import annotations

import json
from typing import Any

from agent_gym_env.server.browse.pages import plain_page


def api_page(document: dict[str, Any]) -> str:
    """Return the page about an OpenAPI document."""
    routes = [
        {
            "method": method.upper(),
            "path": path,
            "summary": route["summary"],
            "body": _schema(route.get("requestBody")),
            "answer": _schema(route["responses"].get("200")),
        }
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]
    return plain_page("api.html", routes=routes)


def _schema(part: dict[str, Any] | None) -> str | None:
    """Return the schema of a request or an answer; ``None`` if it says nothing."""
    content = (part or {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    return json.dumps(schema, indent=2) if "$ref" in str(schema) or "items" in schema else None
