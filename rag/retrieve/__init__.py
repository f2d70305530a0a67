"""A question -> numbered passages.

filters.py   `type=pdf page>=3` and LangChain's {"page": {"$gte": 3}} -> which chunks may be found
fusion.py    reciprocal-rank and convex fusion, maximal marginal relevance
search.py    Retriever: candidates from the dense and the lexical index, fused, folded, capped, numbered
"""

from rag.retrieve.filters import Filter, parse_filter
from rag.retrieve.search import Retrieval, Retriever, Why

__all__ = ["Filter", "Retrieval", "Retriever", "Why", "parse_filter"]
