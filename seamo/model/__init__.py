"""SeaMo, the model: tokenizers, masks, encoder, temporal-multimodal fusion, decoders."""
