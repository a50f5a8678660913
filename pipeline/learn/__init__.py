"""Training: a detector's head from scenes whose boxes are known, over a frozen backbone; a reference gallery.

config, cli (what is asked)   sprites, drawn_items, backgrounds, scenes, voc (pictures with boxes)
backbone, features (frozen, cached)   targets, network, losses, training (torch)   artifact (ONNX + spec, compared)
examine (measured on what nobody trained on)   report (a page to look at)   detector (all of it, in stages)
labels, gallery_samples, build_gallery, cli_gallery (the gallery)

Split so that torch is loaded by network, losses, training and artifact alone, and all that is random is a function of
(seed, number). Recipe, another kind of pictures with boxes: one module with `train` and `test` sets of `Scene`, and
its model in the discriminated union of config. Recipe, another head: `network.py`, with the three graph outputs.
"""
