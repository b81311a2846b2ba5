"""The files of a saved model. No torch: whether a folder holds a model is seen without it."""

WEIGHTS, CARD = "model.safetensors", "card.json"
