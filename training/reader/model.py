"""The reader in torch, as it is trained: a BERT encoder over (question, passage) with three outputs in one pass.

What the product computes is rag.read's own forward pass; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data import SOMEWHERE
from rag.bert import read_weights
from rag.read.passage_reader import merged
from rag.read.spans import best_pairs

CLS, SEP, PAD = 101, 102, 0
UNKNOWN = -100
LENGTHS = 16  # tokens are padded to a multiple of these: kernels are compiled for each shape anew


class Reader(nn.Module):
    """`span`: a start and an end score of each token; the first token stands for "not in this passage" (Devlin et al.
    2019, section 4.3). `judge`: from the first token, whether the answer is in the passage, and how relevant it is.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        hidden = encoder.config.hidden_size
        self.span = nn.Linear(hidden, 2)
        self.judge = nn.Linear(hidden, 2)
        for parameter in encoder.embeddings.parameters():  # the product shares them with the embedder
            parameter.requires_grad_(False)

    @staticmethod
    def start_from(folder: str, dropout: float, seed: int = 0) -> Reader:
        from transformers import BertModel

        torch.manual_seed(seed)
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        # On a CPU the backward pass of torch's fused attention takes 4 times as long as that of its single steps.
        kind = "sdpa" if torch.cuda.is_available() else "eager"
        return Reader(BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation=kind, **rates))

    def take_up(self, file: Path) -> None:
        """Go on from weights that export.py wrote, as the product makes them whole."""
        mine = {name: value.numpy() for name, value in self.state_dict().items()}
        whole = merged({name.removeprefix("encoder."): value for name, value in mine.items()}, read_weights(file))
        self.load_state_dict({name: torch.from_numpy(whole[name.removeprefix("encoder.")]) for name in mine})

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Start scores (n, longest), end scores (n, longest), judgement (n, 2): answerable, relevance.

        Tokens of the question and padding score -1e4: an answer stands in the passage or nowhere."""
        states = self.encoder(
            input_ids=batch.ids, attention_mask=batch.mask, token_type_ids=batch.types
        ).last_hidden_state
        scores = self.span(states).float().masked_fill(~batch.allowed[:, :, None], -1e4)
        return scores[:, :, 0], scores[:, :, 1], self.judge(states[:, 0]).float()


@dataclass
class Batch:
    """Pairs of a question and a passage, padded. start, end: places of the answer in `ids`; 0: it isn't in the passage;
    UNKNOWN: it is, nobody said where."""

    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor
    allowed: torch.Tensor
    start: torch.Tensor
    end: torch.Tensor
    pairs: torch.Tensor  # (m, 2): rows of a relevant and a less relevant passage of one question

    @staticmethod
    def of(
        rows: Sequence[tuple[np.ndarray, np.ndarray, int, int]],
        pairs: Sequence[tuple[int, int]] = (),
        device: str = "cpu",
    ) -> Batch:
        """rows: (question ids, passage ids, first and last token of the answer in the passage or -1)."""
        longest = max(len(q) + len(p) for q, p, _, _ in rows) + 3
        longest = -(-longest // LENGTHS) * LENGTHS
        ids = np.full((len(rows), longest), PAD, np.int64)
        mask, types, allowed = (np.zeros((len(rows), longest), bool) for _ in range(3))
        places = np.zeros((len(rows), 2), np.int64)
        for row, (question, passage, start, end) in enumerate(rows):
            first = len(question) + 2
            last = first + len(passage)
            ids[row, 0], ids[row, first - 1], ids[row, last] = CLS, SEP, SEP
            ids[row, 1 : first - 1], ids[row, first:last] = question, passage
            mask[row, : last + 1] = True
            types[row, first : last + 1] = True
            allowed[row, first:last] = allowed[row, 0] = True
            if start >= 0:
                places[row] = first + start, first + end
            elif start == SOMEWHERE:
                places[row] = UNKNOWN
        arrays = (ids, mask.astype(np.int64), types.astype(np.int64), allowed, places[:, 0], places[:, 1])
        ordered = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2)
        return Batch(*(torch.from_numpy(a).to(device) for a in arrays), ordered)


def loss(
    outputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], batch: Batch, weights: dict[str, float]
) -> torch.Tensor:
    """Cross-entropy of start and end, of answerable or not, and of each pair's order by relevance."""
    start, end, judged = outputs
    known = (batch.start != UNKNOWN).sum().clamp(min=1)
    spans = [
        nn.functional.cross_entropy(scores, places, ignore_index=UNKNOWN, reduction="sum") / known
        for scores, places in ((start, batch.start), (end, batch.end))
    ]
    span = sum(spans) / 2
    there = nn.functional.binary_cross_entropy_with_logits(judged[:, 0], (batch.start != 0).float())
    order = torch.zeros((), device=start.device)
    if len(batch.pairs):
        better, worse = judged[batch.pairs[:, 0], 1], judged[batch.pairs[:, 1], 1]
        # Both terms: the order within a question, and a scale that holds across questions.
        order = nn.functional.softplus(worse - better).mean()
        order = order + (nn.functional.softplus(-better).mean() + nn.functional.softplus(worse).mean()) / 2
    return weights["span"] * span + weights["answerable"] * there + weights["relevance"] * order


def best_span(start: np.ndarray, end: np.ndarray) -> tuple[int, int, float]:
    """First and last token of the best span that isn't "nowhere", and by how much it beats that. (length,) each."""
    first, last, score = best_pairs(start[1:], end[1:], 1)[0]
    return first + 1, last + 1, score - float(start[0] + end[0])
