"""Training: one loop for every objective (pretrain, sft, and whatever else answers a sum and a count).

Not the data (`tokenloom.data`), not the evaluations (they come as arguments), not the model.
"""
