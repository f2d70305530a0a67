"""The error tree. Every expected failure is one of these; anything else is a bug.

    RagError(message, hint)
    ├── ConfigError          config.yaml, an environment variable or a flag is wrong: stops at once
    │   └── PromptError      a prompt file is wrong: unknown variable, missing role
    ├── DocumentError        one file can't be read: reported, and the run goes on
    │   ├── LoaderError      the machine's fault, not the file's: the next sync reads it again
    │   ├── UnsupportedError no loader for this kind of file
    │   └── EmptyError       the file holds no text (a scanned PDF, an empty file)
    ├── FolderError          the document folder is missing, unreadable or holds nothing to index
    ├── ModelError           a model can't be found, loaded or trusted
    │   ├── ModelNotFound    neither installed, nor at a path, nor on a hub that can be reached
    │   └── ModelMismatch    wrong hash, or another kind of model than asked for
    ├── StoreError           the index can't be used
    │   ├── IndexLocked      another process is writing
    │   ├── IndexMismatch    made with another model or other settings
    │   ├── IndexMissing     nothing was synced yet
    │   ├── IndexDamaged     a file of the index is unreadable
    │   └── ArchiveError     an exported index was cut short, altered or isn't one
    ├── QueryError           a question, filter or number that can't be worked with
    ├── VectorError          vectors that can't be compared: other dimensions, NaN, zeros
    ├── JudgementError       a set of judged questions is wrong: names file, line and field
    └── GenerationError      the generator failed
        ├── ContextOverflow  the prompt is longer than the model's window
        ├── GeneratorDown    the server is unreachable, slow or refuses
        └── Cancelled        somebody asked it to stop

`message` says where, what with values, and the choices; `hint` says what to do.
"""

from __future__ import annotations

import traceback

MOST_TOLD = 200  # characters of what another library says: some quote the whole input


def brief(error: BaseException, *, named: bool = False) -> str:
    """What another library's exception says, in one line; with the name of its class in front, if asked.

    >>> brief(ValueError("no\n  good")), brief(KeyError(), named=True)
    ('no good', 'KeyError:')
    """
    told = f"{type(error).__name__}: {error}" if named else str(error)
    return " ".join(told.split())[:MOST_TOLD]


def places(error: BaseException) -> str:
    """For a log: the exception's class and where it came from, innermost first. Not what it says: its words may be a
    document's, or a question."""
    frames = traceback.extract_tb(error.__traceback__)
    told = " < ".join(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames[-6:]))
    return f"{type(error).__name__} at {told}"


class RagError(Exception):
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[RagError], tuple[str, str]]:
        return (type(self), (self.message, self.hint))  # crosses process borders whole


class ConfigError(RagError):
    exit_code = 2


class PromptError(ConfigError):
    pass


class DocumentError(RagError):
    pass


class LoaderError(DocumentError):
    """The machine's fault, not the document's: the next sync reads it again."""


class UnsupportedError(DocumentError):
    pass


class EmptyError(DocumentError):
    pass


class FolderError(RagError):
    pass


class ModelError(RagError):
    pass


class ModelNotFound(ModelError):
    pass


class ModelMismatch(ModelError):
    pass


class StoreError(RagError):
    pass


class IndexLocked(StoreError):
    pass


class IndexMismatch(StoreError):
    pass


class IndexMissing(StoreError):
    pass


class IndexDamaged(StoreError):
    pass


class ArchiveError(StoreError):
    pass


class QueryError(RagError):
    pass


class VectorError(RagError):
    pass


class JudgementError(RagError):
    pass


class GenerationError(RagError):
    pass


class ContextOverflow(GenerationError):
    pass


class GeneratorDown(GenerationError):
    pass


class Cancelled(GenerationError):
    pass
