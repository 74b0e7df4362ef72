"""Residua: deep residual networks for image classification, trained, tested and explained."""
