"""Training: a detector's head from scenes whose boxes are known, over a frozen backbone; a reference gallery.

config (what is asked)        sprites, backgrounds, scenes, voc (pictures with boxes)
features (frozen, cached)     targets, network, training (torch)       artifact (ONNX + spec, with a parity test)
examine (measured on scenes nobody trained on)                         report (a page to look at)

Split so that torch is imported by network and training alone, and everything random is a pure function of
(seed, number). Recipe, another kind of pictures with boxes: one module with `train` and `test` sets of `Scene`, and
its model in the discriminated union of config. Recipe, another head: `network.py`, with the three graph outputs.
"""
