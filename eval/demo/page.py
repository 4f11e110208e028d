"""The demo's page, made with Gradio."""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from eval.demo.answers import Answer, Click, Kind, answers
from eval.demo.mask_editor import mask_editor, to_editor
from eval.demo.session import Build
from eval.display.style import method_title

TITLE = "InstructEdit: edit an image by instruction"
_LEAD = (
    "Write what is to change in the picture. A language model turns the instruction into prompts, a detector and a "
    "segmenter find the place, and a diffusion model edits inside that mask. The page shows each step, and you can "
    "change it by hand."
)
_FIRST = Answer(Kind.DONE, "Choose an example or upload a picture, then press Edit.")
_UNEXPECTED = Answer(Kind.WRONG, "Not edited: an unexpected error, whose traceback is in the terminal.")
_FONTS = ["system-ui", "sans-serif"]
_CSS = (Path(__file__).parent / "templates" / "page.css").read_text()


def page(
    build: Build,
    methods: Sequence[str],
    examples: Sequence[tuple[str, str]],
    defaults: Mapping[str, Any],
    about: str,
    models: Mapping[str, str],
) -> Any:
    """Return the page.

    Args:
        build: Builds a method.
        methods: Names of the methods, the default first.
        examples: Paths of pictures and instructions; the page begins with the first.
        defaults: Values of the sliders.
        about: What the models are, in one or two sentences.
        models: The id of each model by its key.
    """
    picture, text = examples[0] if examples else (None, "")
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.HTML(f"<h1>{TITLE}</h1><p>{_LEAD}</p><p class='about'>{html.escape(about)}</p>", elem_id="lead")
        image = gr.Image(
            picture, type="pil", label="Picture", image_mode="RGB", sources=["upload", "clipboard"], height=320,
            elem_id="picture", render=False,
        )  # fmt: skip
        instruction = gr.Textbox(
            text, label="Instruction", placeholder="Change the cat to a lion", elem_id="instruction", render=False
        )
        if examples:
            with gr.Column(elem_id="examples"):
                gr.Examples([list(e) for e in examples], [image, instruction], label="Examples")
        with gr.Row():
            with gr.Column():
                image.render()
                instruction.render()
                start = gr.Button("Edit", variant="primary")
                status = gr.HTML(_line(_FIRST), elem_id="state")
                settings = _settings(methods, defaults, models)
            with gr.Column():
                edits = gr.Gallery(
                    label="Before and after", columns=2, height="auto", object_fit="contain", format="png",
                    preview=False, elem_id="edits",
                )  # fmt: skip
        gr.Markdown("## Steps of the pipeline")
        decided = gr.HTML("<p>After an edit, this shows what each component decided, and what it cost.</p>")
        gr.Markdown(
            "## Change a step by hand\nOnly what follows it runs again. Methods without that component ignore it."
        )
        with gr.Row():
            with gr.Column():
                prompts = [gr.Textbox(label=n) for n in ("Segmentation prompt", "Input caption", "Edited caption")]
                from_prompts = gr.Button("Edit with these prompts")
            with gr.Column():
                mask = mask_editor()
                from_mask = gr.Button("Edit with this mask and these prompts", interactive=False)
        shown = gr.State()

        def show(answer: Answer, has_mask: bool) -> list[Any]:
            is_idle = answer.kind is not Kind.WORKING
            texts: Sequence[Any] = answer.prompts or [None] * len(prompts)
            parts: list[Any] = [answer.edits, answer.steps, *texts]
            if answer.shown is None:
                parts += [None, None]
            else:
                parts += [answer.shown, to_editor(answer.shown)]
            usable = [is_idle, is_idle, is_idle and has_mask]
            return [
                _line(answer),
                *(gr.skip() if part is None else part for part in parts),
                *(gr.update(interactive=is_usable) for is_usable in usable),
            ]

        outputs = [status, edits, decided, *prompts, shown, mask, start, from_prompts, from_mask]

        def run(last: Any, *values: Any) -> Iterator[list[Any]]:
            for answer in answers(build, _click(*values), last):
                yield show(answer, has_mask=last is not None or answer.shown is not None)

        def recover(last: Any) -> list[Any]:
            return show(_UNEXPECTED, has_mask=last is not None)

        wish = [shown, image, instruction, *settings]
        for event, by_hand in (
            (start.click, []),
            (instruction.submit, []),
            (from_prompts.click, prompts),
            (from_mask.click, [*prompts, mask]),
        ):
            done = event(
                run, [*wish, *by_hand], outputs, concurrency_limit=1, concurrency_id="edit", show_progress="hidden",
                api_visibility="private",
            )  # fmt: skip
            done.failure(recover, shown, outputs, api_visibility="private")
    return blocks


def launch(blocks: Any, host: str, port: int, prevent_thread_lock: bool = False) -> str:
    """Serve the page and return its address; nothing is loaded from, or sent to, the network."""
    theme = gr.themes.Default(primary_hue="teal", font=_FONTS, font_mono=["ui-monospace", "monospace"])
    _, url, _ = blocks.launch(
        server_name=host, server_port=port or None, share=False, quiet=True, ssr_mode=False, theme=theme, css=_CSS,
        footer_links=[], prevent_thread_lock=prevent_thread_lock, show_error=True,
    )  # fmt: skip
    return str(url)


def _settings(methods: Sequence[str], defaults: Mapping[str, Any], models: Mapping[str, str]) -> list[Any]:
    """Add the settings, closed, and return their components."""
    with gr.Accordion("Settings: methods, hyperparameters, models", open=False):
        names = [(method_title(name), name) for name in methods]
        chosen = gr.CheckboxGroup(names, value=[methods[0]], label="Methods, side by side")
        sliders = [
            gr.Slider(0.05, 1, defaults["ratio"], step=0.05, label="Encoding ratio"),
            gr.Slider(0.05, 0.95, defaults["theta"], step=0.05, label="Theta, threshold of DiffEdit's mask"),
            gr.Slider(-16, 32, defaults["dilate"], step=1, label="Dilate the mask, pixels"),
            gr.Slider(0, 1000, defaults["seed"], step=1, label="Seed"),
        ]
        rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(name)}</dd>" for k, name in models.items())
        gr.HTML(f"<h4>Models</h4><dl>{rows}</dl>", elem_id="models")
    return [chosen, *sliders]


def _click(
    image: Any, instruction: Any, chosen: Any, ratio: float, theta: float, dilate: float, seed: float, *by_hand: Any
) -> Click:
    values = {"ratio": float(ratio), "theta": float(theta), "dilate": int(dilate)}
    prompts, drawn = [str(text or "") for text in by_hand[:3]] or ["", "", ""], by_hand[3:]
    text = str(instruction or "").strip()
    return Click(image, text, chosen or [], values, int(seed), prompts, bool(drawn), drawn[0] if drawn else None)


def _line(answer: Answer) -> str:
    return f"<p class='{answer.kind}' role='status'>{html.escape(answer.line)}</p>"
