"""An autoencoder without a distribution, for diffusers' Stable Diffusion pipelines."""

import torch
from diffusers import AutoencoderDC
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor


class DeterministicAutoencoder(AutoencoderDC):
    """``AutoencoderDC`` with the interface of ``AutoencoderKL``, which Stable Diffusion's pipelines expect.

    Latents and images are those of ``AutoencoderDC``. ``encode`` returns latents as a distribution without variance,
    whose sample and mode are equal.
    """

    def describe_as_kl(self, sample_size: int) -> None:
        """Add what pipelines read in the configuration of ``AutoencoderKL``.

        Args:
            sample_size: Side of the noise predictor's latents.
        """
        widths = self.config["encoder_block_out_channels"]
        self.register_to_config(block_out_channels=widths, sample_size=sample_size * 2 ** (len(widths) - 1))

    @apply_forward_hook
    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """Encode images in [-1, 1] to latents without the scaling factor, as a distribution without variance."""
        (latents,) = super().encode(x, return_dict=False)
        parameters = torch.cat([latents, torch.zeros_like(latents)], dim=1)
        distribution = DiagonalGaussianDistribution(parameters, deterministic=True)
        return AutoencoderKLOutput(latent_dist=distribution) if return_dict else (distribution,)

    @apply_forward_hook
    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        """Decode latents without the scaling factor to images in [-1, 1]; ``generator`` is not used."""
        return super().decode(z, return_dict)
