"""The page ``/api``: the OpenAPI document of a server, for people, without files of other hosts."""

from __future__ import annotations

import json
from typing import Any

import jinja2

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>API · Agent Gym</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{{ prefix }}/static/report.css">
<link rel="stylesheet" href="{{ prefix }}/static/browse.css">
</head>
<body>
<header class="page-head">
<nav aria-label="Where you are"><a href="{{ prefix }}">Runs</a></nav>
<h1>API</h1>
<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>
</header>
<main id="content">
{% for route in routes %}
<details>
<summary><code>{{ route.method }} {{ route.path }}</code> {{ route.summary }}</summary>
{% if route.body %}<h2>Request</h2>
<pre tabindex="0">{{ route.body }}</pre>{% endif %}
{% if route.answer %}<h2>Answer</h2>
<pre tabindex="0">{{ route.answer }}</pre>{% endif %}
</details>
{% endfor %}
</main>
</body>
</html>
"""


def api_page(document: dict[str, Any], prefix: str) -> str:
    """Return the page.

    Args:
        document: OpenAPI document.
        prefix: beginning of the addresses of the other pages.
    """
    template = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
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
    return template.render(routes=routes, prefix=prefix)


def _schema(part: dict[str, Any] | None) -> str | None:
    """Return the schema of a request or an answer; ``None`` if it says nothing."""
    content = (part or {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    return json.dumps(schema, indent=2) if "$ref" in str(schema) or "items" in schema else None
