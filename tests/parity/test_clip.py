"""CLIP metrics against open_clip on the same weights, torchmetrics' own update, and float64 arithmetic."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.multimodal.clip_score import _clip_score_update
from torchvision.transforms import CenterCrop
from transformers import CLIPModel, CLIPProcessor, CLIPTextConfig, CLIPTokenizer

from eval.metrics.clip import RESIZES, ClipDirectional, ClipScore, TransformersClip, clip_scorer, text_config, truncate
from eval.metrics.openclip import OpenClip, registered
from instructedit.cache import StageCache
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import Captions, ConfigError
from tests.eval import tiny_clip
from tests.eval.pictures import SAMPLE, result, textured
from tests.eval.tiny_clip import HIDDEN, IMAGE, LAYERS, PATCH, PROJECTION, WINDOW
from tests.tiny import picture

SOURCE, EDITED = textured(1, size=64), textured(2, size=64)
CAPTIONS = Captions("a cat", "a fat zebra")
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def scorer() -> TransformersClip:
    return tiny_clip.scorer()


def by_hand(image: Any) -> Float[Tensor, "1 3 h w"]:
    """OpenAI's preprocessing of a square image: PIL's bicubic, then CLIP's mean and deviation."""
    pixels = np.array(image.resize((IMAGE, IMAGE), resample=3), dtype=np.float64) / 255
    return torch.from_numpy((pixels - MEAN) / DEVIATION).permute(2, 0, 1)[None].float()


def padded(scorer: TransformersClip, caption: str) -> Float[Tensor, "1 window"]:
    """Token ids as open_clip's tokenizer gives them: zeros after the end."""
    tokens = scorer.tokenizer(caption).input_ids
    return torch.tensor([tokens + [0] * (WINDOW - len(tokens))])


def unit(features: Tensor) -> Float[np.ndarray, " d"]:
    values = features.detach()[0].double().numpy()
    return values / np.linalg.norm(values)


@torch.inference_mode()
def test_against_open_clip(scorer: TransformersClip) -> None:
    peer = open_clip_twin(scorer.model)
    source, edited = (unit(peer.encode_image(by_hand(image))) for image in (SOURCE, EDITED))
    before, after = (unit(peer.encode_text(padded(scorer, text))) for text in (CAPTIONS.input, CAPTIONS.edited))
    score = ClipScore(scorer).score(SAMPLE, SOURCE, result(EDITED), CAPTIONS).value
    assert score == pytest.approx(100 * float(edited @ after), abs=1e-4)
    images, texts = edited - source, after - before
    expected = float(images @ texts / np.linalg.norm(images) / np.linalg.norm(texts))
    directional = ClipDirectional(scorer, "crop").score(SAMPLE, SOURCE, result(EDITED), CAPTIONS).value
    assert directional == pytest.approx(expected, abs=1e-5)


@torch.inference_mode()
def test_against_float64_arithmetic_on_the_models_own_outputs(scorer: TransformersClip) -> None:
    """Preprocessing by hand, one padded batch of captions: neither batch nor padding may matter."""
    outputs = scorer.model(
        pixel_values=torch.cat([by_hand(SOURCE), by_hand(EDITED)]),
        **scorer.tokenizer([CAPTIONS.input, CAPTIONS.edited], padding=True, return_tensors="pt"),
    )
    images, texts = outputs.image_embeds.double().numpy(), outputs.text_embeds.double().numpy()
    score = ClipScore(scorer).score(SAMPLE, SOURCE, result(EDITED), CAPTIONS).value
    assert score == pytest.approx(100 * float(images[1] @ texts[1]), abs=1e-4)
    changes = images[1] - images[0], texts[1] - texts[0]
    expected = float(changes[0] @ changes[1] / np.prod([np.linalg.norm(change) for change in changes]))
    directional = ClipDirectional(scorer, "crop").score(SAMPLE, SOURCE, result(EDITED), CAPTIONS).value
    assert directional == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [(768, 512), (300, 400), (64, 64), (128, 128)])
@torch.inference_mode()
def test_directional_similarity_is_that_of_instruct_pix2pix(scorer: TransformersClip, size: tuple[int, int]) -> None:
    """The authors' ``clip_similarity``: float pictures in [0, 1] interpolated to the square, then normalised."""
    source, edited = (picture(seed, size) for seed in (1, 2))
    features = []
    for image in (source, edited):
        pixels = torch.stack([torch.from_numpy(np.array(image)[..., c]) for c in range(3)])[None].float() / 255
        pixels = functional.interpolate(pixels, size=IMAGE, mode="bicubic", align_corners=False)
        pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
        encoded = scorer.model.get_image_features(pixels).pooler_output
        features.append(encoded / encoded.norm(dim=1, keepdim=True))
    for caption in (CAPTIONS.input, CAPTIONS.edited):
        encoded = scorer.model.get_text_features(padded(scorer, caption)).pooler_output
        features.append(encoded / encoded.norm(dim=1, keepdim=True))
    expected = functional.cosine_similarity(features[1] - features[0], features[3] - features[2])
    ours = ClipDirectional(scorer).score(SAMPLE, source, result(edited), CAPTIONS).value
    assert ours == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(("margin", "shift"), [(0, 0), (1, 0), (2, 0), (3, 1), (4, 0), (5, 0), (6, 0), (7, 1), (11, 1)])
def test_the_centre_crop_is_a_pixel_off_torchvisions_at_some_odd_margins(
    scorer: TransformersClip, margin: int, shift: int
) -> None:
    """As the card says: transformers halves the margin downwards, OpenAI's torchvision rounds half to even."""
    columns = np.tile(np.arange(IMAGE + margin, dtype=np.uint8)[None, :, None], (IMAGE, 1, 3))
    ours = scorer.cropped(Image.fromarray(columns))[0, 0, 0] * DEVIATION[0] + MEAN[0]
    theirs = CenterCrop(IMAGE)(torch.from_numpy(columns).permute(2, 0, 1))[0, 0]
    assert round(float(theirs[0] - ours[0] * 255)) == shift


LONG = "a small yellow dog and a fat old cat on green grass under a tall tree beside a red house " * 4


def words_of(theirs: open_clip.SimpleTokenizer) -> CLIPTokenizer:
    """CLIP's own vocabulary, as transformers has it."""
    names = {theirs.sot_token_id: "<|startoftext|>", theirs.eot_token_id: "<|endoftext|>"}
    words = {names.get(index, word): index for word, index in theirs.encoder.items()}
    return CLIPTokenizer(vocab=words, merges=list(theirs.bpe_ranks))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[TransformersClip, OpenClip]:
    """The same weights through both libraries, on CLIP's own vocabulary."""
    tokenizer = words_of(open_clip.SimpleTokenizer())
    configuration = tiny_clip.config()
    words = configuration.text_config
    assert isinstance(words, CLIPTextConfig)
    words.vocab_size, words.eos_token_id = len(tokenizer), tokenizer.eos_token_id
    model = tiny_clip.seeded(configuration)
    folder = save_open_clip(tmp_path_factory.mktemp("open_clip"), model)
    ours = TransformersClip(model, tiny_clip.image_processor(), tokenizer, "tiny-clip", "1")
    return ours, OpenClip(folder, "tiny-clip", "1")


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(64, 64), (768, 512), (300, 400)])
def test_pictures_have_the_same_features_in_both_libraries(
    pair: tuple[TransformersClip, OpenClip], size: tuple[int, int], resize: str
) -> None:
    first, second = (scorer.image(picture(3, size), resize).numpy() for scorer in pair)
    assert first == pytest.approx(second, abs=1e-5)


@pytest.mark.parametrize("caption", ["a photo of a cat", "", "A Fat, old zebra & a dog", LONG])
def test_captions_have_the_same_features_in_both_libraries(
    pair: tuple[TransformersClip, OpenClip], caption: str
) -> None:
    first, second = (scorer.text(caption) for scorer in pair)
    assert first.features.numpy() == pytest.approx(second.features.numpy(), abs=1e-5)
    assert first.note == second.note
    assert bool(first.note) == (caption == LONG)


def test_the_card_names_model_tag_and_library(
    pair: tuple[TransformersClip, OpenClip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ClipScore(pair[1]).card()
    assert card["implementation"].startswith("open-clip-torch 3.")
    assert (card["model"], card["pretrained"]) == (None, None)
    assert card["resize"]["interpolation"] == "bicubic"
    assert ClipScore(pair[0]).card_id != ClipScore(pair[1]).card_id
    assert ClipDirectional(pair[0]).card()["resize"] == ClipDirectional(pair[1]).card()["resize"]
    known = {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}
    assert registered("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", {}) == known
    architecture = open_clip.get_model_config("ViT-L-14")
    assert registered("/a/folder", architecture) == {"model": "ViT-L-14", "pretrained": None}


def test_a_checkpoint_chooses_its_library(pair: tuple[TransformersClip, OpenClip], tmp_path: Path) -> None:
    """Resolved as all checkpoints are: what is missing is named, and the library is part of its identity."""
    checkpoint = Checkpoint(str(tmp_path), implementation="open_clip")
    assert checkpoint.missing() == "open_clip_config.json, open_clip_model.safetensors"
    save_open_clip(tmp_path, pair[0].model)
    assert checkpoint.missing() is None
    assert checkpoint.fingerprint["implementation"] == "open_clip"
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    assert isinstance(clip_scorer(context, checkpoint), OpenClip)
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(ConfigError, match="open_clip_model.safetensors"):
        OpenClip(tmp_path, "tiny-clip", "1")
    with pytest.raises(ConfigError, match="accepted are transformers, open_clip"):
        Checkpoint(str(tmp_path), implementation="jax")


def test_truncation_is_that_of_open_clips_tokenizer() -> None:
    """On CLIP's own vocabulary and window: the first 75 tokens between start and end, whatever the tokenizer does."""
    theirs = open_clip.SimpleTokenizer(context_length=77)
    start, end = theirs.sot_token_id, theirs.eot_token_id
    ours = words_of(theirs)
    tokens = ours(LONG, verbose=False).input_ids
    assert len(tokens) > 77
    cut = truncate(tokens, 77, ours.eos_token_id)
    assert cut == theirs(LONG)[0].tolist()
    assert (len(cut), cut[0], cut[-1]) == (77, start, end)
    short = ours("a fat cat").input_ids
    assert truncate(short, 77, end) == short == [t for t in theirs("a fat cat")[0].tolist() if t]


@torch.inference_mode()
def test_a_truncated_caption_lands_where_open_clip_puts_it(scorer: TransformersClip) -> None:
    tokens = scorer.tokenizer(LONG, verbose=False).input_ids[:WINDOW]
    tokens[-1] = scorer.tokenizer.eos_token_id  # as open_clip's tokenizer cuts
    expected = unit(open_clip_twin(scorer.model).encode_text(torch.tensor([tokens])))
    assert scorer.text(LONG).features.numpy() == pytest.approx(expected, abs=1e-5)


class Transformers4(CLIPModel):
    """Returns features as bare tensors, as transformers 4 did and as torchmetrics 1.9 expects."""

    def get_image_features(self, *args: Any, **kwargs: Any) -> Tensor:
        return super().get_image_features(*args, **kwargs).pooler_output

    def get_text_features(self, *args: Any, **kwargs: Any) -> Tensor:
        return super().get_text_features(*args, **kwargs).pooler_output


@torch.inference_mode()
def test_against_torchmetrics(scorer: TransformersClip) -> None:
    model = Transformers4(scorer.model.config).eval()
    model.load_state_dict(scorer.model.state_dict())
    pixels = torch.from_numpy(np.array(EDITED)).permute(2, 0, 1)
    processor = CLIPProcessor(scorer.image_processor, scorer.tokenizer)
    theirs, _ = _clip_score_update(pixels, CAPTIONS.edited, model, processor)
    ours = ClipScore(scorer).score(SAMPLE, SOURCE, result(EDITED), CAPTIONS).value
    assert ours == pytest.approx(float(theirs), abs=1e-4)


def open_clip_config(model: CLIPModel) -> dict[str, Any]:
    """The architecture of a transformers model, as open_clip's configurations say it."""
    shared = {"layers": LAYERS, "width": HIDDEN}
    vision = shared | {"head_width": HIDDEN // 4, "patch_size": PATCH, "image_size": IMAGE}
    text = shared | {"heads": 4, "context_length": WINDOW, "vocab_size": text_config(model).vocab_size}
    return {"embed_dim": PROJECTION, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}


def save_open_clip(folder: Path, model: CLIPModel) -> Path:
    """A folder as open_clip's ``push_to_hf_hub`` writes it; returns it."""
    preprocess = {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": open_clip_config(model), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = {name: value.contiguous() for name, value in open_clip_twin(model).state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


def open_clip_twin(model: CLIPModel) -> open_clip.CLIP:
    """An open_clip model that holds the weights of a transformers one."""
    with torch.random.fork_rng(devices=[]):
        twin = open_clip.CLIP(**open_clip_config(model))
    state = model.state_dict()
    renamed = {
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
        "logit_scale": state["logit_scale"],
    }
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    norms["ln_final"] = "text_model.final_layer_norm"
    parts = dict(norms)
    for theirs, ours in (("visual.", "vision_model."), ("", "text_model.")):
        for layer in range(LAYERS):
            block, encoder = f"{theirs}transformer.resblocks.{layer}", f"{ours}encoder.layers.{layer}"
            parts |= {f"{block}.ln_{n}": f"{encoder}.layer_norm{n}" for n in (1, 2)}
            parts |= {f"{block}.mlp.c_fc": f"{encoder}.mlp.fc1", f"{block}.mlp.c_proj": f"{encoder}.mlp.fc2"}
            parts[f"{block}.attn.out_proj"] = f"{encoder}.self_attn.out_proj"
            for kind in ("weight", "bias"):
                three = [state[f"{encoder}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                renamed[f"{block}.attn.in_proj_{kind}"] = torch.cat(three)
    renamed |= {f"{new}.{kind}": state[f"{old}.{kind}"] for new, old in parts.items() for kind in ("weight", "bias")}
    twin.load_state_dict(renamed)
    return twin.eval()
