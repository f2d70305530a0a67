"""Models that read a question and a passage together.

    spans.py          token scores -> exact words: which spans of a passage may be the answer
    passage_reader.py PassageReader, the embedded one (rag/models/reader.safetensors): where the answer stands, whether
                      it is there, how relevant the passage is, in one pass
    rerank.py         what `retrieve.rerank` names: nothing, the embedded one, or any cross-encoder

How the embedded one is made: training/reader/.
"""

from rag.read.passage_reader import WEIGHTS, PassageReader
from rag.read.rerank import RANKS, Rerank, make_rerank

__all__ = ["RANKS", "WEIGHTS", "PassageReader", "Rerank", "make_rerank"]
