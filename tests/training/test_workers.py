from __future__ import annotations

import pytest

from tests.training.pairs import new_simclr, new_trainer, pair_source, states_equal
from textcl.methods.simclr import SimCLR
from textcl.views.cropping import InverseCloze


class Recording(SimCLR):
    """Keeps the token ids of every chunk that it embeds."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.seen = []

    def embed(self, tokens):
        self.seen.append((tokens.ids.tolist(), tokens.offsets.tolist()))
        return super().embed(tokens)


# PyTorch advises against more workers than cores; that the batches stay the same is the point here.
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning")
def test_inverse_cloze_through_the_whole_loop_is_equal_with_no_and_with_four_workers(
    tiny_model_folder, tiny_corpus, tmp_path
):
    texts = [f"{one} {other}" for one, other in zip(tiny_corpus[:13], tiny_corpus[13:26], strict=True)]

    def run(workers, seed=0):
        method = new_simclr(tiny_model_folder, projector=True, kind=Recording)
        source = pair_source(method.encoder, texts, seed=seed, pair=InverseCloze())
        out = tmp_path / f"{workers}-{seed}"
        trainer = new_trainer(method, source, out, steps=7, learning_rate=1e-3, workers=workers, seed=seed)
        trainer.train()  # 7 batches of 4 of 13 pairs: into the third epoch
        return method

    alone, helped, other = run(0), run(4), run(0, seed=1)
    assert len(alone.seen) == 7
    assert helped.seen == alone.seen
    assert states_equal(helped.state_dict(), alone.state_dict())
    assert other.seen != alone.seen
    assert not states_equal(other.state_dict(), alone.state_dict())
