"""The OpenAPI schema tells the truth: Schemathesis draws requests from it and holds the answers against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fakes_embed import open_rag
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import Served, served
from shell import METAL, RIVER, write

from rag.build import Rag
from rag.serve import make_app
from rag.serve.guard import OPEN

EXAMPLES = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    docs = write(tmp_path_factory.mktemp("home") / "papers", metals_txt=METAL, birds_md=RIVER)
    with open_rag(docs, tmp_path_factory.mktemp("index"), answer__min_confidence=0) as rag:
        rag.sync()
        with served(rag) as server:
            yield server


def operations() -> list[tuple[str, str]]:
    schema = make_app(Rag.open()).openapi()
    return [(method.upper(), path) for path, methods in schema["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def schema(server: Served) -> Any:
    loaded = schemathesis.openapi.from_dict(server.app.openapi())
    loaded.config.update(base_url=server.address)
    return loaded


@pytest.mark.parametrize(("method", "path"), operations(), ids=lambda value: value)
def test_every_answer_is_one_that_the_schema_tells(server: Served, schema: Any, method: str, path: str) -> None:
    operation = schema[path][method]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: Any) -> None:
        response = case.call(timeout=10)
        assert response.status_code < 500, response.text
        # No schema can tell a filter's grammar, or which files and models there are.
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    given(case=operation.as_strategy())(one)()


def test_every_operation_takes_the_key_but_those_that_are_open() -> None:
    schema = make_app(Rag.open()).openapi()
    assert schema["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert ({"key": []} in operation["security"]) == (path not in OPEN)


def test_every_operation_is_described_and_has_an_example() -> None:
    schema = make_app(Rag.open()).openapi()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), f"{method} {path} has no docstring"
            assert "401" in operation["responses"]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is None or path.startswith("/sync"):
                continue
            name = body["schema"]["$ref"].rpartition("/")[2]
            fields = schema["components"]["schemas"][name]["properties"]
            assert any("examples" in field for field in fields.values()), f"{path}: {name} shows no example"
