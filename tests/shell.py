"""The `rag` command as a person runs it: its own process, its own home, no network, no config of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RAG = str(Path(sys.executable).parent / "rag")


@dataclass
class Shell:
    home: Path  # every folder a user has lies below it
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cwd = self.home / "work"
        self.cwd.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAG_", "OPENAI_"))}
        folders = {name: str(self.home / name) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
        return {**kept, **folders, "HF_HUB_OFFLINE": "1", "COLUMNS": "100", **self.extra}

    def __call__(self, *args: object, stdin: str | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [RAG, *map(str, args)]
        return subprocess.run(
            command,
            cwd=self.cwd,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            **more,
        )

    def start(self, *args: object, **more: Any) -> subprocess.Popen[str]:
        command = [RAG, *map(str, args)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
        return subprocess.Popen(command, cwd=self.cwd, env=self.environment, **pipes)


def write(folder: Path, **files: str) -> Path:
    """`write(tmp, a_md="...")` makes a.md."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


RIVER = "# Birds\n\nThe heron stands in the shallow river and waits for fish.\n\n## Food\n\nIt eats frogs, too.\n"
METAL = "Copper melts at 1085 degrees Celsius.\nIron melts at 1538 degrees Celsius.\n"
