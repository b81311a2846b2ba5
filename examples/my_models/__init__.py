"""An outside package with a backbone and a protocol: what docs/adding_a_backbone.md and adding_a_protocol.md show."""
