"""What the methods add to cross-entropy: functions of tensors. They know no dataset, no options and no training loop.

Everything is per sample, (B,), unless said otherwise: means over the samples that have a mask or an annotation, and
weights, belong to the method. Sums over samples would make a weight depend on the batch size.
"""
