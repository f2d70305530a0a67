"""Teach all-MiniLM-L6-v2's encoder to read: where the answer stands, whether it is there, how relevant the passage is.

    python training/reader/data.py                       # once: examples and hard negatives
    python training/reader/train.py --steps 4000         # goes on where it stopped; --threads 1 leaves cores free
    python training/reader/export.py                     # rag/models/reader.safetensors

The learning rate is constant after a warm-up and falls to 0 over the last part of the steps. The state before it
falls is kept: a later run with more --steps goes on from there, so training can be cut into sessions of any length.
Where that state is gone, `--from rag/models/reader.safetensors` begins with what was shipped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from model import Batch, Reader, best_span, loss

from data import HERE, NOWHERE, ROOT, Examples

SENTENCE_ENDS = (999, 1012, 1029)  # ! . ? of BERT's uncased vocabulary
LEAST_LEFT = 20  # tokens of a passage whose answer was cut out

BUCKET = 512  # questions sorted by length together: batches of like lengths have little padding


def batches(examples: Examples, config: dict, skip: int = 0) -> Iterator[tuple[list[tuple], list[tuple[int, int]]]]:
    """Rows and pairs of each step, for ever; the same for the same seed. `skip` so many steps."""
    usable = np.flatnonzero(~examples.aside)
    nowhere = np.flatnonzero(~examples.aside & (examples.start == NOWHERE))
    made, epoch = 0, 0
    while True:
        rng = np.random.default_rng([config["seed"], epoch])
        order = rng.permutation(usable)
        for at in range(0, len(order), BUCKET):
            part = order[at : at + BUCKET]
            if len(nowhere):
                part = np.concatenate([part, rng.choice(nowhere, int(config["more_unanswerable"] * len(part)))])
            part = part[np.argsort([len(examples.passage(examples.gold[i])) for i in part], kind="stable")]
            with_negative = rng.random(len(part)) < config["negatives"]
            groups, held = [[]], 0
            for i, negative in zip(part, with_negative, strict=True):
                size = 1 + bool(negative and examples.negatives[i, 0] >= 0)
                if held + size > config["batch_passages"]:
                    groups.append([])
                    held = 0
                groups[-1].append((int(i), size > 1))
                held += size
            for g in rng.permutation(len(groups)):
                made += 1
                if made > skip:
                    yield rows_of(examples, groups[g], config, np.random.default_rng([config["seed"], epoch, made]))
        epoch += 1


def rows_of(examples: Examples, group: list[tuple[int, bool]], config: dict, rng: np.random.Generator):
    rows, pairs = [], []
    longest = max(len(examples.passage(examples.gold[i])) for i, _ in group)
    for i, negative in group:
        question = examples.question(i)[: config["max_question"]]
        room = min(config["max_tokens"] - len(question) - 3, longest)
        rows.append((question, *cut(examples.passage(examples.gold[i]), examples.start[i], examples.end[i], room, rng)))
        if not negative:
            continue
        kind = rng.random() if examples.start[i] >= 0 else 1.0
        wrong = examples.wrong_question(i)[: config["max_question"]]
        if kind < config["wrong_question"] and len(wrong):
            # No pair: the passage is as much on the topic for the one question as for the other.
            _, passage, start, _ = rows[-1]
            room = min(config["max_tokens"] - len(wrong) - 3, len(passage))
            rows.append((wrong, *cut(passage, start, start, room, rng)[:1], NOWHERE, NOWHERE))
            continue
        kept = examples.negatives[i][examples.negatives[i] >= 0]
        passage = examples.passage(kept[rng.integers(len(kept))])
        if kind < config["wrong_question"] + config["cut_out"]:
            rest = without_answer(examples.passage(examples.gold[i]), examples.start[i], examples.end[i])
            passage = passage if rest is None else rest
        rows.append((question, *cut(passage, NOWHERE, NOWHERE, room, rng)))
        pairs.append((len(rows) - 2, len(rows) - 1))
    return rows, pairs


def without_answer(passage: np.ndarray, start: int, end: int) -> np.ndarray | None:
    """The passage without the sentence that the answer stands in: on the topic, word for word, and no answer in it.
    None where the answer stands in the rest as well, or little is left."""
    stops = np.flatnonzero(np.isin(passage, SENTENCE_ENDS)) + 1
    before, after = stops[stops <= start], stops[stops > end]
    left = passage[: before[-1] if len(before) else 0]
    right = passage[after[0] if len(after) else len(passage) :]
    rest, answer = np.concatenate([left, right]), passage[start : end + 1]
    if len(rest) < max(LEAST_LEFT, len(answer)):
        return None
    again = (np.lib.stride_tricks.sliding_window_view(rest, len(answer)) == answer).all(axis=1).any()
    return None if again else rest


def cut(passage: np.ndarray, start: int, end: int, room: int, rng: np.random.Generator):
    """A window of the passage with the answer somewhere in it."""
    if len(passage) <= room:
        return passage, int(start), int(end)
    if start < 0:
        at = int(rng.integers(0, len(passage) - room + 1))
        return passage[at : at + room], int(start), int(end)
    end = min(end, start + room - 1)
    lowest, highest = max(0, end - room + 1), min(start, len(passage) - room)
    at = int(rng.integers(lowest, max(highest, lowest) + 1))
    return passage[at : at + room], int(start) - at, int(end) - at


def rate(step: int, steps: int, config: dict) -> float:
    falls = steps * config["decay_share"]
    return min(1.0, (step + 1) / config["warmup_steps"], (steps - step) / max(falls, 1))


@torch.compiler.set_stance("force_eager")  # compiling once more for it takes longer than a check
def check(model: Reader, examples: Examples, config: dict, device: str, most: int = 400) -> dict[str, float]:
    """On the articles kept aside: is the predicted span the gold one (token overlap F1), does the gold passage beat its
    first negative, AUROC of answerable between the two."""
    from sklearn.metrics import roc_auc_score

    aside = np.flatnonzero(examples.aside & (examples.negatives[:, 0] >= 0) & (examples.start >= 0))
    aside = aside[np.linspace(0, len(aside) - 1, min(most, len(aside))).astype(int)]
    rng = np.random.default_rng(0)
    f1, first, there = [], [], []
    model.eval()
    for at in range(0, len(aside), 8):
        rows = []
        for i in aside[at : at + 8]:
            rows.append(gold_row(examples, i, config, rng))
            question = rows[-1][0]
            room = config["max_tokens"] - len(question) - 3
            rows.append((question, *cut(examples.passage(examples.negatives[i, 0]), NOWHERE, NOWHERE, room, rng)))
        batch = Batch.of(rows, device=device)
        with torch.inference_mode():
            start, end, judged = (o.cpu().numpy() for o in model(batch))
        for row in range(0, len(rows), 2):
            a, b, _ = best_span(start[row], end[row])
            c, d = int(batch.start[row]), int(batch.end[row])
            both = max(0, min(b, d) - max(a, c) + 1)
            f1.append(2 * both / (b - a + d - c + 2))
        first += list(judged[::2, 1] > judged[1::2, 1])
        there += list(judged[:, 0])
    right = np.tile([1, 0], len(aside))
    return {
        "token_f1": round(100 * float(np.mean(f1)), 2),
        "gold_first": round(100 * float(np.mean(first)), 2),
        "answerable_auroc": round(100 * float(roc_auc_score(right, there)), 2),
        "people_auroc": people(model, examples, config, device),
        "n": len(aside),
    }


def gold_row(examples: Examples, i: int, config: dict, rng: np.random.Generator) -> tuple:
    """A question with its own passage, as much of it as there is room for."""
    question = examples.question(i)[: config["max_question"]]
    room = config["max_tokens"] - len(question) - 3
    return question, *cut(examples.passage(examples.gold[i]), examples.start[i], examples.end[i], room, rng)


def people(model: Reader, examples: Examples, config: dict, device: str) -> float:
    """AUROC of answerable or not on the passages that people wrote both kinds of questions for, kept aside."""
    from sklearn.metrics import roc_auc_score

    passages = set(examples.gold[examples.aside & (examples.start == NOWHERE)].tolist())
    mine = np.flatnonzero(examples.aside & np.isin(examples.gold, list(passages)))
    rng = np.random.default_rng(0)
    rows = [gold_row(examples, i, config, rng) for i in mine]
    there = []
    model.eval()
    for at in range(0, len(rows), 16):
        with torch.inference_mode():
            there += model(Batch.of(rows[at : at + 16], device=device))[2][:, 0].tolist()
    return round(100 * float(roc_auc_score(examples.start[mine] >= 0, there)), 2) if len(passages) else float("nan")


def train(
    model: Reader, examples: Examples, config: dict, steps: int, folder: Path, device: str, after: str = ""
) -> None:
    """`steps` in all, counted from the very first run. `after`: how the weights that it began with were trained."""
    heads = [*model.span.parameters(), *model.judge.parameters()]
    body = [p for p in model.encoder.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in body if p.ndim > 1],
            "top": config["learning_rate"],
            "weight_decay": config["weight_decay"],
        },
        {"params": [p for p in body if p.ndim < 2], "top": config["learning_rate"], "weight_decay": 0.0},
        {"params": heads, "top": config["head_learning_rate"], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config["learning_rate"], betas=(0.9, 0.98), fused=True)
    falls_at = steps - int(steps * config["decay_share"])
    done = resume(model, optimizer, folder, falls_at)
    log = (folder / "log.jsonl").open("a", encoding="utf-8")
    began, losses, seen = time.time(), [], 0
    autocast = torch.autocast(
        device, torch.bfloat16, enabled=device == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    )
    model.train()
    for step, (rows, pairs) in enumerate(batches(examples, config, skip=done), done):
        if step >= steps:
            break
        if step == falls_at:
            save(model, optimizer, folder / "before_decay.pt", step, falls_at, after)
        for group in optimizer.param_groups:
            group["lr"] = group["top"] * rate(step, steps, config)
        batch = Batch.of(rows, pairs, device)
        torch.manual_seed(config["seed"] + step)  # dropout is the same again after a restart
        with autocast:
            outputs = model(batch)
        value = loss(outputs, batch, config["weights"])
        value.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(value.detach()))
        seen += len(rows)
        if (step + 1) % 50 == 0:
            line = {
                "step": step + 1,
                "loss": round(float(np.mean(losses)), 4),
                "per_s": round(seen / (time.time() - began), 2),
            }
            if (step + 1) % config["check_every"] == 0:
                line |= check(model, examples, config, device)
                model.train()
            print(line, flush=True)
            print(json.dumps(line), file=log, flush=True)
            losses = []
        if (step + 1) % config["save_every"] == 0:
            save(model, optimizer, folder / "last.pt", step + 1, falls_at, after)
    if done < steps:
        save(model, optimizer, folder / "last.pt", steps, falls_at, after)
    print(check(model, examples, config, device, 2000), flush=True)


def save(model: Reader, optimizer: torch.optim.Optimizer, file: Path, step: int, falls_at: int, after: str) -> None:
    state = {"falls_at": falls_at, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
             "after": after}  # fmt: skip
    torch.save(state, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)  # a kill while saving leaves the last whole one


def resume(model: Reader, optimizer: torch.optim.Optimizer, folder: Path, falls_at: int) -> int:
    """Load the newest state whose learning rate hadn't fallen yet, and say at which step it was."""
    for file in (folder / "last.pt", folder / "before_decay.pt"):
        if not file.is_file():
            continue
        state = torch.load(file, map_location="cpu", weights_only=True)
        if state["step"] > state["falls_at"] != falls_at:
            continue  # of a shorter run, whose rate fell earlier
        model.load_state_dict(state["model"])
        tops = [group["top"] for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for group, top in zip(optimizer.param_groups, tops, strict=True):
            group["top"] = top
        print("going on at step", state["step"], "of", file.name, flush=True)
        return int(state["step"])
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=HERE / "reader.yaml")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--from", dest="start", type=Path, help="weights of export.py to begin with, not the base's")
    parser.add_argument(
        "--compile", action="store_true", help="a sixth less time, after a minute or two; needs a C++ compiler"
    )
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text(encoding="utf-8"))
    if args.threads:
        torch.set_num_threads(args.threads)
    from rag.config import Embed
    from rag.embed.resolve import resolve_model
    from rag.read import PassageReader

    folder = ROOT / config["folder"]
    examples = Examples.load(folder / "examples.npz")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = resolve_model(Embed().model).folder
    model = Reader.start_from(str(base), config["dropout"], config["seed"])
    after = ""
    if args.start:
        after = PassageReader(base, args.start).header["trained"]
        model.take_up(args.start)
    if args.compile:
        model.encoder.compile(dynamic=True)
    train(model.to(device), examples, config, args.steps, folder, device, after)


if __name__ == "__main__":
    main()
