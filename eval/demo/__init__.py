"""The demo: one picture, any method, every decision, each of which may be changed by hand."""
