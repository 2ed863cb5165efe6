"""Predictions: models that are trained, judged, promoted, served, replaced."""
