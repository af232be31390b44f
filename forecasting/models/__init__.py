"""The algorithms, one module each; `registry` names them all."""
