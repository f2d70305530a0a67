"""Pictures and recordings in the folder: synced like documents, searched in spaces of their own."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes_embed import open_rag
from fakes_media import drawn, encoded, hummed, recorded, tiny_clip, tiny_speech, tiny_wav2vec2
from hypothesis import given
from hypothesis import strategies as st
from older import make_older
from PIL import Image

from rag.build import Rag
from rag.config import Load
from rag.errors import ConfigError, DocumentError, IndexMismatch, ModelMismatch, QueryError
from rag.load.media import Medium, Pictures, Sounds, Wanted, get_arrays, put_arrays
from rag.load.worker import LoaderPool
from rag.retrieve import fuse_spaces
from rag.types import Location, Passage, Source, Span, SyncReport, clock


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
def folder(docs: Path) -> Path:
    """Three pictures, two recordings and a text."""
    for seed in range(3):
        (docs / f"drawn{seed}.png").write_bytes(encoded(drawn(seed)))
    for seed in range(2):
        (docs / f"tune{seed}.wav").write_bytes(recorded(hummed(3, 16_000, seed), 16_000))
    (docs / "notes.md").write_text("# Notes\n\nThe river flows north.\n", "utf-8")
    return docs


@pytest.fixture
def rag(tmp_path: Path, docs: Path) -> Iterator[Rag]:
    with open_rag(docs, tmp_path / "index") as made:
        yield made


def sources(passages: list[Passage]) -> list[str]:
    return [p.source for p in passages]


def report_of(report: SyncReport) -> dict[str, tuple[str, int, int, int]]:
    return {f.path: (f.outcome.value, f.chunks, f.pictures, f.windows) for f in report.files}


# ---- the folder ------------------------------------------------------------------------------------------------------


def test_pictures_and_recordings_are_synced_like_documents(rag: Rag, folder: Path) -> None:
    report = rag.sync()
    assert report_of(report) == {
        "drawn0.png": ("indexed", 0, 1, 0),
        "drawn1.png": ("indexed", 0, 1, 0),
        "drawn2.png": ("indexed", 0, 1, 0),
        "notes.md": ("indexed", 1, 0, 0),
        "tune0.wav": ("indexed", 0, 0, 1),
        "tune1.wav": ("indexed", 0, 0, 1),
    }
    assert report.embedded == 6
    assert rag.sync().embedded == 0
    (folder / "drawn0.png").rename(folder / "moved.png")  # keeps its vector
    (folder / "tune1.wav").unlink()
    (folder / "copy.png").write_bytes(encoded(drawn(1), "BMP"))  # the same pixels in other bytes
    report = rag.sync()
    assert (report.num_moved, report.num_deleted, report.embedded) == (1, 1, 0)
    [first] = rag.search(image=folder / "drawn1.png", k=1)
    assert (first.source, first.also_in) == ("drawn1.png", ("copy.png",))
    assert sources(rag.search(audio=folder / "tune0.wav")) == ["tune0.wav"]
    assert {f.path: f.pictures for f in rag.files()}["moved.png"] == 1
    assert (rag.status()["pictures"], rag.status()["windows"]) == (4, 1)


def test_what_is_deleted_is_not_found_and_its_vector_goes(rag: Rag, folder: Path, tmp_path: Path) -> None:
    rag.sync()
    (folder / "drawn1.png").unlink()
    rag.sync()
    assert "drawn1.png" not in sources(rag.search(image=folder / "drawn0.png", k=10))
    rag.compact()
    database = sqlite3.connect(tmp_path / "index" / "catalog.sqlite3")
    assert database.execute("SELECT count(*) FROM media WHERE space = 'images'").fetchone() == (2,)
    assert database.execute("SELECT count(*) FROM vectors").fetchone() == (5,)
    database.close()
    assert [check for check in rag.doctor().checks if not check.ok] == []


def test_bad_files_each_say_what_they_are_and_the_rest_goes_on(rag: Rag, folder: Path) -> None:
    bad = {
        "text.png": (b"no picture at all", "failed", "is no picture that can be read"),
        "cut.png": (encoded(drawn(5))[:400], "failed", "the picture is damaged"),
        "empty.jpg": (b"", "empty", "the file is empty"),
        "text.wav": (b"no recording", "failed", "is no recording that can be read"),
        "none.wav": (recorded(np.zeros(0, np.float32), 16_000), "empty", "holds no sound"),
        "silent.wav": (recorded(np.zeros(16_000, np.float32), 16_000), "empty", "nothing but silence"),
        "slow.wav": (recorded(hummed(1, 8000), 10), "failed", "its header claims 10 Hz"),
    }
    for name, (data, _, _) in bad.items():
        (folder / name).write_bytes(data)
    for _ in range(2):
        report = rag.sync()
        told = {f.path: (f.outcome.value, f.reason or "") for f in report.files}
        for name, (_, outcome, words) in bad.items():
            assert told[name][0] == outcome, name
            assert words in told[name][1]
        assert len(rag.search(image=folder / "drawn0.png", k=10)) == 3
    assert report.embedded == 0


def test_switched_off_they_are_passed_over_and_their_vectors_go(tmp_path: Path, folder: Path) -> None:
    with open_rag(folder, tmp_path / "index") as rag:
        rag.sync()
    off = {"images__kind": "none", "audio__kind": "none"}
    with open_rag(folder, tmp_path / "index", **off) as rag:
        report = rag.sync()
        assert {f.path: f.outcome.value for f in report.files}["drawn0.png"] == "unsupported"
        assert rag.status()["pictures"] == 0
        with pytest.raises(ConfigError, match=r"images\.kind is none"):
            rag.search(image=folder / "drawn0.png")
    with open_rag(folder, tmp_path / "index") as rag:
        assert rag.sync().num_added == 5
        assert rag.search(image=folder / "drawn0.png", k=1)[0].source == "drawn0.png"


def test_an_index_from_before_pictures_gains_them(tmp_path: Path, folder: Path) -> None:
    with open_rag(folder, tmp_path / "index", images__kind="none", audio__kind="none") as rag:
        rag.sync()
    make_older(tmp_path / "index" / "catalog.sqlite3", 2)
    with open_rag(folder, tmp_path / "index") as rag:
        report = rag.sync()
        assert (report.num_added, report.num_skipped, report.embedded) == (5, 1, 5)


def test_a_stopped_sync_embeds_no_picture_twice(tmp_path: Path, folder: Path) -> None:
    for seed in range(10, 90):
        (folder / f"more{seed}.png").write_bytes(encoded(drawn(seed).resize((64, 48))))
    with open_rag(folder, tmp_path / "index") as rag:
        embed, calls = rag.image_embedder.vectors, []

        def vectors(items: Any) -> Any:
            calls.append(len(items))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return embed(items)

        rag.image_embedder.vectors = vectors  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            rag.sync()
        report = rag.sync()
        assert calls == [64, 19, 19]
        assert report.ok
        assert rag.status()["pictures"] == 83


def test_damage_to_a_space_is_noticed_searched_around_and_mended(rag: Rag, folder: Path, tmp_path: Path) -> None:
    rag.sync()
    want = [(p.source, round(p.score, 5)) for p in rag.search(image=folder / "drawn2.png")]
    rag.close()
    [generation] = [p for p in (tmp_path / "index" / "generations").iterdir() if (p / "chroma-images").is_dir()]
    shutil.rmtree(generation / "chroma-images")
    with open_rag(folder, tmp_path / "index") as other:
        bad = [check.name for check in other.doctor().checks if not check.ok]
        assert "images" in bad
        got = [(p.source, round(p.score, 5)) for p in other.search(image=folder / "drawn2.png")]
        assert got == want
        assert other.sync().embedded == 0
        assert [check for check in other.doctor().checks if not check.ok] == []


def test_export_and_import_carry_every_space(rag: Rag, folder: Path, tmp_path: Path) -> None:
    (folder / "talk.srt").write_text("1\n00:02:13,000 --> 00:02:15,000\nThe bridge is made of stone.\n", "utf-8")
    rag.sync()
    want = rag.search(image=folder / "drawn1.png") + rag.search(audio=folder / "tune1.wav")
    rag.export(tmp_path / "index.tar.zst")
    with open_rag(folder, tmp_path / "other") as other:
        other.import_index(tmp_path / "index.tar.zst")
        assert other.search(image=folder / "drawn1.png") + other.search(audio=folder / "tune1.wav") == want
        assert other.search("bridge of stone", k=1)[0].label == "talk.srt, at 02:13"
        assert other.source("talk.srt").times
        assert other.sync().embedded == 0
        assert [check for check in other.doctor().checks if not check.ok] == []


# ---- inside documents ------------------------------------------------------------------------------------------------


def printed(path: Path, pictures: list[Image.Image]) -> None:
    """A PDF of one page for each picture, with a line of text above it."""
    import pypdfium2 as pdfium
    import pypdfium2.raw as pdfium_c

    document = pdfium.PdfDocument.new()
    for number, picture in enumerate(pictures, 1):
        page = document.new_page(600, 800)
        image = pdfium.PdfImage.new(document)
        image.set_bitmap(pdfium.PdfBitmap.from_pil(picture))
        image.set_matrix(pdfium.PdfMatrix().scale(*picture.size).translate(40, 100))
        page.insert_obj(image)
        text = pdfium_c.FPDFPageObj_NewTextObj(document, b"Helvetica", 14)
        words = (f"Section {number} tells of picture {number}." + "\0").encode("utf-16-le")
        pdfium_c.FPDFText_SetText(text, pdfium_c.cast(words, pdfium_c.FPDF_WIDESTRING))
        pdfium_c.FPDFPageObj_Transform(text, 1, 0, 0, 1, 40, 700)
        pdfium_c.FPDFPage_InsertObject(page, text)
        page.gen_content()
    document.save(str(path))


def test_pictures_in_a_pdf_are_found_with_their_page(rag: Rag, docs: Path, tmp_path: Path) -> None:
    logo = drawn(50)
    printed(docs / "report.pdf", [drawn(1), logo, drawn(2), logo])
    report = rag.sync()
    assert report_of(report)["report.pdf"][2:] == (3, 0)  # the logo counts once
    drawn(2).resize((300, 200)).save(tmp_path / "like.jpg")
    first = rag.search(image=tmp_path / "like.jpg", k=1)[0]
    assert (first.label, first.kind, first.space, first.text) == ("report.pdf, page 3", "pdf", "images", "")
    assert sources(rag.search(image=tmp_path / "like.jpg", filter="page=2", k=3)) == ["report.pdf"]
    assert rag.search(image=tmp_path / "like.jpg", filter="type=image") == []


def test_pictures_in_a_word_document_are_found_where_they_stand(rag: Rag, docs: Path, tmp_path: Path) -> None:
    import docx

    document = docx.Document()
    for number in range(3):
        document.add_heading(f"Part {number}")
        document.add_paragraph(f"Some words of part {number}, in m").add_run("2").font.superscript = True
        document.add_picture(io.BytesIO(encoded(drawn(number))))
    document.add_picture(io.BytesIO(encoded(Image.new("RGB", (20, 20)))))  # an icon
    document.save(str(docs / "with.docx"))
    assert report_of(rag.sync())["with.docx"][2:] == (3, 0)
    drawn(1).save(tmp_path / "like.png")
    first = rag.search(image=tmp_path / "like.png", k=1)[0]
    assert first.location.headings == ("Part 1",)
    assert first.label == "with.docx:7 (Part 1)"


def test_no_more_pictures_of_a_document_than_wanted(tmp_path: Path, docs: Path) -> None:
    printed(docs / "report.pdf", [drawn(seed) for seed in range(4)])
    with open_rag(docs, tmp_path / "index", images__inside=2) as rag:
        report = rag.sync()
        assert report_of(report)["report.pdf"][2] == 2
        assert "pictures after the first 2 left out" in rag.status()["warnings"]["report.pdf"][0]
    with open_rag(docs, tmp_path / "index", images__inside=0) as rag:
        assert report_of(rag.sync())["report.pdf"][2] == 0  # read again, for that setting is part of its key


# ---- searching -------------------------------------------------------------------------------------------------------


def test_one_search_over_three_spaces(rag: Rag, folder: Path) -> None:
    rag.sync()
    found = rag.search("Where does the river flow?", image=folder / "drawn1.png", audio=folder / "tune0.wav", k=3)
    assert [(p.source, p.space) for p in found] == [
        ("notes.md", "text"), ("drawn1.png", "images"), ("tune0.wav", "audio"),
    ]  # fmt: skip
    assert [p.number for p in found] == [1, 2, 3]
    assert len({p.score for p in found}) == 1  # each is first in its space; their cosines don't meet
    assert [p.stages[-1].stage for p in found] == ["spaces"] * 3


def test_a_recording_is_one_hit_with_its_nearest_window(tmp_path: Path, docs: Path) -> None:
    long = np.concatenate([hummed(4, 16_000, seed) for seed in range(6)])
    (docs / "talk.wav").write_bytes(recorded(long, 16_000))
    (docs / "other.wav").write_bytes(recorded(hummed(4, 16_000, 77), 16_000))
    (tmp_path / "clip.flac").write_bytes(recorded(hummed(4, 16_000, 3), 16_000, "FLAC"))
    with open_rag(docs, tmp_path / "index", audio__window_s=4, audio__overlap_s=0) as rag:
        assert report_of(rag.sync())["talk.wav"][3] == 6
        found = rag.search(audio=tmp_path / "clip.flac", k=5)
        assert sources(found) == ["talk.wav", "other.wav"]
        assert found[0].label == "talk.wav, at 00:12"
        assert found[0].score > 0.99
        assert [path for path, _ in rag.similar(tmp_path / "clip.flac")] == ["talk.wav", "other.wav"]
        assert [path for path, _ in rag.similar("talk.wav")] == ["other.wav"]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({}, "nothing to search by"),
        ({"question": "x", "within": ["images"]}, "can't be found by words"),
        ({"question": "x", "within": ["audio"]}, "recordings can't be found by words"),
        ({"question": "x", "within": ["smells"]}, "no space 'smells'"),
        ({"image": "drawn1.png", "within": ["audio"]}, "can't be searched by in audio"),
        ({"image": "notes.md"}, "not a picture by its name"),
        ({"audio": "drawn1.png"}, "not a recording by its name"),
    ],
)
def test_queries_that_mean_nothing_say_so(rag: Rag, folder: Path, search: dict[str, Any], words: str) -> None:
    rag.sync()
    given_ = {k: folder / v if k in ("image", "audio") else v for k, v in search.items()}
    with pytest.raises(QueryError, match=words):
        rag.search(**({"within": ["text"]} if not given_ else {}), **given_)
    with pytest.raises(DocumentError, match="no such file"):
        rag.search(image=folder / "gone.png")


def test_words_find_pictures_with_clip_and_settings_that_differ_are_refused(tmp_path: Path, folder: Path) -> None:
    with open_rag(folder, tmp_path / "index") as rag:
        rag.sync()
    clip = {"images__kind": "clip", "images__model": str(tiny_clip(tmp_path / "clip"))}
    with open_rag(folder, tmp_path / "index", **clip) as rag:
        with pytest.raises(IndexMismatch, match="other images vectors"):
            rag.search("a red ball", within=["images"])
        with pytest.raises(IndexMismatch, match="other images vectors"):
            rag.sync()
        assert rag.sync(reindex=True).embedded == 3  # the texts' and recordings' vectors are kept
        vectors = rag.image_embedder.text_vectors(["a red ball"])
        pictures = rag.image_embedder.vectors([folder / f"drawn{n}.png" for n in range(3)])
        order = [f"drawn{n}.png" for n in np.argsort(-(pictures @ vectors[0]))]
        assert sources(rag.search("a red ball", within=["images"])) == order
        both = rag.search("a red ball", within=["text", "images"], k=4)
        assert {p.space for p in both} == {"text", "images"}


def test_wav2vec2_hears_the_folder(tmp_path: Path, folder: Path) -> None:
    model = {"audio__kind": "wav2vec2", "audio__model": str(tiny_wav2vec2(tmp_path / "heard"))}
    with open_rag(folder, tmp_path / "index", **model) as rag:
        assert rag.sync().ok
        assert sources(rag.search(audio=folder / "tune1.wav", k=1)) == ["tune1.wav"]


def test_what_is_said_is_cited_with_its_time(tmp_path: Path, folder: Path) -> None:
    model = tiny_speech(tmp_path / "speech")
    speech = {"audio__transcribe": str(model)}
    (folder / "tune1.wav").unlink()
    (folder / "tune0.wav").write_bytes(recorded(hummed(45, 16_000, 5), 16_000))
    with open_rag(folder, tmp_path / "index", **speech) as rag:
        report = rag.sync()
        assert report_of(report)["tune0.wav"][1] > 1  # chunks of its text
        assert report_of(report)["tune0.wav"][3] == 3  # and windows of its sound
        source = rag.source("tune0.wav")
        times = [cue.seconds for cue in source.times]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] < 45
        told = rag.transcriber._pipeline(
            {"raw": hummed(45, 16_000, 5), "sampling_rate": 16_000},
            return_timestamps="word", chunk_length_s=20, stride_length_s=2,
        )  # fmt: skip
        heard = " ".join(part["text"] for part in told["chunks"]).split()
        assert source.text.split() == heard
        [first] = rag.search(source.text.split("\n")[-1], filter="path=tune0.wav", k=1)
        seconds = source.seconds_at(first.span.start)
        assert first.label == f"tune0.wav, at {clock(seconds or 0)}"
        assert rag.search(audio=folder / "tune0.wav", k=1)[0].space == "audio"
        assert rag.sync().embedded == 0
    with open_rag(folder, tmp_path / "index", audio__kind="none", **speech) as rag:  # its words alone
        rag.sync()
        assert rag.source("tune0.wav").text
        assert rag.status()["windows"] == 0


def test_a_model_that_is_no_speech_model_is_refused(tmp_path: Path, folder: Path) -> None:
    clip = tiny_clip(tmp_path / "clip")
    with (
        open_rag(folder, tmp_path / "index", audio__transcribe=str(clip)) as rag,
        pytest.raises(ModelMismatch, match=r"type 'clip', audio\.transcribe wants a speech model"),
    ):
        rag.sync()


def passage(name: str, space: Any = "text") -> Passage:
    return Passage(1, name, name, "md", Span(0, 0), "", Location(None, 1), 0.5, space=space)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6), max_size=3), st.integers(1, 8))
def test_fused_spaces_keep_each_ranking_and_repeat_nothing(rankings: list[list[str]], k: int) -> None:
    named = [[passage(f"{space}{name}") for name in names] for space, names in enumerate(rankings)]
    fused = fuse_spaces(named, k)
    ids = [p.chunk_id for p in fused]
    assert len(ids) == len(set(ids)) == min(k, sum(map(len, named)))
    for ranking in named:  # within a space the order stays
        assert [i for i in ids if i in {p.chunk_id for p in ranking}] == [
            p.chunk_id for p in ranking if p.chunk_id in ids
        ]


# ---- from the worker -------------------------------------------------------------------------------------------------


def test_arrays_come_back_as_they_went(tmp_path: Path) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    samples = np.linspace(-1, 1, 777, dtype=np.float32)
    media = [
        Medium("images", pixels, Location(3, 4, ("A",)), 17),
        Medium("audio", samples, Location(None, 0)),
        Medium("images", pixels[:1], Location(None, 2), 5),
    ]
    rows = put_arrays(media, tmp_path / "arrays")
    back = get_arrays(rows, tmp_path / "arrays")
    assert [(m.space, m.location, m.start) for m in back] == [(m.space, m.location, m.start) for m in media]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(media, back, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        {"space": "text"}, {"shape": [4, 5]}, {"shape": [4, 5, 4]}, {"shape": [4000, 5, 3]}, {"shape": [0, 5, 3]},
        {"shape": [-4, -5, 3]}, {"at": -1}, {"at": 1 << 40}, {"shape": None}, {"page": "x"}, {"start": None},
    ],
)  # fmt: skip
def test_a_captured_worker_cant_make_its_caller_read_elsewhere(tmp_path: Path, change: dict[str, Any]) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    rows = put_arrays([Medium("images", pixels, Location(None, 0))], tmp_path / "arrays")
    with pytest.raises((ValueError, TypeError, KeyError)):
        get_arrays([{**rows[0], **change}], tmp_path / "arrays")


def test_decoding_happens_in_the_worker_and_leaves_no_file(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("rag.media.picture.read_picture", lambda *_: pytest.fail("decoded in this process"))
    (docs / "a.png").write_bytes(encoded(drawn(0)))
    (docs / "t.wav").write_bytes(recorded(hummed(1, 16_000), 16_000))
    wanted = Wanted(Pictures(100, 256, 0), Sounds(8000, 180))
    with LoaderPool(Load(workers=1), media=wanted) as pool:
        loaded = dict(pool.load_many((p, p.name) for p in sorted(docs.iterdir())))
        held = list(tmp_path.glob("rag-load-*/*"))
    picture, tune = loaded["a.png"], loaded["t.wav"]
    assert isinstance(picture, Source)
    assert isinstance(tune, Source)
    assert np.array_equal(picture.media[0].data, np.asarray(drawn(0)))  # the mapping outlives the file
    assert picture.metadata == {"format": "png", "width": drawn(0).width, "height": drawn(0).height}
    assert tune.media[0].data.shape == (8000,)
    assert held == []
    assert list(tmp_path.glob("rag-load-*")) == []
