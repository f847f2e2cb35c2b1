"""The image pool: fills, swaps, keeps labels with images, resumes."""

import torch

from cyclegan.training.image_pool import ImagePool


def test_the_pool_fills_then_swaps_one_in_two_and_keeps_labels_with_images():
    pool, rng = ImagePool(4), torch.Generator().manual_seed(0)
    older = 0
    for k in range(40):
        image, label = torch.full((1, 1, 2, 2), float(k)), torch.tensor([k])
        shown, shown_label = pool.query(image, label, rng)
        assert (shown == shown_label[0]).all()
        assert (image == k).all()
        assert k >= 4 or shown_label[0] == k
        older += int(shown_label[0] != k)
    assert len(pool.images) == 4
    assert 8 < older < 28  # one half of 36


def test_the_pool_resumes_and_restarts_at_a_new_resolution():
    pool, rng = ImagePool(3), torch.Generator().manual_seed(0)
    pool.query(torch.rand(3, 1, 4, 4, generator=rng), torch.arange(3), rng)
    copy = ImagePool(3)
    copy.load_state_dict(pool.state_dict())
    assert torch.equal(torch.stack(copy.images), torch.stack(pool.images))
    shown, _ = pool.query(torch.zeros(1, 1, 8, 8), torch.tensor([0]), rng)
    assert shown.shape[-1] == 8
    assert len(pool.images) == 1
