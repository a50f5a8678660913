"""Evaluation: labelled queries, canonical ranking, named metrics with intervals, and floors.

searcher.py   the protocol of what is judged    evalset.py            labelled queries, from CSV
catalog.py    the catalogue of record           ranking.py            from raw hits to a canonical list
metrics.py    hit@k, recall@k: pure numpy       stats.py, mcnemar.py  intervals, paired comparison
report.py     one run, measured                 result.py             what it found, as typed models
detection.py  boxes: AP50, main-object hit      average_precision.py  COCO's, by faster-coco-eval
categories.py accuracy of several voters        floors.py             PASS, FAIL or INCONCLUSIVE

To add a metric: a function in metrics.py over arrays, and one line in report.py. Labels point to product
groups of the catalogue of record, never to what the index holds: a lost product is a miss.
"""
