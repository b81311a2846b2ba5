"""What happens after pretraining: embed imagery, export the encoder, other bands and sizes, diagnostics."""
