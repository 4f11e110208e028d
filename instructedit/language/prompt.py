"""What a general language model is told about the task: in-context examples in the paper's template (appendix D.1)."""

import json
import re
from collections.abc import Sequence

from instructedit.files import digest

Message = dict[str, str]
"""``role`` and ``content`` of one turn of a chat."""

_TASK = """\
You help to edit pictures. A user says in a few words what to change; you answer with what two tools must be told.
The segmentation model needs the name of the thing to edit, with just the words that tell it from similar things.
The image editing model needs two text prompts: what the picture shows now, and what it shows after the edit.
Words that only help to find the thing, like "bigger" or "on the left", stay out of the two editing prompts.\
"""

_FIRST_EXAMPLE = """\
For example, if the user says "Change the dog to a cat", you need to give the segmentation model only the keyword \
"Dog". You also need to give the image editing model two text prompts: "Photo of a dog", and "Photo of a cat". \
Your answer should be in the form of:
Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat".\
"""

_EXAMPLES = """\
If the user says "Replace the bigger cat with a fox", one of several cats is meant:
Segmentation prompt: Bigger cat. Editing prompt 1: "Photo of a cat". Editing prompt 2: "Photo of a fox".
If the user says "Paint the red door green", the thing stays and its colour changes:
Segmentation prompt: Red door. Editing prompt 1: "Photo of a red door". Editing prompt 2: "Photo of a green door".
If the user says "Give the horse a saddle", something is added, and it goes where the horse is:
Segmentation prompt: Horse. Editing prompt 1: "Photo of a horse". Editing prompt 2: "Photo of a horse with a saddle".
If the user says "Take the lamp away", something is removed, and only what is behind it stays:
Segmentation prompt: Lamp. Editing prompt 1: "Photo of a lamp". Editing prompt 2: "Photo of an empty background".
If the user says "Mix the owl with a rabbit", two things become one:
Segmentation prompt: Owl. Editing prompt 1: "Photo of an owl". \
Editing prompt 2: "Photo of a mix of an owl and a rabbit".\
"""

_WITH_DESCRIPTION = """\
Below the instruction the user gives a description of the picture, on a line that begins with "Description:". \
Take from it what the instruction leaves open: which thing "it" is, what kind of picture it is, what else is to be \
seen. Editing prompt 1 then follows the description, and Editing prompt 2 is the same sentence after the edit. \
Where the description has nothing to do with the instruction, leave it aside.
If the user says
Change it to a wolf
Description: A painting of a sheep and a man on a hill
your answer should be:
Segmentation prompt: Sheep. Editing prompt 1: "A painting of a sheep and a man on a hill". \
Editing prompt 2: "A painting of a wolf and a man on a hill".
If the user says
Remove the cup
Description: Photo of a cup and a book on a table
your answer should be:
Segmentation prompt: Cup. Editing prompt 1: "Photo of a cup and a book on a table". \
Editing prompt 2: "Photo of a book on a table".\
"""

_CLOSING = "Answer in that form and with nothing else."

TASK_PROMPT = "\n\n".join([_TASK, _FIRST_EXAMPLE, _EXAMPLES, _CLOSING])
"""For an instruction alone."""
TASK_PROMPT_WITH_DESCRIPTION = "\n\n".join([_TASK, _FIRST_EXAMPLE, _EXAMPLES, _WITH_DESCRIPTION, _CLOSING])
"""For an instruction and BLIP-2's description of the image."""

_CORRECTION = """\
That answer cannot be used: {problem}. Give it once more, complete, in the form: \
Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat".\
"""

FIELDS = {
    "segmentation_prompt": "Segmentation prompt",
    "editing_prompt_1": "Editing prompt 1",
    "editing_prompt_2": "Editing prompt 2",
}
"""Of a reply in JSON: name of the field, and what the template calls it."""
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in FIELDS},
    "required": [*FIELDS],
    "additionalProperties": False,
}
"""Of a reply in JSON."""

# An answer in the template, as it stands in the task prompts and in the correction.
_TEMPLATE = re.compile(r'Segmentation prompt: (.+?)\. Editing prompt 1: "(.+?)"\. Editing prompt 2: "(.+?)"\.')

PROMPT_HASH = digest([TASK_PROMPT, TASK_PROMPT_WITH_DESCRIPTION, _CORRECTION])[:16]
"""Names the text above in cache keys and run ids."""


def messages(instruction: str, description: str | None = None) -> list[Message]:
    """The chat that asks for one parse.

    Args:
        instruction: What the user wants.
        description: What BLIP-2 says the image shows; chooses the second form of the prompt.
    """
    system = TASK_PROMPT if description is None else TASK_PROMPT_WITH_DESCRIPTION
    # On one line each: an instruction with a line break in it must not pass for a description.
    user = " ".join(instruction.split())
    if description is not None:
        user += f"\nDescription: {' '.join(description.split())}"
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def correction(reply: str, problem: str) -> list[Message]:
    """The turns that ask again after a reply that could not be read."""
    # Chat templates want the roles to alternate, and some servers refuse an empty turn.
    said = reply.strip() or "(no answer)"
    return [{"role": "assistant", "content": said}, {"role": "user", "content": _CORRECTION.format(problem=problem)}]


def in_json(chat: Sequence[Message]) -> list[Message]:
    """The chat with our examples of an answer in JSON; what the user and the model have said stays as it is."""
    ours = [i for i, turn in enumerate(chat) if i != 1 and turn["role"] != "assistant"]
    return [{**turn, "content": _exemplified(turn["content"])} if i in ours else turn for i, turn in enumerate(chat)]


def _exemplified(text: str) -> str:
    return _TEMPLATE.sub(lambda answer: json.dumps(dict(zip(FIELDS, answer.groups(), strict=True))), text)


JSON_PROMPT_HASH = digest([*map(_exemplified, (TASK_PROMPT, TASK_PROMPT_WITH_DESCRIPTION, _CORRECTION)), SCHEMA])[:16]
"""Names the text that asks for JSON in cache keys."""
