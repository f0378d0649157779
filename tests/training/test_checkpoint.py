from __future__ import annotations

import json

import pytest
import torch

from tests.training.pairs import new_simclr, pair_source, states_equal
from textcl.errors import ArtifactError
from textcl.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint


def stepped(folder, texts, *, projector=False, rate=1e-2):
    """A method and its AdamW after one step, so that the optimizer has moments."""
    method = new_simclr(folder, dropout=0.0, projector=projector).train()
    optimizer = torch.optim.AdamW([one for one in method.parameters() if one.requires_grad], lr=rate)
    method(batch=pair_source(method.encoder, texts).draw(torch.arange(4).numpy(), 0)).loss.backward()
    optimizer.step()
    return method, optimizer


def parts(method, optimizer):
    return {"method": method, "optimizer": optimizer}


def moments(optimizer):
    return [state[name] for state in optimizer.state_dict()["state"].values() for name in ("exp_avg", "exp_avg_sq")]


def test_everything_comes_back_bit_for_bit(tiny_model_folder, tiny_corpus, tmp_path):
    method, optimizer = stepped(tiny_model_folder, tiny_corpus, projector=True)
    path = save_checkpoint(tmp_path, 7, parts(method, optimizer), {"evaluations": {"5": {"ndcg@10": 0.25}}})
    assert path == tmp_path / "step-7"
    other = new_simclr(tiny_model_folder, projector=True)
    other_optimizer = torch.optim.AdamW([one for one in other.parameters() if one.requires_grad], lr=1.0)
    assert not states_equal(other.state_dict(), method.state_dict())
    facts = load_checkpoint(path, parts(other, other_optimizer))
    assert (facts["step"], facts["evaluations"]) == (7, {"5": {"ndcg@10": 0.25}})
    assert states_equal(other.state_dict(), method.state_dict())
    assert len(moments(optimizer)) > 40
    assert all(torch.equal(*pair) for pair in zip(moments(other_optimizer), moments(optimizer), strict=True))


def test_the_newest_two_stay_in_the_order_of_their_steps(tiny_model_folder, tiny_corpus, tmp_path):
    method, optimizer = stepped(tiny_model_folder, tiny_corpus)
    (tmp_path / "best").mkdir()
    (tmp_path / "step-x").mkdir()
    for step in (8, 9, 10):
        save_checkpoint(tmp_path, step, parts(method, optimizer), {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-9", "step-10"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "step-10", "step-9", "step-x"]


def test_a_step_that_is_saved_again_takes_the_place_of_later_ones(tiny_model_folder, tiny_corpus, tmp_path):
    made = parts(*stepped(tiny_model_folder, tiny_corpus))
    for step in (8, 9, 8):
        save_checkpoint(tmp_path, step, made, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-8"]


def test_no_folder_has_no_checkpoints(tmp_path):
    assert checkpoints(tmp_path / "none") == []


def test_a_step_can_be_saved_again(tiny_model_folder, tiny_corpus, tmp_path):
    method, optimizer = stepped(tiny_model_folder, tiny_corpus)
    save_checkpoint(tmp_path, 3, parts(method, optimizer), {"evaluations": {}})
    path = save_checkpoint(tmp_path, 3, parts(method, optimizer), {"evaluations": {"3": {}}})
    assert load_checkpoint(path, parts(method, optimizer))["evaluations"] == {"3": {}}


def test_a_damaged_byte_is_noticed(tiny_model_folder, tiny_corpus, tmp_path):
    method, optimizer = stepped(tiny_model_folder, tiny_corpus)
    path = save_checkpoint(tmp_path, 3, parts(method, optimizer), {})
    state = bytearray((path / "state.pt").read_bytes())
    state[len(state) // 2] ^= 1
    (path / "state.pt").write_bytes(state)
    with pytest.raises(ArtifactError, match=r"state\.pt: is damaged"):
        load_checkpoint(path, parts(method, optimizer))


def test_the_state_of_another_method_is_refused(tiny_model_folder, tiny_corpus, tmp_path):
    path = save_checkpoint(tmp_path, 3, parts(*stepped(tiny_model_folder, tiny_corpus, projector=True)), {})
    with pytest.raises(ArtifactError, match=r"step-3: holds the state of another method.*its own recipe$"):
        load_checkpoint(path, parts(*stepped(tiny_model_folder, tiny_corpus)))


def test_a_later_format_is_refused(tiny_model_folder, tiny_corpus, tmp_path):
    method, optimizer = stepped(tiny_model_folder, tiny_corpus)
    path = save_checkpoint(tmp_path, 3, parts(method, optimizer), {})
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(ArtifactError, match=r"has format version 99"):
        load_checkpoint(path, parts(method, optimizer))
