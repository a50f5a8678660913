"""TREC files measured as trec_eval measures them: its ties, its averages, its printed digits.

files.py      qrels and runs, gzipped too, into typed columns; every refusal names file:line
lists.py      columns joined and ranked: what was found for each query, at which rank, of which grade
binary.py     measures of relevant or not     graded.py   measures of gain (nDCG, G, RBP)
table.py      one row a measure               evaluate.py names asked for, values, averages, trec_eval's text

To add a measure: a function (Lists, parameter) -> one number a query, and one row in table.py. This folder knows
nothing of catalogues, groups or pictures: the gate ranks canonically instead (evaluation/ranking.py).

Where trec_eval's versions differ, version 10 is followed, except that scores are compared as float32, as versions up
to 9 and pytrec_eval do (version 10 compares doubles: it only differs for scores closer than 1e-7 of their size).
"""
