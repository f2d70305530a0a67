"""The OpenAPI schema tells the truth: Schemathesis draws requests from it and holds the answers against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fakes_embed import open_rag
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import Served, served
from shell import METAL, RIVER, write

from rag.build import Rag
from rag.serve import make_app
from rag.serve.guard import OPEN

EXAMPLES = 12
KEY = "a-secret-of-some-length"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    docs = write(tmp_path_factory.mktemp("home") / "papers", metals_txt=METAL, birds_md=RIVER)
    with open_rag(docs, tmp_path_factory.mktemp("index"), answer__min_confidence=0) as rag:
        rag.sync()
        with served(rag) as server:
            yield server


@pytest.fixture(scope="module")
def locked(server: Served) -> Iterator[Served]:
    """The same documents behind a key; nothing changes them."""
    with served(server.desk.rag, KEY, changes=False) as locked:
        yield locked


def operations(taking: bool = False) -> list[tuple[str, str]]:
    """All, or those that take something which can be wrong: any text can stand in a path."""
    schema = make_app(Rag.open()).openapi()
    return [
        (method.upper(), path)
        for path, methods in schema["paths"].items()
        for method, told in methods.items()
        if not taking or "requestBody" in told or any(p["in"] == "query" for p in told.get("parameters", []))
    ]


def schema_of(server: Served) -> Any:
    loaded = schemathesis.openapi.from_dict(server.app.openapi())
    loaded.config.update(base_url=server.address)
    refusals = loaded.config.checks.negative_data_rejection
    refusals.expected_statuses = [*refusals.expected_statuses, "413"]
    return loaded


@pytest.fixture(scope="module")
def schema(server: Served) -> Any:
    return schema_of(server)


@pytest.fixture(scope="module")
def locked_schema(locked: Served) -> Any:
    return schema_of(locked)


def hold(operation: Any, mode: GenerationMode, key: str | None = None) -> int:
    """Draw requests, hold each answer against the schema; how many there were."""
    asked = 0

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: Any) -> None:
        nonlocal asked
        asked += 1
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        response = case.call(timeout=10, headers=headers)
        assert response.status_code < 500, response.text
        assert response.status_code != 401
        # No schema can tell a filter's grammar, or which files and models there are.
        case.validate_response(response, excluded_checks=[positive_data_acceptance], headers=headers)

    given(case=operation.as_strategy(generation_mode=mode))(one)()
    return asked


@pytest.mark.parametrize(("method", "path"), operations(), ids=lambda value: value)
def test_every_answer_is_one_that_the_schema_tells(schema: Any, method: str, path: str) -> None:
    assert hold(schema[path][method], GenerationMode.POSITIVE)


@pytest.mark.parametrize(("method", "path"), operations(taking=True), ids=lambda value: value)
def test_what_the_schema_forbids_is_refused(schema: Any, method: str, path: str) -> None:
    assert hold(schema[path][method], GenerationMode.NEGATIVE)


@pytest.mark.parametrize(("method", "path"), operations(), ids=lambda value: value)
def test_every_answer_to_a_key_is_one_that_the_schema_tells(locked_schema: Any, method: str, path: str) -> None:
    assert hold(locked_schema[path][method], GenerationMode.POSITIVE, KEY)


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
