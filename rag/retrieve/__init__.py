"""A question -> numbered passages.

filters.py   `type=pdf page>=3` and LangChain's {"page": {"$gte": 3}} -> which chunks may be found
fusion.py    reciprocal-rank and convex fusion, maximal marginal relevance
search.py    Retriever: candidates from the dense and the lexical index, fused, folded, capped, numbered
spaces.py    pictures and recordings nearest to a vector; several spaces' rankings as one
"""

from rag.retrieve.filters import Filter, parse_filter
from rag.retrieve.search import Retrieval, Retriever, Why, check_question
from rag.retrieve.spaces import fuse_spaces, nearest_media

__all__ = ["Filter", "Retrieval", "Retriever", "Why", "check_question", "fuse_spaces", "nearest_media", "parse_filter"]
