"""Precedence, errors that say where, and what is printed reads back the same."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.config import Config, dump_config, load_config, packaged
from rag.errors import ConfigError

KEYS = [(s, k) for s, f in Config.model_fields.items() for k in f.annotation.model_fields]


@pytest.fixture(autouse=True)
def _nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def written(folder: Path, text: str, name: str = "config.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def refused(path: Path | None = None, overrides: dict[str, Any] | None = None, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides, environ)
    assert caught.value.exit_code == 2
    return caught.value


# ---- where it comes from -----------------------------------------------------------------------------------------


def test_precedence(tmp_path: Path) -> None:
    file = written(tmp_path, "retrieve: {top_k: 2, candidates: 20, rrf_k: 10}")
    made = load_config(file, {"retrieve.top_k": 4}, {"RAG_RETRIEVE__TOP_K": "3", "RAG_RETRIEVE__CANDIDATES": "30"})
    assert (made.retrieve.top_k, made.retrieve.candidates, made.retrieve.rrf_k) == (4, 30, 10)
    assert made.retrieve.dense_weight == Config().retrieve.dense_weight


def test_the_working_folder_then_the_user_then_the_package(tmp_path: Path) -> None:
    assert load_config(environ={}).retrieve.top_k == 5
    written(tmp_path / "xdg" / "rag", "retrieve: {top_k: 7}")
    assert load_config(environ={}).retrieve.top_k == 7
    written(tmp_path / "cwd", "retrieve: {top_k: 8}")
    assert load_config(environ={}).retrieve.top_k == 8


def test_a_config_inside_the_document_folder_is_not_read(tmp_path: Path) -> None:
    docs = written(tmp_path / "docs", "retrieve: {top_k: 9}\nnonsense: 1").parent
    made = load_config(None, {"documents.path": docs}, {})
    assert (made.documents.path, made.retrieve.top_k) == (docs, 5)


def test_the_packaged_file_states_the_defaults() -> None:
    made = load_config(packaged("config.yaml"), environ={})
    assert made.model_copy(update={"documents": Config().documents}) == Config()


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    text = "documents: {path: docs}\nstore: {path: ../index}\nprompt: {directory: ~/p}\nembed: {model: ./m}"
    made = load_config(written(tmp_path / "there", text), environ={})
    assert made.documents.path == tmp_path / "there" / "docs"
    assert made.store.path == tmp_path / "there" / ".." / "index"
    assert made.prompt.directory == Path.home() / "p"
    assert made.embed.model == str(tmp_path / "there" / "m")
    assert load_config(written(tmp_path, "embed: {model: org/name}"), environ={}).embed.model == "org/name"


def test_the_packaged_defaults_are_relative_to_where_one_works(tmp_path: Path) -> None:
    assert load_config(environ={}).documents.path == tmp_path / "cwd" / "data" / "documents"


# ---- text of flags and environment -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("retrieve.min_score", "0.3", 0.3),
        ("retrieve.min_score", "null", None),
        ("retrieve.mmr", "true", True),
        ("retrieve.mmr", "no", False),
        ("split.separators", '["\\n\\n", ", ", ""]', ("\n\n", ", ", "")),
        ("split.separators", "", ()),
        ("split.separators", "[]", ()),
        ("documents.include", "*.md, docs/**", ("*.md", "docs/**")),
        ("documents.include", "[ab]*.md,x", ("[ab]*.md", "x")),
        ("documents.include", "['a,b', c]", ("a,b", "c")),
        ("embed.look_in", "path", ("path",)),
        ("embed.query_prefix", "query: ", "query: "),
        ("embed.model", "2024", "2024"),
        ("embed.model", "null", "null"),  # not optional: a name like any other
        ("generate.model", "null", None),
        ("store.path", "some/where", Path("some/where")),
        ("store.path", "null", None),
        ("store.stemmer", "none", "none"),
        ("split.max_tokens", "0100", 100),
    ],
)
def test_what_text_means(key: str, text: str, expected: Any) -> None:
    section, name = key.split(".")
    from_flag = load_config(None, {key: text}, {})
    from_environment = load_config(None, None, {f"RAG_{section}__{name}".upper(): text})
    assert getattr(getattr(from_flag, section), name) == expected
    assert from_environment == from_flag


def test_values_that_are_no_text_are_taken_as_they_are() -> None:
    made = load_config(None, {"split.separators": ["a"], "retrieve.min_score": None, "retrieve.top_k": 3}, {})
    assert (made.split.separators, made.retrieve.min_score, made.retrieve.top_k) == (("a",), None, 3)


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("retrieve: {topk: 3}", "unknown key retrieve.topk", "choices: kind, top_k, candidates"),
        ("retriever: {top_k: 3}", "unknown key retriever", "choices: documents, load, split"),
        ("split: {kind: sentences}", "split.kind is 'sentences'", "choices: sentence, recursive, markdown"),
        ("retrieve: {top_k: 0}", "retrieve.top_k is 0, should be greater than or equal to 1", ""),
        ("retrieve: {top_k: many}", "retrieve.top_k is 'many', should be a valid integer", ""),
        ("retrieve: {min_score: .nan}", "retrieve.min_score is nan, should be a finite number", ""),
        ("retrieve: {top_k: 9, candidates: 3}", "retrieve.candidates (3) must be >= retrieve.top_k (9)", "one of the"),
        ("generate: {kind: transformers}", "generate.kind is transformers but generate.model is not set", ""),
        ("retrieve: 5", "retrieve is 5, not a section", "KEY: VALUE"),
        ("- a\n- b", "holds a list, not sections", "rag config --default"),
        ("a: b: c", "line 1 not valid YAML: mapping values are not allowed here", "indentation"),
        ("a: [1,\n2", "line 2 not valid YAML", ""),
        ("a: \x07", "not valid YAML", "control characters"),
        ("split: {kind: token}\nsplit: {max_tokens: 99}", "line 2 not valid YAML: split stands a second time", ""),
        ("split:\n  kind: token\n  kind: token", "line 3 not valid YAML: kind stands a second time, first in", ""),
        ("retrieve: &r\n  top_k: *r", "an alias (*) stands within what it names", "write out"),
        ("embed: {model: 2024-13-01}", "not valid YAML: month must be in 1..12", "quotes"),
        ("retrieve: {top_k: " + 5000 * "9" + "}", "not valid YAML: Exceeds the limit", ""),
        ("a: " + 3000 * "[", "not valid YAML: maximum recursion depth", ""),
        ("retrieve: {on: 3}", "unknown key retrieve.True", "choices: kind, top_k"),
        ("5: 3", "unknown key 5", "choices: documents, load"),
        ("retrieve: {top_k: 3, top_k: 4}", "line 1 not valid YAML: top_k stands a second time", ""),
        ("documents: {include: a.md}", "documents.include is 'a.md', should be a list, such as [a, b]", ""),
        ("documents: {path: 2024}", "documents.path is 2024, should be a path", "section documents in docs/config.md"),
        ("store: {path: '${NO_SUCH:-}'}", "store.path is '', should be a path", ""),
        ("documents: {path: ' '}", "documents.path is ' ', should be a path", ""),
        ("store: {path: '${NO_SUCH}/x'}", "store.path: environment variable NO_SUCH is not set", "${NO_SUCH:-default}"),
        ("store: {path: '${}'}", "names no variable", "$${"),
        ("split: {kind: x}\nretrieve: {top_k: 0}", "(and 1 more)", ""),
    ],
)
def test_errors_name_the_file_the_key_the_value_and_the_choices(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    file = written(tmp_path, text)
    error = refused(file)
    assert error.message.startswith(f"{file}:")
    assert message in error.message
    assert hint in error.hint
    assert error.hint


def test_errors_name_the_variable_or_the_flag() -> None:
    message = refused(RAG_RETRIEVE__TOP_K="abc").message
    assert message.startswith("environment variable RAG_RETRIEVE__TOP_K: retrieve.top_k is 'abc', should be a valid")
    error = refused(RAG_RETRIEVE__TOPK="1")
    assert error.message == "environment variable RAG_RETRIEVE__TOPK: there is no setting retrieve.topk"
    assert "retrieve.top_k" in error.hint
    error = refused(RAG_RETRIEVE_TOP_K="1")  # it would change nothing
    assert error.message == "environment variable RAG_RETRIEVE_TOP_K: there is no such setting"
    assert error.hint.endswith("RAG_RETRIEVE__TOP_K")
    assert refused(overrides={"split.kind": "x"}).message == "flag: split.kind is 'x'"
    assert refused(overrides={"top_k": "1"}).message == "flag: there is no setting top_k"
    message = refused(overrides={"retrieve.top_k": "9"}, RAG_RETRIEVE__CANDIDATES="3").message
    assert "environment variable RAG_RETRIEVE__CANDIDATES, flag: " in message


def test_text_that_names_no_path_and_no_list() -> None:
    message = refused(RAG_DOCUMENTS__PATH="").message
    assert message == "environment variable RAG_DOCUMENTS__PATH: documents.path is '', should be a path"
    assert refused(overrides={"store.path": ""}).message == "flag: store.path is '', should be a path"
    message = refused(RAG_DOCUMENTS__INCLUDE="null").message
    assert message.endswith("RAG_DOCUMENTS__INCLUDE: documents.include is None, should be a list, such as [a, b]")


def test_a_merged_key_is_no_second_one(tmp_path: Path) -> None:
    text = "retrieve:\n  <<: &base {top_k: 3, candidates: 60}\n  top_k: 4\nsplit: {}\n"
    made = load_config(written(tmp_path, text), None, {})
    assert (made.retrieve.top_k, made.retrieve.candidates) == (4, 60)


def test_files_that_cant_be_read(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.yaml").message.endswith("none.yaml: no such config file")
    folder = refused(tmp_path)
    assert folder.message.endswith(": a folder, not a config file")
    assert "--docs FOLDER" in str(folder.hint)
    (tmp_path / "latin.yaml").write_bytes("store: {path: é}".encode("latin-1"))
    assert "not UTF-8: invalid continuation byte at byte 14" in refused(tmp_path / "latin.yaml").message


def test_what_is_harmless(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "generate:\n  # kind: openai\n", "\ufeffretrieve: {top_k: 5}\n"):
        assert load_config(written(tmp_path, text), environ={}).retrieve == Config().retrieve
    assert load_config(None, None, {"RAG_SOAK": "1", "RAGE__X": "1"}) == load_config(None, None, {})


# ---- ${VARIABLES} ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "a"),
        ("x${A}${B:-c}y", "xacy"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("$A $$ ${A", "$A $$ ${A"),
        ("$${A}", "${A}"),
    ],
)
def test_variables(tmp_path: Path, text: str, expected: str) -> None:
    file = written(tmp_path, yaml.safe_dump({"embed": {"query_prefix": text}}))
    if text.endswith("${A"):  # an open brace is an error, not text
        assert "names no variable" in refused(file, A="a").message
        return
    assert load_config(file, environ={"A": "a", "EMPTY": ""}).embed.query_prefix == expected


# ---- what is printed reads back ----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "null",
        "yes",
        "1e3",
        "0x1",
        "${A}",
        "$${A}",
        "${",
        "~",
        "- a",
        "a: b",
        "#",
        "2024-01-01",
        " x ",
        "\n",
        "[",
        "*x",
        "\x85",
        "\u2028 x",
        "\ufeff",
    ]
)
names = texts.filter(bool)
changed = st.fixed_dictionaries(
    {},
    optional={
        "documents": st.fixed_dictionaries(
            {"path": st.just(Path("/some where/é")), "include": st.lists(names).map(tuple)}
        ),
        "split": st.fixed_dictionaries(
            {"max_tokens": st.integers(8, 10**6), "separators": st.lists(texts).map(tuple), "tokenizer": texts}
        ),
        "embed": st.fixed_dictionaries({"query_prefix": texts, "model": st.sampled_from(["a", "2024", "org/b", "on"])}),
        "store": st.fixed_dictionaries({"path": st.none() | st.just(Path("/x/${HOME}/y")), "stemmer": texts}),
        "retrieve": st.fixed_dictionaries(
            {"min_score": st.none() | st.floats(allow_nan=False, allow_infinity=False), "mmr": st.booleans()}
        ),
        "generate": st.fixed_dictionaries({"stop": st.lists(texts).map(tuple), "model": st.none() | texts}),
    },
)


@given(changed)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rag_config_reads_back_to_the_same(tmp_path: Path, values: dict[str, Any]) -> None:
    config = Config.model_validate({"documents": {"path": tmp_path}, **values})
    if config.generate.model and config.generate.model.startswith(("./", "../", "~/")):
        return
    file = tmp_path / "again.yaml"
    file.write_text(dump_config(config), encoding="utf-8", newline="")
    assert load_config(file, environ={}) == config


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_value_can_be_said_in_a_flag(data: st.DataObject) -> None:
    """Numbers and words as they stand, lists as YAML or JSON has them."""
    config = Config.model_validate(data.draw(changed))
    section, key = data.draw(st.sampled_from(KEYS))
    value = getattr(getattr(config, section), key)
    if value == "null" and type(None) in get_args(
        type(config).model_fields[section].annotation.model_fields[key].annotation
    ):
        return  # the word for nothing
    if isinstance(value, tuple):
        text = yaml.safe_dump(list(value), default_flow_style=True, width=10**6)
    else:
        text = "null" if value is None else str(value)
    base = {f"{section}.{k}": v for k, v in getattr(config, section).model_dump().items() if k != key}
    assert getattr(getattr(load_config(None, {**base, f"{section}.{key}": text}, {}), section), key) == value


def test_docs_name_every_key() -> None:
    root = Path(__file__).parents[1]
    guide = root / "docs" / "config.md"
    if not guide.is_file():
        pytest.skip("docs/config.md isn't written yet")
    text = guide.read_text(encoding="utf-8")
    missing = [f"{s}.{k}" for s, k in KEYS if not re.search(rf"\b({s}\.)?{k}\b", text)]
    assert not missing
    known = {f"{s}.{k}" for s, k in KEYS}
    told = set(re.findall(rf"`({'|'.join(Config.model_fields)})\.([a-z_]+)`", text))
    assert {f"{s}.{k}" for s, k in told} <= known


def test_the_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_RETRIEVE__TOP_K", "11")
    assert load_config().retrieve.top_k == 11
    assert os.environ["RAG_RETRIEVE__TOP_K"] == "11"
