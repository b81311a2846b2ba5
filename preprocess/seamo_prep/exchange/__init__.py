"""Stores described in the forms that other tools read: Croissant, STAC-GeoParquet. Only what a store says is said."""
