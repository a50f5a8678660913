"""Systems side by side on the same questions: `funnelgate evaluate compare` and `compare-boxes`.

columns.py   what is compared: one value a question, metric and system     holm.py     p values of several tests
of_set.py    from runs on an evaluation set                                of_trec.py  from TREC runs and qrels
boxes.py     from detectors' boxes and categories                          box_files.py  reads those
render.py    tables        page.py, plot.py  one self-contained page       files.py    the three files of --out

The judging itself is evaluation/compare.py, pure. To compare something else: make `Columns` of it. A comparison decides
nothing: what may be released is asked of the gate, which has margins agreed before (noninferiority.py).
"""
