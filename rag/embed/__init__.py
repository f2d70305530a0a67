"""Texts, pictures and sounds -> vectors.

    resolve.py      model name -> a folder with weights: installed package, path or hub; hashes checked
    text.py         TextEmbedder: tokenise, sort, pack, run, and what a vector means (the fingerprint)
    image.py        ImageEmbedder: CLIP (pictures and words in one space), vision models, or the descriptor
    audio.py        AudioEmbedder: Wav2Vec2 or the descriptor, window by window
    transcriber.py  Transcriber: recordings -> words with times, by a speech model
    descriptors.py  classical features of pictures and sounds, which need no weights
    pretrained.py   what the models of image.py and audio.py share
    similarity.py   cosine, dot, Euclidean, Manhattan, over all pairs

`TextEmbedder` has LangChain's `embed_query` and `embed_documents`; `rag.langchain.RagEmbeddings` is the same as a
LangChain `Embeddings`.
"""

from rag.embed.audio import AudioEmbedder, Window
from rag.embed.image import ImageEmbedder
from rag.embed.resolve import MINILM_SHA256, ResolvedModel, resolve_model
from rag.embed.text import TextEmbedder
from rag.embed.transcriber import Transcriber

__all__ = [
    "MINILM_SHA256",
    "AudioEmbedder",
    "ImageEmbedder",
    "ResolvedModel",
    "TextEmbedder",
    "Transcriber",
    "Window",
    "resolve_model",
]
