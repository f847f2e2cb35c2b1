"""Which number format the networks run in."""

from __future__ import annotations

import torch


def multiplies_bfloat16(device: torch.device | str) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware, not by emulation.

    CPUs: AVX512-BF16 or AMX (Intel from Cooper Lake, AMD from Zen 4). GPUs: NVIDIA from Ampere.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # `torch.ops.mkldnn._is_mkldnn_bf16_supported` is true for emulation, too, which is slow.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public question exists
    return native is not None and bool(native())
