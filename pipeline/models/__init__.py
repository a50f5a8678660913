"""Models: what they are (spec), how pixels reach them (preprocess), what runs them (session), what they answer.

A model is a folder with `model.onnx`, `spec.json` and `LICENSE`. The spec is the contract: pre- and post-processing
are shared numpy code keyed by it, so a back-end implements nothing but `Session.run`, and a picture embedded by
ONNX Runtime, TensorRT or ncnn lands in the same feature space. An embedder answers vectors (embedder); a detector
answers heads, which boxes and heads turn into objects (detector, detections): suppression stays out of the graph.

Recipe, a new model: export it (`export_efficientnet.py`; `funnelgate learn detector`), put the folder under
`weights/`, name it in the configuration; `open_embedder(name)` or `open_detector(name or path)` finds it. Or publish
it to the registry (`funnelgate release resource publish model NAME FOLDER`), which needs no commit and keeps versions.
Recipe, a new back-end: one class with `run`, beside `OrtSession`.
"""
