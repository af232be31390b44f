"""Pure forecasting, shared by the trainer and the predictor so that both compute the same numbers.

`panel` folds observation batches into the latest view of a series, `calendars` says when the next steps are,
`artefact` holds a model version (an ONNX graph and a JSON recipe, nothing executable), `serving` forecasts with it,
`training` makes one. Nothing here does I/O, reads a clock or logs. torch and scikit-learn are imported by the
modules that fit with them and by no other: the predictor and the gateway run without them.
"""
