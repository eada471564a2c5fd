"""SCGS (Li et al. 2025), its parts: which errors to work on, what of each is kept, and what is drawn around it.

The paper keeps what misled the model and has the true class drawn into the rest, so that the misleading attribute also
appears with the class that lacked it. Knows arrays and images; not models, losses or the training loop.
"""
