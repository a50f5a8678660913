"""Evaluation: may this candidate be released? One file a stage: each takes the typed models of the one before, pure.

To add a metric: a function in metrics.py and a row in METRICS. A rule: gate_spec.py and judging.py. A searcher: one
file in searchers/.
contracts   catalog, evalset, answers, system, measured, gate_spec, verdict, case, result: typed models only
sets        building, set_*, validators, leakage, slices, crawl_list; labels point to the catalogue, not to the index
systems     searchers/ (index, service, run files), census, latency, unlabelled
measuring   truth, ranking, ties, metrics, losses, measure, run_report; trec/: trec_eval's measures
statistics  clusters, stats, student, tango, noninferiority, power, mcnemar; paired: tossed signs, for compare only
gate        gate_file, gate, judging*, gate_power, release_gate, rules/; is it any good: mutations, mutation_suite
outputs     outputs/, why_lost, history*, templates/; compare, comparing/: side by side; cli*, *_render: commands
vision      detection, average_precision, categories
"""
