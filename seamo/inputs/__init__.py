"""From stored pixels to what a network is fed: one engine for pretraining, embedding, prediction and the benchmark.

`spec` says what a network expects; `wiring` decides by name which band of which layer feeds which channel, with which
numbers, before a pixel is read; `adapter` does it; `explain` says it; `check` refuses what no network was trained on.
"""
