"""The figures of the README: what is measured, beside what, on which machine."""
