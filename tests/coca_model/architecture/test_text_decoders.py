import dataclasses

import pytest
import torch
from torch.testing import assert_close

from coca_model.architecture.config import TextConfig
from coca_model.architecture.text_decoders import MultimodalDecoder, UnimodalDecoder

CONFIG = TextConfig(32, 2, 2, heads=2, mlp_width=64, context_length=12, vocabulary_size=50)
ROWS = ([1, 7, 2], [1, 9, 9, 30, 4, 2], [1, 2], [1, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 2])
WORDS = [1, 5, 6, 7, 8, 2]


def padded(rows):
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return ids, ids != 0


@pytest.fixture(params=["paper", "open_clip"])
def config(request):
    return dataclasses.replace(CONFIG, layout=request.param)


@pytest.fixture
def unimodal(config):
    return UnimodalDecoder(config, embedding_width=16).double().eval()


@pytest.fixture
def multimodal(config, unimodal):
    return MultimodalDecoder(config, unimodal.token_embedding).double().eval()


@pytest.fixture
def open_clip():
    return UnimodalDecoder(dataclasses.replace(CONFIG, layout="open_clip"), embedding_width=16).double().eval()


@pytest.fixture
def paper():
    return UnimodalDecoder(CONFIG, embedding_width=16).double().eval()


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_padding_does_not_change_the_embedding_or_the_tokens_of_a_text(unimodal, row):
    embedding, tokens = unimodal(*padded(ROWS))
    alone_embedding, alone_tokens = unimodal(*padded([ROWS[row]]))
    assert_close(embedding[row], alone_embedding[0])
    assert_close(tokens[row, : len(ROWS[row])], alone_tokens[0])


@pytest.mark.parametrize("layout", ["paper", "open_clip"])
def test_token_ids_at_padding_positions_are_ignored(layout, request):
    """The layout of open_clip has one exception: it reads the first padding token."""
    tower, (ids, valid) = request.getfixturevalue(layout), padded(ROWS)
    first = torch.arange(12) == valid.sum(1, keepdim=True)
    rubbish = torch.where(valid | (first & (layout == "open_clip")), ids, 33)
    assert (rubbish != ids).any()
    assert torch.equal(tower(rubbish, valid)[0], tower(ids, valid)[0])


@pytest.mark.parametrize("changed", range(5))
def test_a_later_word_never_changes_an_earlier_token(unimodal, changed):
    ids, valid = padded([WORDS])
    other = ids.clone()
    other[0, changed] = 40
    _, before = unimodal(ids, valid)
    _, after = unimodal(other, valid)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert (before[:, changed:] != after[:, changed:]).any(-1).all()


@pytest.mark.parametrize("changed", range(6))
def test_cls_attends_to_every_word(unimodal, changed):
    ids, valid = padded([WORDS])
    other = ids.clone()
    other[0, changed] = 40
    assert not torch.allclose(unimodal(ids, valid)[0], unimodal(other, valid)[0], rtol=1e-6, atol=1e-6)


def test_no_word_attends_to_cls(unimodal):
    embedding, tokens = unimodal(*padded(ROWS))
    torch.nn.init.normal_(unimodal.cls)
    other_embedding, other_tokens = unimodal(*padded(ROWS))
    assert torch.equal(tokens, other_tokens)
    assert not torch.allclose(embedding, other_embedding)


def test_embedding_and_tokens_equal_causal_blocks_over_words_positions_and_cls(paper):
    row = ROWS[1]
    x = torch.cat([paper.token_embedding.weight[row] + paper.position[: len(row)], paper.cls[None]])[None]
    for block in paper.blocks:
        x = block(x, causal=True)
    embedding, tokens = paper(*padded([row]))
    assert_close(tokens, x[:, :-1])
    assert_close(embedding, paper.cls_norm(x[:, -1]) @ paper.project.weight.T)


def written_out_open_clip(tower, row):
    """Reference for open_clip: the whole context, CLS in the last position, and a mask that also lets CLS see the first padding."""
    ids = row + [0] * (12 - len(row))
    x = torch.cat([tower.token_embedding.weight[ids], tower.cls[None]])[None] + tower.position  # (1, 13, D)
    seen = [True] + [token != 0 for token in ids]
    allowed = torch.tensor([[[key <= query and seen[key] for key in range(13)] for query in range(13)]])
    for block in tower.blocks:
        x = block(x, mask=allowed[:, None])
    return tower.project(tower.cls_norm(x[:, -1])), x[:, : len(row)]


@pytest.mark.parametrize("row", [*ROWS, [1, 9, 0, 30, 4, 2]], ids=str)  # 0 is padding, and "!" inside a word
def test_open_clip_reads_a_text_as_if_padded_to_its_whole_context(open_clip, row):
    assert_close(open_clip(*padded([row])), written_out_open_clip(open_clip, row))


def test_open_clip_has_one_more_position_which_only_cls_uses(open_clip, paper):
    assert (open_clip.position.shape, paper.position.shape) == ((13, 32), (12, 32))
    embedding, tokens = open_clip(*padded(ROWS))
    torch.nn.init.normal_(open_clip.position[-1])
    other_embedding, other_tokens = open_clip(*padded(ROWS))
    assert torch.equal(tokens, other_tokens)
    assert (embedding != other_embedding).any(1).all()


def test_only_open_clip_depends_on_the_embedding_of_padding(open_clip, paper):
    for tower, matters in ((open_clip, True), (paper, False)):
        before = tower(*padded([WORDS]))[0]
        torch.nn.init.normal_(tower.token_embedding.weight[0])
        assert torch.equal(before, tower(*padded([WORDS]))[0]) is not matters


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_extending_a_text_token_by_token_gives_the_tokens_of_the_whole_text(unimodal, row):
    past, tokens = None, []
    for token in row:
        x, past = unimodal.extend(torch.tensor([[token]]), past)
        tokens.append(x)
    assert len(past) == 2
    assert past[0].shape == (2, 1, 2, len(row), 16)
    assert_close(torch.cat(tokens, dim=1), unimodal(*padded([row]))[1])


def test_extending_padded_texts_at_once_gives_the_tokens_of_the_whole_texts(unimodal):
    ids, valid = padded(ROWS)
    assert_close(unimodal.extend(ids)[0][valid], unimodal(ids, valid)[1][valid])


@pytest.mark.parametrize("with_image", [False, True])
@pytest.mark.parametrize("first", [1, 4])
def test_extending_predictions_token_by_token_gives_those_of_the_whole_text(multimodal, with_image, first):
    text_tokens, image = torch.randn(6, 7, 32).double(), torch.randn(2, 4, 32).double() if with_image else None
    read = None if image is None else multimodal.image_keys_values(image)
    x, past = multimodal.extend(text_tokens[:, :first], read)
    hidden = [x]
    for token in text_tokens[:, first:].split(1, dim=1):
        x, past = multimodal.extend(token, read, past)
        hidden.append(x)
    assert_close(torch.cat(hidden, dim=1), multimodal.hidden(text_tokens, image))


def test_with_a_past_more_than_one_token_is_refused(unimodal):
    _, past = unimodal.extend(torch.tensor([[1, 5]]))
    with pytest.raises(AssertionError, match="one at a time"):
        unimodal.extend(torch.tensor([[6, 7]]), past)


@pytest.mark.parametrize("sentences", [1, 3])
def test_consecutive_sentences_share_one_picture(multimodal, sentences):
    text_tokens, images = torch.randn(2 * sentences, 6, 32).double(), torch.randn(2, 4, 32).double()
    alone = [multimodal(text_tokens[i : i + 1], images[i // sentences][None]) for i in range(2 * sentences)]
    assert_close(multimodal(text_tokens, images), torch.cat(alone))


def test_logits_change_with_the_image(multimodal):
    text_tokens, images = torch.randn(1, 6, 32).double(), torch.randn(2, 4, 32).double()
    one, other = multimodal(text_tokens.expand(2, -1, -1), images)
    assert (one - other).abs().amin() > 0
    assert_close(multimodal(text_tokens, images[1:])[0], other)


def test_logits_without_an_image_do_not_depend_on_the_cross_attention(multimodal):
    text_tokens, image = torch.randn(2, 6, 32).double(), torch.randn(2, 4, 32).double()
    alone, seeing = multimodal(text_tokens, None), multimodal(text_tokens, image)
    for block in multimodal.blocks:
        torch.nn.init.normal_(block.cross_attention.key_value.weight)
    assert torch.equal(multimodal(text_tokens, None), alone)
    assert not torch.allclose(multimodal(text_tokens, image), seeing)


@pytest.mark.parametrize("with_image", [False, True])
def test_a_later_token_never_changes_an_earlier_prediction(multimodal, with_image):
    text_tokens, image = torch.randn(1, 6, 32).double(), torch.randn(1, 4, 32).double() if with_image else None
    other = text_tokens.clone()
    other[0, 3] += 1
    before, after = multimodal(text_tokens, image), multimodal(other, image)
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(-1).all()


def test_logits_are_the_hidden_states_through_the_output_weights(multimodal):
    text_tokens, image = torch.randn(2, 6, 32).double(), torch.randn(2, 4, 32).double()
    assert_close(multimodal(text_tokens, image), multimodal.hidden(text_tokens, image) @ multimodal.output.weight.T)


@pytest.mark.parametrize("tied", [True, False])
def test_output_shares_the_storage_of_the_word_embedding_only_when_tied(tied):
    config = dataclasses.replace(CONFIG, tied_output=tied)
    unimodal = UnimodalDecoder(config, embedding_width=16)
    multimodal = MultimodalDecoder(config, unimodal.token_embedding)
    assert (multimodal.output.weight.data_ptr() == unimodal.token_embedding.weight.data_ptr()) is tied
