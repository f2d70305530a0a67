"""config.yaml -> frozen sections, in the order of the flow.

Precedence: defaults < config.yaml < environment `RAG_SECTION__KEY` < flags. Unknown keys are refused with the
known ones named. `${VAR}` and `${VAR:-default}` in the file read the environment, an unset one is an error, and `$${`
stands for `${` itself. Environment and flags hold text: `null`, `[a, b]` or `a,b` for lists, all else as it stands.
"""

from __future__ import annotations

from rag.config.reading import apply_settings, dump_config, load_config, packaged
from rag.config.sections import (
    AnswerSection,
    Audio,
    Config,
    Documents,
    Embed,
    Evaluate,
    Generate,
    Images,
    Load,
    Prompt,
    Retrieve,
    Section,
    Serve,
    Split,
    Store,
)

__all__ = [
    "AnswerSection",
    "Audio",
    "Config",
    "Documents",
    "Embed",
    "Evaluate",
    "Generate",
    "Images",
    "Load",
    "Prompt",
    "Retrieve",
    "Section",
    "Serve",
    "Split",
    "Store",
    "apply_settings",
    "dump_config",
    "load_config",
    "packaged",
]
