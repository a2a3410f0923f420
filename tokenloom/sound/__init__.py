"""Sound outside the ids: scores and the files that carry them, speech, recordings.

`score` is the value that all music passes through; `midi`, `abc` and `musicxml` read and write it.
"""
