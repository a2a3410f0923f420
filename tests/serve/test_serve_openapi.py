"""Our own description of the API: complete, and held by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from serving import Serve, Served


def test_every_route_is_described(served: Served) -> None:
    described = served.get("/openapi.json").json()
    routes = {
        path for path in served.app.state.routes if path.startswith("/v1/") or path in ("/health", "/metrics")
    }
    assert set(described["paths"]) == {path.replace("{model:path}", "{model}") for path in routes}
    schemas = described["components"]["schemas"]
    assert schemas["ChatRequest"]["additionalProperties"] is False
    assert "k best" in schemas["ChatRequest"]["properties"]["top_k"]["description"]
    text = json.dumps(described)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schemas, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "paths",
    [
        "^/v1/chat",
        "^/v1/completions",
        "^/v1/responses",
        "^/v1/messages",
        "^/v1/images",
        "^/(health|metrics|v1/models|v1/tasks)",
    ],
)
def test_schemathesis_finds_nothing(serve: Serve, tmp_path: Path, paths: str) -> None:
    """With names that exist written into the description, so that requests get beyond them."""
    served: Served = serve()
    described = served.get("/openapi.json").json()
    for kind in ("ChatRequest", "CompletionRequest", "ResponsesRequest", "MessagesRequest", "ImagesRequest"):
        described["components"]["schemas"][kind]["properties"]["model"] = {"const": "tiny"}
    for path, names in (
        ("/v1/models/{model}", ["tiny", "none"]),
        ("/v1/tasks/{name}", ["write", "chat", "none"]),
    ):
        for operation in described["paths"][path].values():
            operation["parameters"][0]["schema"] = {"enum": names}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(described))
    checks = (
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "unsupported_method",
        "response_schema_conformance", "response_headers_conformance", "negative_data_rejection",
    )  # fmt: skip
    options = {
        "--url": served.url, "--include-path-regex": paths, "--phases": "coverage,fuzzing", "--seed": "1",
        "--max-examples": "20", "--workers": "1", "--request-timeout": "20", "--checks": ",".join(checks),
    }  # fmt: skip
    program = str(Path(sys.executable).parent / "schemathesis")
    command = [program, "run", str(file), "--no-color", *(word for pair in options.items() for word in pair)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert served.engine.idle()
