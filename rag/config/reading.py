"""From a file, the environment and flags to a Config, or one ConfigError that names what is wrong where."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from rag.config.sections import Config, Documents
from rag.errors import ConfigError, brief

ENV_PREFIX = "RAG_"
PATHS = (("documents", "path"), ("store", "path"), ("prompt", "directory"), ("serve", "api_key_file"))
MODELS = (
    ("embed", "model"),
    ("images", "model"),
    ("audio", "model"),
    ("audio", "transcribe"),
    ("generate", "model"),
    ("evaluate", "nli"),
)
IN_YAML = {"tuple_type": "a list, such as [a, b]", "path_type": "a path"}  # for pydantic's words


def packaged(name: str) -> Path:
    """A file of the packaged defaults: beside the package in a wheel, at the repository's root in a checkout."""
    here = Path(__file__).resolve().parents[1]
    for root in (here / "defaults", here.parent):
        if (root / name).exists():
            return root / name
    raise ConfigError(f"the packaged file {name} is missing below {here}", "reinstall the package")


def find_config() -> Path | None:
    """./config.yaml, then the user's directory; None: the packaged defaults. Never one inside a document folder."""
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = (Path.cwd() / "config.yaml", user / "rag" / "config.yaml")
    return next((p for p in candidates if p.is_file()), None)


def load_config(
    path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    origin: str = "flag",
) -> Config:
    """Read `path` (None: the one `find_config` finds), then the environment, then `overrides`.

    `overrides` maps dotted keys to values, or to text as a flag has it: `{"retrieve.top_k": 3}`; an error says that
    they came from `origin`. Raises ConfigError, which names the file, variable or flag, the key, the value and the
    choices.
    """
    environ = os.environ if environ is None else environ
    found = Path(path) if path is not None else find_config()
    file = found or packaged("config.yaml")
    data = {k: {} if v is None else v for k, v in _read_yaml(file, environ).items()}  # a section with nothing in it
    _anchor_paths(data, found.resolve().parent if found else Path.cwd())
    origins: dict[str, str] = {}  # dotted key -> where its value comes from, unless it is the file
    for dotted, text in _environment(environ).items():
        _set(data, dotted, text, origins, f"environment variable {ENV_PREFIX}{dotted.upper().replace('.', '__')}")
    for dotted, value in (overrides or {}).items():
        _set(data, dotted, value, origins, origin)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise _explain(error, str(file), origins) from None


def apply_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with some settings changed: dotted keys to values, or to text as a flag has it. Raises ConfigError."""
    data, origins = config.model_dump(), dict[str, str]()
    for dotted, value in settings.items():
        _set(data, dotted, value, origins, "setting")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise _explain(error, "the settings", origins) from None


def dump_config(config: Config) -> str:
    """As YAML that `load_config` reads back to the same Config."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: Any, value: str) -> Any:
        # Unicode's own line ends would be written as they are and read back as a space or a newline.
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if _LINE_ENDS & set(value) else None)

    Dumper.add_representer(str, text)
    data = _escape(config.model_dump(mode="json"))
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)


_LINE_ENDS = frozenset("\r\x85\u2028\u2029")


def _anchor_paths(data: dict[str, Any], base: Path) -> None:
    """Paths in a file are relative to that file; those of the packaged defaults, to where one works."""
    if isinstance(documents := data.setdefault("documents", {}), dict):
        documents.setdefault("path", str(Documents().path))
    for section, key in (*PATHS, *MODELS):
        values = data.get(section)
        value = values.get(key) if isinstance(values, dict) else None
        # a model is a path only where it looks like one: "./models/mine", but not "BAAI/bge-small-en"
        if isinstance(value, str) and ((section, key) in PATHS or value.startswith(("./", "../", "~/"))):
            if not value.strip():
                continue  # refused later; made absolute it would be the file's own folder
            data[section][key] = str(base / Path(value).expanduser())


def _parse_yaml(text: str) -> Any:
    """As yaml.safe_load, which takes the last of two equal keys and says nothing of the first. Raises YAMLError."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            first: dict[str, int] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                    continue
                if key.value in first:
                    problem = f"{key.value} stands a second time, first in line {first[key.value]}"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                first[key.value] = key.start_mark.line + 1
            return node

    return yaml.load(text, Loader)


def _read_yaml(file: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    import yaml

    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such config file", "name another with --config") from None
    except IsADirectoryError:
        hint = "a folder of documents is named with --docs FOLDER, in Python with docs=FOLDER"
        raise ConfigError(f"{file}: a folder, not a config file", hint) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}", "name another with --config") from None
    try:
        data = _parse_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        hint = "check that line and its indentation"
        raise ConfigError(f"{file}:{line} not valid YAML: {error.problem}", hint) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}", "it may hold control characters") from None
    except (ValueError, RecursionError) as error:  # the 13th month; thousands of digits, or of brackets
        hint = "put quotes around a text that looks like a date or a number"
        raise ConfigError(f"{file}: not valid YAML: {brief(error)}", hint) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: holds a {type(data).__name__}, not sections", "`rag config --default` shows one")
    try:
        result = _interpolate(data, environ, file, "")
    except RecursionError:
        raise ConfigError(f"{file}: an alias (*) stands within what it names", "write out what is meant") from None
    assert isinstance(result, dict)
    return result


_VARIABLE = re.compile(r"\$?\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


def _interpolate(value: Any, environ: Mapping[str, str], file: Path, where: str) -> Any:
    if isinstance(value, dict):
        return {k: _interpolate(v, environ, file, f"{where}.{k}" if where else str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolate(v, environ, file, where) for v in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        if match[0].startswith("$$"):
            return match[0][1:]
        if name is None:
            raise ConfigError(
                f"{file}: {where}: {value!r} has a ${{ that names no variable", "write $${ for the text ${"
            )
        found = environ.get(name) if default is None else environ.get(name) or default  # as in a shell
        if found is None:
            raise ConfigError(
                f"{file}: {where}: environment variable {name} is not set", f"set it, or write ${{{name}:-default}}"
            )
        return found

    return _VARIABLE.sub(replace, value)


def _escape(value: Any) -> Any:
    """What `_interpolate` turns back."""
    if isinstance(value, dict):
        return {k: _escape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_escape(v) for v in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    for section, field in Config.model_fields.items():
        for key in getattr(field.annotation, "model_fields", {}):
            name, meant = (f"{ENV_PREFIX}{section}{mark}{key}".upper() for mark in ("_", "__"))
            if name in environ:
                hint = f"two lines part a section from its key: {meant}"
                raise ConfigError(f"environment variable {name}: there is no such setting", hint)
    return {
        name[len(ENV_PREFIX) :].lower().replace("__", ".", 1): value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and "__" in name
    }


def _set(data: dict[str, Any], dotted: str, value: Any, origins: dict[str, str], origin: str) -> None:
    section, _, key = dotted.partition(".")
    field = Config.model_fields.get(section)
    known: dict[str, FieldInfo] = getattr(field.annotation, "model_fields", {}) if field else {}
    if key not in known:
        choices = ", ".join(f"{section}.{k}" for k in known) or ", ".join(f"{s}.…" for s in Config.model_fields)
        raise ConfigError(f"{origin}: there is no setting {dotted}", f"choices: {choices}")
    values = data.setdefault(section, {})
    if isinstance(values, dict):  # anything else is refused with the file's name
        values[key] = _parse(value, known[key].annotation) if isinstance(value, str) else value
        origins[dotted] = origin


def _parse(text: str, wanted: Any) -> Any:
    """What an environment variable's or a flag's text means where `wanted` is expected. Pydantic reads numbers.

    >>> _parse("null", int | None), _parse("[a, 'b,c']", tuple[str, ...]), _parse("a, b", tuple[str, ...])
    (None, ['a', 'b,c'], ['a', 'b'])
    >>> _parse("[*.csv, hr/]", tuple[str, ...]), _parse("[ab]*.txt, [.#]*", tuple[str, ...])
    (['*.csv', 'hr/'], ['[ab]*.txt', '[.#]*'])
    """
    if text.strip() == "null" and (type(None) in get_args(wanted) or get_origin(wanted) is tuple):
        return None  # which a list can't be: refused, as in a file
    if get_origin(wanted) is not tuple:
        return text
    if text.lstrip().startswith("["):
        import yaml

        try:
            found = yaml.safe_load(text)
            if isinstance(found, list) and all(isinstance(part, str | int | float) for part in found):
                return found
        except yaml.YAMLError:
            pass  # [ab]*.txt is a pattern, and *.csv an alias that isn't there
        if text.rstrip().endswith("]"):
            text = text.strip()[1:-1]
    return [part.strip() for part in text.split(",") if part.strip()]


def _explain(error: ValidationError, file: str, origins: Mapping[str, str]) -> ConfigError:
    """Turn pydantic's first complaint into: where, what with its value, the choices."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    where, dotted = ".".join(path), ".".join(path[:2])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    origin = origins.get(dotted, file)
    match first["type"]:
        case "extra_forbidden" | "invalid_key":
            section = Config.model_fields.get(path[0]) if len(path) > 1 else None
            choices = ", ".join(getattr(section.annotation if section else Config, "model_fields", {}))
            if first["type"] == "invalid_key":  # YAML's own reading of it: `on` is True
                where = ".".join([*path[:-1], repr(first["input"])])
            return ConfigError(f"{origin}: unknown key {where}{more}", f"choices: {choices}")
        case "value_error":  # two keys of a section don't fit
            given = dict.fromkeys(o for key, o in origins.items() if key.startswith(f"{where}."))
            told = str(first["msg"]).removeprefix("Value error, ")
            return ConfigError(f"{', '.join([file, *given])}: {told}{more}", f"change one of the two in {where}")
        case "literal_error":
            choices = str(first["ctx"]["expected"]).replace(" or ", ", ").replace("'", "")
            return ConfigError(f"{origin}: {where} is {first['input']!r}{more}", f"choices: {choices}")
        case "model_type":
            return ConfigError(
                f"{origin}: {where} is {first['input']!r}, not a section{more}", "put KEY: VALUE below it"
            )
        case _:
            told = IN_YAML.get(first["type"]) or first["msg"].removeprefix("Input should be ")
            return ConfigError(
                f"{origin}: {where} is {first['input']!r}, should be {told}{more}",
                f"see section {path[0]} in docs/config.md",
            )
