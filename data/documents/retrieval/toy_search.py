"""A search engine of one page: cosine, BM25 and reciprocal rank fusion in plain Python.

The program belongs to the handbook. It is written to be read, not to be fast, and it needs nothing but the
standard library. Run it to see the toy space of the similarity page and a small fused search:

    python toy_search.py
"""

import math
import re
from collections import Counter

Vector = list[float]

# The three words of the toy space. Cat and dog point almost the same way; car points elsewhere.
TOY_SPACE: dict[str, Vector] = {"cat": [1.2, 0.8], "dog": [1.0, 0.9], "car": [0.3, -1.5]}

# The constants of BM25: K1 limits the effect of repetition, B the effect of length.
K1 = 1.2
B = 0.75

# The constant of reciprocal rank fusion. A larger value flattens the difference between the top ranks.
RRF_K = 60


def dot(a: Vector, b: Vector) -> float:
    """Sum of the products. Vectors of different length are a mistake, so strict=True makes zip complain."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Vector, b: Vector) -> float:
    """Cosine of the angle between two vectors, from -1 to 1.

    A zero vector has no direction. Returning 0.0 would hide an empty document, so a ValueError is raised.
    """
    lengths = math.sqrt(dot(a, a)) * math.sqrt(dot(b, b))
    if lengths == 0.0:
        raise ValueError("the cosine of a zero vector is undefined")
    return dot(a, b) / lengths


def euclidean(a: Vector, b: Vector) -> float:
    """Length of the straight line between two points; smaller is nearer."""
    return math.dist(a, b)


def manhattan(a: Vector, b: Vector) -> float:
    """Sum of the absolute differences; smaller is nearer."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def words(text: str) -> list[str]:
    """Lower-case words of letters and digits. No stemming and no list of stop words."""
    return re.findall(r"[^\W_]+", text.lower())


class BM25:
    """A keyword index over a few documents, held in memory."""

    def __init__(self, documents: dict[str, str]) -> None:
        self.counts = {name: Counter(words(text)) for name, text in documents.items()}
        self.lengths = {name: sum(count.values()) for name, count in self.counts.items()}
        # An empty collection gets the average 1.0, so that nothing is divided by zero.
        self.average = sum(self.lengths.values()) / len(self.lengths) if self.lengths else 1.0
        self.frequency: Counter[str] = Counter()
        for count in self.counts.values():
            self.frequency.update(count.keys())

    def rarity(self, word: str) -> float:
        """Inverse document frequency. Adding one inside the logarithm keeps it above zero for every word."""
        df = self.frequency[word]
        return math.log(1 + (len(self.counts) - df + 0.5) / (df + 0.5))

    def score(self, query: str, name: str) -> float:
        """Score of one document; zero if it shares no word with the query."""
        total = 0.0
        for word in words(query):
            times = self.counts[name][word]
            if times:
                # A document of twice the average length gets 1 - 0.75 + 0.75 * 2 = 1.75 here.
                length_factor = 1 - B + B * self.lengths[name] / self.average
                total += self.rarity(word) * times * (K1 + 1) / (times + K1 * length_factor)
        return total

    def search(self, query: str) -> list[str]:
        """Names of the documents with a score above zero, best first. Ties are broken by name."""
        scored = [(-self.score(query, name), name) for name in self.counts]
        return [name for negative, name in sorted(scored) if negative < 0]


def fuse(rankings: list[list[str]], k: int = RRF_K) -> list[tuple[str, float]]:
    """Reciprocal rank fusion: every list adds 1 / (k + rank), and rank 1 is best.

    A name that is missing from a list gets nothing from it; there is no penalty.
    """
    totals: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            totals[name] = totals.get(name, 0.0) + 1 / (k + rank)
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def main() -> None:
    """Print the similarities of the toy space, then one fused search."""
    for first, second in (("cat", "dog"), ("cat", "car"), ("dog", "car")):
        a, b = TOY_SPACE[first], TOY_SPACE[second]
        print(f"{first}-{second}: cosine {cosine(a, b):.4f}, euclidean {euclidean(a, b):.4f}")
    index = BM25({"a": "the cat sleeps", "b": "the dog barks at the cat", "c": "the car stands still"})
    by_vector = ["b", "a", "c"]  # as if a dense retriever had returned this order
    print(fuse([index.search("sleeping cat"), by_vector]))


if __name__ == "__main__":
    main()
