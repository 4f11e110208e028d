"""Prompts for a general language model: the task, with in-context examples in the paper's template (appendix D.1)."""

import json
import re
from collections.abc import Sequence

from instructedit.files import digest

Message = dict[str, str]
"""One turn of a chat: ``role`` and ``content``."""

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
"""Prompt for an instruction without a description."""
TASK_PROMPT_WITH_DESCRIPTION = "\n\n".join([_TASK, _FIRST_EXAMPLE, _EXAMPLES, _WITH_DESCRIPTION, _CLOSING])
"""Prompt for an instruction with BLIP-2's description of the image."""

_CORRECTION = """\
That answer cannot be used: {problem}. Give it once more, complete, in the form: \
Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat".\
"""

FIELDS = {
    "segmentation_prompt": "Segmentation prompt",
    "editing_prompt_1": "Editing prompt 1",
    "editing_prompt_2": "Editing prompt 2",
}
"""Field names of a JSON reply, with their names in the template."""
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in FIELDS},
    "required": [*FIELDS],
    "additionalProperties": False,
}
"""JSON schema of a reply."""

# An example answer in the template, as in the task prompts and the correction.
_TEMPLATE = re.compile(r'Segmentation prompt: (.+?)\. Editing prompt 1: "(.+?)"\. Editing prompt 2: "(.+?)"\.')

PROMPT_HASH = digest([TASK_PROMPT, TASK_PROMPT_WITH_DESCRIPTION, _CORRECTION])[:16]
"""Identifies the prompts above in cache keys and run ids."""


def messages(instruction: str, description: str | None = None) -> list[Message]:
    """Return the chat that requests the parse of one instruction.

    Args:
        instruction: The user's instruction.
        description: BLIP-2's description of the image; if given, the prompt with descriptions is used.
    """
    system = TASK_PROMPT if description is None else TASK_PROMPT_WITH_DESCRIPTION
    # Line breaks are removed so that part of an instruction cannot pass for a description.
    user = " ".join(instruction.split())
    if description is not None:
        user += f"\nDescription: {' '.join(description.split())}"
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def correction(reply: str, problem: str) -> list[Message]:
    """Return the turns that request a new answer after a reply that could not be parsed."""
    # Chat templates require alternating roles, and some servers refuse an empty turn.
    content = reply.strip() or "(no answer)"
    return [{"role": "assistant", "content": content}, {"role": "user", "content": _CORRECTION.format(problem=problem)}]


def in_json(chat: Sequence[Message]) -> list[Message]:
    """Return the chat with the example answers of its prompts in JSON; the instruction and replies are unchanged."""
    prompts = [i for i, turn in enumerate(chat) if i != 1 and turn["role"] != "assistant"]
    return [{**turn, "content": _exemplified(turn["content"])} if i in prompts else turn for i, turn in enumerate(chat)]


def _exemplified(text: str) -> str:
    return _TEMPLATE.sub(lambda answer: json.dumps(dict(zip(FIELDS, answer.groups(), strict=True))), text)


JSON_PROMPT_HASH = digest([*map(_exemplified, (TASK_PROMPT, TASK_PROMPT_WITH_DESCRIPTION, _CORRECTION)), SCHEMA])[:16]
"""Identifies the JSON prompts in cache keys and run ids."""
