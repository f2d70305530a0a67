"""Worked examples of each kind, limits, prefixes, sentences and the LangChain adapter."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rag.config import Split
from rag.errors import ConfigError
from rag.sentences import guess_language, sentence_spans
from rag.split import Splitter, TokenLimits, as_text_splitter, make_splitter
from rag.split.outline import Outline
from rag.split.semantic import segment
from rag.tokens import Tokenizer
from rag.types import Chunk, Heading, Source


class Words(Tokenizer):
    """Words and single signs are tokens."""

    name = "words"

    def offsets(self, text: str) -> np.ndarray:
        return np.array([m.span() for m in re.finditer(r"\w+|[^\w\s]", text)], np.int64).reshape(-1, 2)

    def count(self, text: str) -> int:
        return len(self.offsets(text))


class Letters(Words):
    name = "letters"

    def offsets(self, text: str) -> np.ndarray:
        return np.array([(i, i + 1) for i, c in enumerate(text) if not c.isspace()], np.int64).reshape(-1, 2)


LIMITS = TokenLimits(Words(), Words(), 254, model="five-words")


def make(kind: str, size: int = 8, limits: TokenLimits = LIMITS, **settings: object) -> Splitter:
    return make_splitter(Split.model_validate({"kind": kind, "max_tokens": size, **settings}), limits)


def texts(chunks: list[Chunk]) -> list[str]:
    return [c.text for c in chunks]


def markdown(text: str, **settings: object) -> Source:
    heads = list(re.finditer(r"^(#+) (.*)$", text, re.MULTILINE))
    headings = tuple(Heading(m.start(), len(m[1]), m[2]) for m in heads)
    return Source("a.md", text, "md", headings=headings, **settings)  # type: ignore[arg-type]


# --- kinds -----------------------------------------------------------------------------------------------------


def test_sentence_packs_whole_sentences() -> None:
    text = "One two three. Four five six. Seven eight nine."
    assert texts(make("sentence").split(Source("a", text, "txt"))) == [
        "One two three. Four five six.",
        "Seven eight nine.",
    ]


def test_sentence_overlap_repeats_whole_sentences() -> None:
    text = "One two. Three four. Five six. Seven eight. Nine ten."
    found = texts(make("sentence", 9, overlap_tokens=4).split(Source("a", text, "txt")))
    assert found == ["One two. Three four. Five six.", "Five six. Seven eight. Nine ten."]


def test_a_sentence_over_the_limit_is_cut_at_clauses_then_words() -> None:
    text = "alpha beta gamma delta epsilon, zeta eta theta iota kappa lambda mu nu xi."
    assert texts(make("sentence").split(Source("a", text, "txt"))) == [
        "alpha beta gamma delta epsilon,",
        "zeta eta theta iota kappa lambda mu nu",
        "xi.",
    ]


def test_no_chunk_ends_with_a_heading_and_a_half_full_one_ends_before_it() -> None:
    source = markdown("# A\n\nOne two three four.\n\n## B\n\nFive six.\n\n## C\n\nSeven.\n")
    assert texts(make("sentence", 12).split(source)) == [
        "# A\n\nOne two three four.",
        "## B\n\nFive six.",
        "## C\n\nSeven.",
    ]


def test_lines_are_the_units_of_source_code() -> None:
    text = "def add(a, b):\n    return a\n\n\ndef sub(c, d):\n    return c\n"
    assert texts(make("sentence", 10).split(Source("a.py", text, "code"))) == [
        "def add(a, b):\n    return a",
        "def sub(c, d):\n    return c",
    ]


def test_recursive_takes_the_coarsest_separator_that_fits() -> None:
    text = "One two three four five six.\n\nFour five seven. Six seven eight nine ten eleven. Eleven.\n\nTwelve"
    assert texts(make("recursive").split(Source("a", text, "txt"))) == [
        "One two three four five six.",
        "Four five seven",
        ". Six seven eight nine ten eleven",
        ". Eleven.",
        "Twelve",
    ]


def test_recursive_separators_are_literal() -> None:
    found = make("recursive", 8, separators=["(a+)+$", "|"]).split(Source("a", "w " * 7 + "|" + "v " * 7, "txt"))
    assert texts(found) == ["w w w w w w w", "|v v v v v v v"]


def test_token_windows_overlap_by_tokens() -> None:
    text = " ".join(f"w{i}" for i in range(20))
    found = texts(make("token", 8, overlap_tokens=2).split(Source("a", text, "txt")))
    assert [t.split()[0] for t in found] == ["w0", "w6", "w12"]
    assert [len(t.split()) for t in found] == [8, 8, 8]


def test_markdown_keeps_sections_fences_and_tables_whole() -> None:
    text = (
        "# Guide\n\nIntro.\n\n## Install\n\nRun it:\n\n```\npip install x\n\n# done\n```\n\n"
        "## Use\n\nShort.\n\n## Limits\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    headings = tuple(
        Heading(text.index(mark), mark.count("#"), mark.strip("# \n"))
        for mark in ("# Guide", "## Install", "## Use", "## Limits")
    )
    found = texts(make("markdown", 24).split(Source("a.md", text, "md", headings=headings)))
    assert found == [
        "# Guide\n\nIntro.\n\n## Install\n\nRun it:\n\n```\npip install x\n\n# done\n```",
        "## Use\n\nShort.",
        "## Limits\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    ]


def test_markdown_cuts_a_long_fence_between_lines_and_finds_headings_itself() -> None:
    text = "# A\n\n```\n" + "".join(f"x = {i}\n" for i in range(8)) + "```\n\n# B\n\nWords."
    found = texts(make("markdown", 12).split(Source("a.md", text, "md")))
    assert all(line in {"# A", "```", "# B", "Words.", ""} or re.fullmatch(r"x = \d", line)
               for t in found for line in t.split("\n"))  # fmt: skip
    assert found[-1] == "# B\n\nWords."


def test_document_is_one_chunk_a_page_where_it_fits() -> None:
    text = "Page one.\n\nPage two is longer. It has more sentences. They fit.\n\nPage three."
    pages = (0, text.index("Page two"), text.index("Page three"))
    found = make("document").split(Source("a.pdf", text, "pdf", pages=pages))
    assert [(c.text, c.location.page) for c in found] == [
        ("Page one.", 1),
        ("Page two is longer.", 2),
        ("It has more sentences. They fit.", 2),
        ("Page three.", 3),
    ]


def test_semantic_breaks_where_the_vectors_change() -> None:
    def embed(pieces: list[str]) -> np.ndarray:
        return np.array([[1, 0] if "cat" in p else [0, 1] for p in pieces], np.float32)

    cats, cars = "The cat sleeps " + "a lot " * 20, "The car drives " + "on roads " * 20
    text = f"{cats}. {cats}. {cars}. {cars}."
    config = Split.model_validate({"kind": "semantic", "max_tokens": 200})
    found = make_splitter(config, LIMITS, embed).split(Source("a", text, "txt"))
    assert [("cat" in c.text, "car" in c.text) for c in found] == [(True, False), (False, True)]


def test_semantic_equals_an_exhaustive_search() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    similarity -= similarity[np.triu_indices(9, 1)].mean()
    np.fill_diagonal(similarity, 0)

    def worth(cuts: list[tuple[int, int]]) -> float:
        return sum(float(similarity[a : b + 1, a : b + 1].sum()) for a, b in cuts)

    best = -np.inf
    for mask in range(2**8):
        edges = [0, *(i + 1 for i in range(8) if mask >> i & 1), 9]
        cuts = [(a, b - 1) for a, b in pairwise(edges)]
        if all(b - a < 4 for a, b in cuts):
            best = max(best, worth(cuts))
    assert worth(segment(vectors, np.minimum(np.arange(9) + 3, 8))) == pytest.approx(best, abs=1e-5)


# --- limits and prefixes ---------------------------------------------------------------------------------------


def test_a_size_that_the_model_would_cut_names_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"max_tokens is 512 but five-words reads 254 tokens \(256 with its 2"):
        make("sentence", 512)


def test_counting_in_other_tokens_the_models_limit_still_holds() -> None:
    limits = TokenLimits(Words(), Letters(), 12)
    found = make("sentence", 500, limits).split(Source("a", "alpha beta gamma delta", "txt"))
    assert texts(found) == ["alpha beta", "gamma delta"]


def test_semantic_needs_an_embedder() -> None:
    with pytest.raises(ConfigError, match="semantic"):
        make("semantic")


def test_prefix_is_embedded_and_counted_but_not_in_the_span() -> None:
    source = markdown("# Guide\n\n## Install\n\nOne two three. Four five six.", title="Manual")
    limits = TokenLimits(Words(), Words(), 40)
    found = make("sentence", 8, limits, prepend="title+headings").split(source)
    assert found[-1].text == "Four five six."
    assert found[-1].prefix == "Manual: Guide > Install\n"
    assert found[-1].embedded_text == "Manual: Guide > Install\nFour five six."
    assert all(c.span.cut(source.text) == c.text for c in found)


def test_a_chunk_that_begins_with_a_heading_does_not_repeat_it() -> None:
    found = make("markdown", 8, prepend="headings").split(markdown("# A\n\nx y z u v w\n\n## B\n\nq r s t"))
    assert [(c.text[:4], c.prefix) for c in found] == [("# A\n", ""), ("## B", "A\n")]


def test_long_prefixes_keep_the_innermost_heading_and_cut_the_title() -> None:
    words = Words()

    def shorten(text: str, tokens: int) -> str:
        return " ".join(text.split()[:tokens])

    source = Source("a", "x", "md", title="t " * 50, headings=(Heading(0, 1, "outer " * 5), Heading(0, 2, "in ner")))
    outline = Outline(source, "title+headings", 8, words.count, shorten)
    inside = outline._prefix_of(1)
    assert words.count(inside) <= 8
    assert inside.startswith("t t")
    assert inside.endswith(": in ner\n")


def test_locations_are_the_sources_own() -> None:
    source = markdown("# A\n\n### B\n\nx\n\n## C\n\ny\n")
    outline = Outline(source, "none", 10, len, lambda text, n: text[:n])
    assert [outline.locate(i) for i in range(len(source.text))] == [source.locate(i) for i in range(len(source.text))]


# --- sentences -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Wu won. She left!", ["Dr. Wu won.", "She left!"]),
        ("你好。再见！好吗？是", ["你好。", "再见！", "好吗？", "是"]),
        ("これはペンです。それはマーカーです。", ["これはペンです。", "それはマーカーです。"]),
        ("1. The first item 2. The second item", ["1. The first item", "2. The second item"]),
        (
            "1. We met.\n2. We ate in room 3.\nThen, at last, to 3.",
            ["1. We met.", "2. We ate in room 3.", "Then, at last, to 3."],
        ),
        ("I live at number 2. The house is old.", ["I live at number 2.", "The house is old."]),
        ("# Title\nText here\nand on. More", ["# Title", "Text here\nand on.", "More"]),
        ("Buy:\n- milk\n- eggs. Six\n\nThen go", ["Buy:", "- milk", "- eggs.", "Six", "Then go"]),
        ("|a|b|\n|-|-|\n|1.|2|\nText", ["|a|b|", "|-|-|", "|1.|2|", "Text"]),
        ("It weighs approx. 30 kg. It costs max. 80 euros.", ["It weighs approx. 30 kg.", "It costs max. 80 euros."]),
        (
            "We meet at 9 a.m. on Mondays. Then Ann sings.",
            ["We meet at 9 a.m. on Mondays.", "Then Ann sings."],
        ),
        (
            "Es gilt für die Lieferung gem. Abs. 3 der Bedingungen. Und die Preise sind inkl. Steuer.",
            ["Es gilt für die Lieferung gem. Abs. 3 der Bedingungen.", "Und die Preise sind inkl. Steuer."],
        ),
        (
            "Die Übergabe ist am 10. Nov. um 8 Uhr und nicht am 5. Jänner. Es waren 10. Mars war zu sehen.",
            ["Die Übergabe ist am 10. Nov. um 8 Uhr und nicht am 5. Jänner.", "Es waren 10.", "Mars war zu sehen."],
        ),
        (
            "Le 3 janv. 2025 env. 30 pers. sont venues. Rome est née en 753 av. J.-C. et M. Roy est mort. Fin.",
            [
                "Le 3 janv. 2025 env. 30 pers. sont venues.",
                "Rome est née en 753 av. J.-C. et M. Roy est mort.",
                "Fin.",
            ],
        ),
        # behind a period a small letter begins no sentence, unless the text is written small
        ("The gross wt. per pallet is 30 kg. It is low.", ["The gross wt. per pallet is 30 kg.", "It is low."]),
        ("we met. then we ate. nobody sang.", ["we met.", "then we ate.", "nobody sang."]),
        ("To do. a. Wash the cups. b. Dry them.", ["To do.", "a. Wash the cups.", "b. Dry them."]),
        (
            "El n.º 3 lo firmó la Dra. Ruiz en el s. III a. C. de J. García. No es de vitamina D. Los otros no.",
            [
                "El n.º 3 lo firmó la Dra. Ruiz en el s. III a. C. de J. García.",
                "No es de vitamina D.",
                "Los otros no.",
            ],
        ),
        (
            "De prijs is niet ca. 30 euro en het adres is Kerkstr. 5. Dhr. Bos en mevr. de Vries zijn het eens.",
            ["De prijs is niet ca. 30 euro en het adres is Kerkstr. 5.", "Dhr. Bos en mevr. de Vries zijn het eens."],
        ),
        (
            "Ver a pág. 12 e o séc. III que não é da Av. Liberdade. Os outros não.",
            ["Ver a pág. 12 e o séc. III que não é da Av. Liberdade.", "Os outros não."],
        ),
        (
            "Umowa z 2020 r. jest na ul. Długa 5 zgodnie z art. 3 ust. 2 i nie ma zmian. Nie jest to do nas.",
            ["Umowa z 2020 r. jest na ul. Długa 5 zgodnie z art. 3 ust. 2 i nie ma zmian.", "Nie jest to do nas."],
        ),
        (
            "A 2020. évi törvény és az 5. cikk nem egy. Ez az ára kb. 30 Ft.",
            ["A 2020. évi törvény és az 5. cikk nem egy.", "Ez az ára kb. 30 Ft."],
        ),
        ("Ours is max.\n80 is theirs.", ["Ours is max.", "80 is theirs."]),
        ("Are dogs allowed? 🐶\nYes, they are.", ["Are dogs allowed? 🐶", "Yes, they are."]),
        (
            "host: db1\nport: 5433\n **On call:** Ann B.\n- owner: Lena",
            ["host: db1", "port: 5433", "**On call:** Ann B.", "- owner: Lena"],
        ),
        ("He said: go.\nAnd so\nthey did: they went", ["He said: go.", "And so\nthey did: they went"]),
        ("At 10:30 we\ndo this. It: that", ["At 10:30 we\ndo this.", "It: that"]),
        (
            "---\ntitle: A plan\nauthor: Ann\n---\nIt is so.",
            ["---", "title: A plan", "author: Ann", "---", "It is so."],
        ),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [s.cut(text) for s in sentence_spans(text)] == sentences


def test_sentences_longer_than_the_librarys_window() -> None:
    text = ("word " * 3000 + "end. ") * 4
    assert len(sentence_spans(text)) == 4


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on the mat and it was happy with that.", "en"),
        ("Der Hund ist nicht in dem Haus, und die Katze auch nicht.", "de"),
        ("Il cane è nella casa e non si muove per la paura.", "it"),
        ("Сегодня хорошая погода", "ru"),
        ("今天天气很好", "zh"),
        ("今日は天気がいい", "ja"),
        ("", "en"),
    ],
)
def test_guess_language(text: str, language: str) -> None:
    assert guess_language(text) == language


# --- LangChain and imports -------------------------------------------------------------------------------------


def test_langchain_start_index_is_exact_where_text_repeats() -> None:
    documents = pytest.importorskip("langchain_core.documents")
    text = "Same words here. " * 30 + "Other words."
    adapter = as_text_splitter(make("sentence", 9, overlap_tokens=4))
    found = adapter.split_documents([documents.Document(page_content=text, metadata={"source": "a.txt"})])
    assert len(found) > 10
    starts = [d.metadata["start_index"] for d in found]
    assert starts == sorted(set(starts))
    assert all(text[s : s + len(d.page_content)] == d.page_content for s, d in zip(starts, found, strict=True))
    assert {d.metadata["source"] for d in found} == {"a.txt"}
    assert adapter.split_text(text) == [d.page_content for d in found]


def test_importing_the_room_is_light() -> None:
    heavy = ["langchain_text_splitters", "langchain_core", "sentencex", "tiktoken", "tokenizers", "torch"]
    code = f"import sys, rag.split; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
