"""Networks: any matrix size, values in range, gradients everywhere, no checkerboard by design."""

import pytest
import torch

from cyclegan.model.networks import PatchDiscriminator, ResnetGenerator, UNetGenerator
from cyclegan.model.networks.layers import Grey

SMALL = (8, 16, 16, 16)


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (2, 1, 48, 80), (1, 1, 37, 51)])
@pytest.mark.parametrize(
    "make", [lambda: UNetGenerator(SMALL), lambda: ResnetGenerator(8, blocks=2)]
)
def test_generators_keep_the_shape_and_the_range(make, shape):
    output = make()(torch.rand(shape))
    assert output.shape == shape
    assert 0 <= output.min() <= output.max() <= 1


def test_every_weight_of_the_unet_is_used():
    network = UNetGenerator(SMALL, style=4, error=True)
    for parameter in network.parameters():  # residual branches start at zero: move them off it
        torch.nn.init.normal_(parameter, std=0.1)
    images = torch.rand(1, 1, 32, 32)
    answer, log_error = network(images, network.style_encoder(images), error=True)
    (answer.square().sum() + log_error.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("logit", [-25.0, 25.0])
def test_a_generator_that_answers_black_or_white_everywhere_learns_out_of_it(logit):
    torch.manual_seed(0)
    network = UNetGenerator(SMALL)
    torch.nn.init.constant_(network.head.bias, logit)
    images = torch.rand(2, 1, 32, 32)
    # Of large steps for the last layer alone: those of a training take minutes.
    optimizer = torch.optim.Adam(network.head.parameters(), lr=0.3, betas=(0.5, 0.999))
    errors = []
    for _ in range(60):
        error = (network(images) - images).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.6 * errors[0]


def test_black_that_should_be_black_is_left_alone():
    logits = torch.tensor([-25.0, -25.0, 0.0, 25.0], requires_grad=True)
    torch.testing.assert_close(Grey.apply(logits), torch.sigmoid(logits))
    Grey.apply(logits).backward(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    pushed = torch.sigmoid(torch.tensor(-25.0)).item()
    expected = torch.tensor([pushed, -1e-4, 0.25, 1e-4])
    torch.testing.assert_close(logits.grad, expected)


def test_shipped_generators_fit_ten_megabytes_in_half_precision():
    parameters = sum(p.numel() for p in UNetGenerator(style=12, error=True).parameters())
    assert 2 * 2 * parameters < 10_000_000  # two networks, two bytes


def test_resnet_reference_is_the_paper_s():
    # Zhu et al. 2017, appendix 7.2: about 11.4 million weights with nine blocks.
    assert 11.0e6 < sum(p.numel() for p in ResnetGenerator().parameters()) < 11.6e6


def test_discriminator_scores_patches_and_knows_the_source():
    discriminator = PatchDiscriminator(8, sources=3)
    image = torch.rand(2, 1, 64, 64)
    torch.nn.init.normal_(discriminator.embedding.weight)
    discriminator.eval()
    first = discriminator(image, torch.tensor([0, 0]))
    second = discriminator(image, torch.tensor([1, 2]))
    assert first.shape[:2] == (2, 1)
    assert first.shape[-1] > 4
    assert not torch.allclose(first, second)
