"""Which category an object belongs to: the detector's word and the vote of its nearest labelled neighbours, fused.

spec.py       the rules of the fusion, and what is known of a gallery     gallery.py   its rows: opened, sealed, written
decision.py   the vote, the fusion and the reason, pure                   fit.py       chooses the rules

Recipe, another voter: its probabilities as one more argument of `fuse`, its weight as one more of `FusionRules`
(chosen in fit.py), its word in `Decision` and in the reason. Recipe, a gallery of your own: `funnelgate learn
gallery`, then `tasks.categorise.settings.gallery` names its folder. Split so that the vote can be tested and fitted
without a file, a model or a picture.
"""
