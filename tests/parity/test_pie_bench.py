"""PIE-Bench's metrics against timm, scikit-image, the lpips package and numpy, on the arrays that its code makes."""

from pathlib import Path

import lpips
import numpy as np
import pytest
import timm
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save_file
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchvision.models import SqueezeNet
from torchvision.transforms import Normalize, Resize
from transformers import ViTConfig, ViTModel

from eval.metrics.base import MetricUndefined
from eval.metrics.lpips import Lpips
from eval.metrics.pie_bench import (
    PieClipEdited,
    PieClipWhole,
    PieLpips,
    PieMse,
    PiePsnr,
    PieSsim,
    StructureDistance,
    dino_keys,
    zeroed,
)
from instructedit.types import Captions, ConfigError, EditResult, Sample, Truth
from scripts.download import DINO_CONFIG, dino_as_vit
from tests.eval import tiny_clip
from tests.eval.pictures import textured

SOURCE, EDITED = textured(1, 96), textured(2, 96)
RESULT = EditResult("one", EDITED)
CAPTIONS = Captions("a cat", "a dog")


def tiny_dino() -> timm.models.VisionTransformer:
    """Return a vision transformer with the parameters' names of the authors' DINO, and a hook's joint projection."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.models.VisionTransformer(
            img_size=224, patch_size=32, embed_dim=32, depth=3, num_heads=4, num_classes=0, dynamic_img_size=True
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def vit() -> ViTModel:
    small = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
    model = ViTModel(ViTConfig(**(DINO_CONFIG | small | {"patch_size": 32})), add_pooling_layer=False)
    folder = dino_as_vit(tiny_dino().state_dict())
    return ViTModel.from_pretrained(None, config=model.config, state_dict=folder, add_pooling_layer=False).eval()


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    Image.fromarray(np.tri(96, k=-20, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    return Sample("one", Path("one.png"), "edit", truth=Truth(mask=tmp_path / "mask.png"))


def structure_distance(before: Image.Image, after: Image.Image) -> float:
    """Follow ``LossG.calculate_global_ssim_loss``: resize, normalise, hook the last qkv, cosines of the joined keys."""
    model = tiny_dino()
    similarities = []
    for image in (before, after):
        pixels = torch.from_numpy(np.transpose(np.array(image).astype(np.float32), (2, 0, 1)))
        pixels = Normalize(*((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))(
            Resize(224, max_size=480, antialias=False)(pixels)
        )
        joint: list[Tensor] = []
        handle = model.get_submodule("blocks.2.attn.qkv").register_forward_hook(
            lambda m, i, o, joint=joint: joint.append(o)
        )
        model(pixels[None])
        handle.remove()
        tokens = joint[0].shape[1]
        keys = joint[0].reshape(tokens, 3, 4, 8).permute(1, 2, 0, 3)[1]
        similarities.append(cosines(keys.transpose(0, 1).reshape(tokens, 32)))
    return float(((similarities[0] - similarities[1]) ** 2).mean())


def cosines(keys: Float[Tensor, "tokens d"]) -> Tensor:
    return torch.nn.functional.cosine_similarity(keys[:, None], keys[None], dim=-1)


def test_structure_distance_against_the_authors_steps_on_timm(vit: ViTModel, sample: Sample) -> None:
    metric = StructureDistance(vit, "tiny", "1", antialias=False)
    value = metric.score(sample, SOURCE, RESULT, None).value
    assert value == pytest.approx(1e3 * structure_distance(SOURCE, EDITED), rel=1e-3)
    assert value > 1
    assert metric.score(sample, SOURCE, EditResult("one", SOURCE), None).value == 0
    antialiased = StructureDistance(vit, "tiny", "1", antialias=True)
    assert antialiased.card_id != metric.card_id


def test_a_wide_picture_keeps_its_aspect_ratio_up_to_480_pixels(vit: ViTModel) -> None:
    tokens = [len(dino_keys(vit, Image.new("RGB", size), antialias=False)) for size in ((96, 96), (96, 192), (48, 480))]
    assert tokens == [1 + 7 * 7, 1 + 7 * 14, 1 + 1 * 15]


def test_pixels_against_scikit_image_on_zeroed_arrays(sample: Sample) -> None:
    keep = ~(np.array(Image.open(sample.truth.mask or "")) >= 128)[..., None]
    before, after = (np.array(image).astype(np.float32) / 255 * keep for image in (SOURCE, EDITED))
    values = [metric.score(sample, SOURCE, RESULT, None).value for metric in (PieMse(), PiePsnr(), PieSsim())]
    _, ssim = structural_similarity(
        before, after, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    expected = [1e4 * mean_squared_error(before, after), peak_signal_noise_ratio(before, after, data_range=1.0)]
    assert values[:2] == pytest.approx(expected, rel=1e-5)
    assert values[2] == pytest.approx(100 * ssim.mean(), rel=1e-3)  # the rim is reflected in another way


def test_lpips_with_squeezenet_against_the_package(tmp_path: Path, sample: Sample) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = SqueezeNet("1_1").state_dict()
    save_file({k: v for k, v in backbone.items() if k.startswith("features.")}, tmp_path / "model.safetensors")
    metric = PieLpips(Lpips(tmp_path, "squeeze", "1", net="squeeze"))
    package = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    features = SqueezeNet("1_1")
    features.load_state_dict(backbone)
    for slice_ in package.net.children():
        for index, layer in slice_.named_children():
            layer.load_state_dict(features.features[int(index)].state_dict())
    region = np.array(Image.open(sample.truth.mask or "")) >= 128
    theirs = package.requires_grad_(False)(zeroed(EDITED, region), zeroed(SOURCE, region), normalize=True)
    assert metric.score(sample, SOURCE, RESULT, None).value == pytest.approx(1e3 * float(theirs), rel=1e-4)
    assert metric.score(sample, SOURCE, EditResult("one", SOURCE), None).value == 0
    assert metric.card()["net"] == "squeeze"
    with pytest.raises(ConfigError, match="does not hold AlexNet's"):
        Lpips(tmp_path, "squeeze", "1")


def test_clip_against_the_model_on_blackened_arrays(sample: Sample) -> None:
    scorer = tiny_clip.scorer()
    mask = (np.array(Image.open(sample.truth.mask or "")) >= 128)[..., None]
    black = Image.fromarray(np.uint8(np.array(EDITED) * mask))
    model, processor, tokenizer = tiny_clip.model(), tiny_clip.image_processor(), tiny_clip.tokenizer()
    for metric, image in ((PieClipWhole(scorer), EDITED), (PieClipEdited(scorer), black)):
        with torch.no_grad():
            pixels = processor(images=image, return_tensors="pt").pixel_values
            output = model(input_ids=torch.tensor([tokenizer("a dog").input_ids]), pixel_values=pixels)
        cosine = float(torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds))
        value = metric.score(sample, SOURCE, RESULT, CAPTIONS).value
        assert value == pytest.approx(max(0.0, 100 * cosine), abs=1e-3)
    assert PieClipWhole(scorer).card_id != PieClipEdited(scorer).card_id


def test_equal_images_and_missing_truth_have_no_value(sample: Sample) -> None:
    same = EditResult("one", SOURCE)
    with pytest.raises(MetricUndefined, match="infinite"):
        PiePsnr().score(sample, SOURCE, same, None)
    assert PieMse().score(sample, SOURCE, same, None).value == 0
    assert PieSsim().score(sample, SOURCE, same, None).value == pytest.approx(100)
    with pytest.raises(MetricUndefined, match="no captions"):
        PieClipWhole(tiny_clip.scorer()).score(sample, SOURCE, RESULT, None)
    assert not PieMse().applies(Sample("two", Path("two.png"), "edit"))
