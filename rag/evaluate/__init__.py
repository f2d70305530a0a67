"""Measuring: judged questions, what came back for them, and whether a difference is more than noise.

    file ──formats──> Dataset(Judgement ...)     recognised by content: JSONL, SQuAD, BEIR, Chroma, CLAPNQ
                        │
    passages ──metrics──┤                        recall@k, nDCG@k, MRR@k ...; characters, as Chroma's report has them
    answers ──answers───┤                        EM, F1, citations against evidence
    confidence ──abstention──┤                   AUROC, risk against coverage, thresholds
                        └──> one value a question ──statistics──> interval, p-value, verdict

    run ──rows──> Row ... ──figures──> Report ──render──> table    markdown    page, cards, charts: HTML
                    ├──compare──> against an earlier one
                    └──calibrate──> a threshold

    spans.py        evidence against passages, character by character
    choose.py       the sample and the metrics, and what is refused before anything is asked
    recognise.py    which of the known forms a file or folder has
    records.py      JSON as typed fields; an error names file, line and field
    questions/      a test set made from a folder by rules, for a person to review
    folder.py       the documents that a public set brings, as a folder
    judgements.py   the nouns, the checks, plain JSONL both ways

    judge.py        a language model's opinion, where `evaluate.judge` asks for it
    nli.py          which statements a passage entails, where `evaluate.nli` names a model

Nothing else here asks a model, and nothing knows where answers come from.
"""
