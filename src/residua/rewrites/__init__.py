"""Views: a network rewritten to run faster or in less memory, its results the same.

Networks stay as the papers write them. A view is made of one by replacing modules in copies of the
containers around them, so that the network, its names and its state dict never change.
"""
