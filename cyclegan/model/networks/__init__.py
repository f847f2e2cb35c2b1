"""The networks: a lean modified U-Net (the product), ResNet-9 (the yardstick), a PatchGAN.

Generators map (B, 1, H, W) in [0, 1] to (B, 1, H, W) in [0, 1] and are fully convolutional. Each
has a `style_encoder` and an `error_head`, None where it follows no style or predicts no error.
"""

from cyclegan.model.networks.discriminator import PatchDiscriminator
from cyclegan.model.networks.resnet import ResnetGenerator
from cyclegan.model.networks.unet import UNetGenerator

GENERATORS = {"unet": UNetGenerator, "resnet": ResnetGenerator}
__all__ = ["GENERATORS", "PatchDiscriminator", "ResnetGenerator", "UNetGenerator"]
