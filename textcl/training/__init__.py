"""The loop: batches in, a trained method out, with a journal and checkpoints that continue it bit for bit."""
