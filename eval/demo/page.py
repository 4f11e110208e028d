"""The demo's page, made with Gradio."""

import html
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from jaxtyping import Bool
from PIL import Image

from eval.demo.session import Build, Wish, edit, first_prompts, prompts_of, told
from eval.display.style import method_title
from instructedit.applications.given import Prompts
from instructedit.images import mask_image
from instructedit.types import ConfigError, EditResult, Failure

TITLE = "InstructEdit: edit an image by instruction"
CANVAS = 512
"""Side of the square on which a mask is drawn, in pixels. The editor puts layers in the wrong place unless picture and
canvas have one size."""
_RED = (226, 32, 24, 150)
_FONTS = ["system-ui", "sans-serif"]
_CSS = "footer { display: none !important; } .gradio-container { max-width: 1200px !important; margin: 0 auto; }"


def page(build: Build, methods: Sequence[str], examples: Sequence[tuple[str, str]], defaults: dict[str, Any]) -> Any:
    """Return the page.

    Args:
        build: Builds a method.
        methods: Names of the methods, the default first.
        examples: Paths of pictures and instructions.
        defaults: Values of the sliders.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}")
        with gr.Row():
            with gr.Column():
                image = gr.Image(
                    type="pil", label="Image", image_mode="RGB", sources=["upload", "clipboard"], height=320
                )
                instruction = gr.Textbox(label="Instruction", placeholder="Change the cat to a lion")
                names = [(method_title(name), name) for name in methods]
                chosen = gr.CheckboxGroup(names, value=[methods[0]], label="Methods, side by side")
                with gr.Accordion("Hyperparameters", open=False):
                    ratio = gr.Slider(0.05, 1, defaults["ratio"], step=0.05, label="Encoding ratio")
                    theta = gr.Slider(
                        0.05, 0.95, defaults["theta"], step=0.05, label="Theta, threshold of DiffEdit's mask"
                    )
                    dilate = gr.Slider(-16, 32, defaults["dilate"], step=1, label="Dilate the mask, pixels")
                    seed = gr.Slider(0, 1000, defaults["seed"], step=1, label="Seed")
                start = gr.Button("Edit", variant="primary")
                gr.Examples([list(example) for example in examples], [image, instruction], label="Examples")
            with gr.Column():
                results = gr.Gallery(label="Edits", columns=2, height=360, object_fit="contain", format="png")
                state = gr.Markdown("", elem_id="state")
                decided = gr.HTML(label="What each component decided")
        gr.Markdown(
            "## Change a decision by hand\nOnly what follows it runs again. Methods without that component ignore it."
        )
        with gr.Row():
            with gr.Column():
                prompt = gr.Textbox(label="Segmentation prompt")
                before = gr.Textbox(label="Input caption")
                after = gr.Textbox(label="Edited caption")
                from_prompts = gr.Button("Edit with these prompts")
            with gr.Column():
                drawn = gr.ImageEditor(
                    label="Mask: draw or erase the red", type="pil", image_mode="RGBA", sources=(), transforms=(),
                    brush=gr.Brush(default_size=24, colors=[_hex(_RED)], color_mode="fixed"), layers=False,
                    format="png", canvas_size=(CANVAS, CANVAS), height=640,
                )  # fmt: skip
                from_mask = gr.Button("Edit with this mask and these prompts")
        wish = [image, instruction, chosen, ratio, theta, dilate, seed]
        canvas = gr.State()
        shown = [results, state, decided, prompt, before, after, canvas]

        def run(*values: Any) -> tuple[Any, ...]:
            return _answer(build, values[:7], *values[7:])

        for event, more in (
            (start.click, []),
            (instruction.submit, []),
            (from_prompts.click, [prompt, before, after]),
            (from_mask.click, [prompt, before, after, drawn]),
        ):
            done = event(
                run, [*wish, *more], shown, concurrency_limit=1, concurrency_id="edit", api_visibility="private"
            )
            # The editor is emptied first: it keeps the layers of its last picture.
            emptied = done.success(lambda: None, None, drawn, api_visibility="private")
            emptied.success(lambda value: value, canvas, drawn, api_visibility="private")
    return blocks


def launch(blocks: Any, host: str, port: int, prevent_thread_lock: bool = False) -> str:
    """Serve the page and return its address; nothing is loaded from, or sent to, the network."""
    theme = gr.themes.Default(primary_hue="teal", font=_FONTS, font_mono=["ui-monospace", "monospace"])
    _, url, _ = blocks.launch(
        server_name=host, server_port=port or None, share=False, quiet=True, ssr_mode=False, theme=theme, css=_CSS,
        footer_links=[], prevent_thread_lock=prevent_thread_lock, show_error=True,
    )  # fmt: skip
    return str(url)


def _answer(
    build: Build, wish: Sequence[Any], prompt: str = "", before: str = "", after: str = "", drawn: Any = None
) -> tuple[Any, ...]:
    image, instruction, chosen, ratio, theta, dilate, seed = wish
    if image is None or not str(instruction or "").strip() or not chosen:
        raise gr.Error("An image, an instruction and at least one method are needed.")
    values = {"ratio": float(ratio), "theta": float(theta), "dilate": int(dilate)}
    try:
        prompts = prompts_of(prompt, before, after)
        mask = None if drawn is None else _mask(drawn, image.size)
        outcomes = _outcomes(build, chosen, Wish(image, str(instruction).strip(), int(seed), values, prompts, mask))
    except ConfigError as error:
        raise gr.Error(str(error)) from None
    edits = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, EditResult)}
    gallery = [(outcome.image, method_title(name)) for name, outcome in edits.items()]
    failed = [f"{method_title(n)}: {o.stage}: {o.message}" for n, o in outcomes.items() if isinstance(o, Failure)]
    text = f"{len(edits)} of {len(outcomes)} edits done. " + html.escape(" ".join(failed))
    used = first_prompts(list(outcomes.values())) or prompts
    texts = ("", "", "") if used is None else (used.segmentation_prompt, used.captions.input, used.captions.edited)
    found = next((o.mask for o in edits.values() if o.mask is not None), None)
    return gallery, text, _table(outcomes), *texts, _canvas(image, found)


def _outcomes(build: Build, chosen: Sequence[str], wish: Wish) -> dict[str, EditResult | Failure]:
    """Return the edits by method; a method that needs captions takes those of the language processor."""
    outcomes: dict[str, EditResult | Failure] = {}
    prompts: Prompts | None = wish.prompts
    for name in chosen:
        own = replace(wish, prompts=prompts) if build(name, wish.values).needs_captions else wish
        outcomes[name] = edit(build, name, own)
        prompts = prompts or first_prompts(list(outcomes.values()))
    return outcomes


def _table(outcomes: dict[str, EditResult | Failure]) -> str:
    rows = [row for name, outcome in outcomes.items() for row in told(method_title(name), outcome)]
    cells = (f"<tr><th scope='row'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows)
    return f"<table>{''.join(cells)}</table>"


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a picture on the canvas, whose upper left corner is the picture's."""
    scale = CANVAS / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _canvas(image: Image.Image, mask: Bool[np.ndarray, "h w"] | None) -> dict[str, Any]:
    """Return the picture with the mask as a layer to draw on."""
    size = _fitted(image.size)
    background, layer = (Image.new("RGBA", (CANVAS, CANVAS)) for _ in range(2))
    background.paste(image.convert("RGBA").resize(size, Image.Resampling.LANCZOS))
    if mask is not None:
        layer.paste(_RED, (0, 0), mask_image(mask).resize(size, Image.Resampling.NEAREST))
    return {"background": background, "layers": [layer], "composite": None}


def _mask(drawn: dict[str, Any], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return the mask that was drawn, at the picture's size.

    Raises:
        ConfigError: Nothing is drawn.
    """
    mask = np.zeros((size[1], size[0]), dtype=bool)
    for layer in drawn["layers"]:
        alpha = layer.convert("RGBA").getchannel("A").crop((0, 0, *_fitted(size)))
        mask |= np.asarray(alpha.resize(size, Image.Resampling.BOX)) >= _RED[3] / 2
    if not mask.any():
        raise ConfigError("the mask is empty; draw where the image is to change")
    return mask


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{v:02x}" for v in colour)
