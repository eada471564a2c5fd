"""The parts of SCGS: which errors to work on, what of each is kept, and what is drawn around it.

Source: Li et al., "Focusing Image Generation to Mitigate Spurious Correlations".
The paper keeps what misled the model and has the true class drawn into the rest, so that the misleading attribute also
appears with the class that lacked it. Knows arrays and images; not models, losses or the training loop.
"""
