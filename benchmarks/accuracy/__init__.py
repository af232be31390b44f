"""How good the forecasts are on known sets, each figure beside its target and the naive: `make bench-accuracy`."""
