"""The history of generated images that discriminators are shown."""

from __future__ import annotations

import torch


class ImagePool:
    """History of generated images (Shrivastava et al. 2017, section 2.3), as in Zhu et al. 2017.

    `query` returns, for each image, either itself or, with probability 1/2 once the pool is full,
    an older one whose place it takes. Labels (data sources) travel with their images.
    """

    def __init__(self, size: int = 50):
        self.size = size
        self.images: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []

    def query(
        self, images: torch.Tensor, labels: torch.Tensor, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Swap (B, 1, H, W) images and their (B,) labels with the history."""
        if self.images and self.images[0].shape != images.shape[1:]:  # the resolution has grown
            self.images, self.labels = [], []
        images, labels = images.detach().clone(), labels.clone()
        for k in range(len(images)):
            if len(self.images) < self.size:
                self.images.append(images[k].clone())
                self.labels.append(labels[k].clone())
            elif torch.rand(1, generator=rng).item() < 0.5:
                place = int(torch.randint(self.size, (1,), generator=rng))
                older = self.images[place], self.labels[place]
                self.images[place], self.labels[place] = images[k].clone(), labels[k].clone()
                images[k], labels[k] = older
        return images, labels

    def state_dict(self) -> dict[str, torch.Tensor]:
        if not self.images:
            return {}
        return {"images": torch.stack(self.images), "labels": torch.stack(self.labels)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.images, self.labels = list(state.get("images", [])), list(state.get("labels", []))
