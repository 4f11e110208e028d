"""How people ask for an edit, as a grammar: verbs times frames, sentences of other shapes, openings and endings.

:data:`CORES` holds every sentence that it makes, with the slots {r} (what is edited, determiner included), {n} (what
comes, article included), {c} (a colour) and {k} (a person). The language model learns from them; no other model does.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from data.picturebook.patterns import PATTERNS, expanded
from data.picturebook.phrases import HELD_OUT_TEMPLATES, templates
from data.picturebook.sentences import DIRECT


@dataclass(frozen=True)
class Action:
    """Verbs that take the same object and the same words after it, each as base, participle and gerund."""

    verbs: str
    rests: tuple[str, ...]
    takes: str = "{r}"
    """The verbs' object."""


_SET = "set/set/setting place/placed/placing put/put/putting"
ACTIONS: dict[str, tuple[Action, ...]] = {
    "change": (
        Action(
            "change/changed/changing turn/turned/turning transform/transformed/transforming make/made/making "
            "convert/converted/converting modify/modified/modifying alter/altered/altering reshape/reshaped/reshaping "
            "remake/remade/remaking edit/edited/editing rework/reworked/reworking shift/shifted/shifting",
            ("into {n}", "to {n}", "so that it is {n}", "to look like {n}", "to become {n}"),
        ),
        Action(
            "replace/replaced/replacing swap/swapped/swapping exchange/exchanged/exchanging "
            "substitute/substituted/substituting trade/traded/trading",
            ("with {n}", "for {n}", "by {n}", "against {n}"),
        ),
        Action("switch/switched/switching", ("with {n}", "for {n}", "into {n}")),
        Action("draw/drawn/drawing render/rendered/rendering show/shown/showing depict/depicted/depicting",
               ("as {n}", "like {n}")),
        Action(f"{_SET} draw/drawn/drawing insert/inserted/inserting show/shown/showing use/used/using "
               "add/added/adding", ("instead of {r}", "where {r} is", "in place of {r}", "in the place of {r}"), "{n}"),
        Action("substitute/substituted/substituting swap/swapped/swapping exchange/exchanged/exchanging",
               ("for {r}",), "{n}"),
        Action(
            "mutate/mutated/mutating develop/developed/developing "
            "refashion/refashioned/refashioning restyle/restyled/restyling "
            "rebuild/rebuilt/rebuilding recast/recast/recasting remodel/remodeled/remodeling "
            "reform/reformed/reforming redo/redone/redoing adapt/adapted/adapting "
            "adjust/adjusted/adjusting revise/revised/revising correct/corrected/correcting "
            "process/processed/processing recreate/recreated/recreating",
            ("into {n}", "to {n}", "as {n}"),
        ),
        Action(
            "supersede/superseded/superseding displace/displaced/displacing "
            "overwrite/overwritten/overwriting override/overrided/overriding "
            "interchange/interchanged/interchanging cover/covered/covering",
            ("with {n}", "by {n}"),
        ),
        Action(
            "paint/painted/painting portray/portrayed/portraying picture/pictured/picturing "
            "present/presented/presenting represent/represented/representing "
            "display/displayed/displaying sketch/sketched/sketching treat/treated/treating",
            ("as {n}",),
        ),
    ),
    "recolour": (
        Action(
            "color/colored/coloring colour/coloured/colouring paint/painted/painting dye/dyed/dyeing "
            "tint/tinted/tinting spray/sprayed/spraying recolor/recolored/recoloring make/made/making "
            "turn/turned/turning",
            ("{c}", "in {c}", "all {c}"),
        ),
        Action("change/changed/changing set/set/setting switch/switched/switching turn/turned/turning",
               ("to {c}", "to the color {c}", "into {c}", "to a {c} color")),
        Action("change/changed/changing set/set/setting switch/switched/switching alter/altered/altering",
               ("to {c}", "into {c}"), "the color of {r}"),
        Action("change/changed/changing set/set/setting turn/turned/turning", ("to {c}", "into {c}"), "{r} color"),
        Action("give/given/giving", ("a {c} color", "the color {c}", "a {c} look")),
        Action("use/used/using take/taken/taking", ("for {r}", "as the color of {r}"), "{c}"),
        Action(
            "stain/stained/staining coat/coated/coating lacquer/lacquered/lacquering "
            "shade/shaded/shading redye/redyed/redyeing restyle/restyled/restyling "
            "refresh/refreshed/refreshing renew/renewed/renewing finish/finished/finishing",
            ("{c}", "in {c}", "with {c}"),
        ),
    ),
    "add": (
        Action(f"{_SET} draw/drawn/drawing", ("on {r}", "onto {r}", "upon {r}", "over {r}"), "{n}"),
        Action("add/added/adding attach/attached/attaching give/given/giving fit/fitted/fitting", ("to {r}",), "{n}"),
        Action("give/given/giving hand/handed/handing get/got/getting", ("{n}",)),
        Action("dress/dressed/dressing decorate/decorated/decorating provide/provided/providing show/shown/showing "
               "draw/drawn/drawing adorn/adorned/adorning", ("with {n}",)),
        Action("dress/dressed/dressing show/shown/showing", ("in {n}", "wearing {n}")),
        Action(
            "hang/hung/hanging fasten/fastened/fastening pin/pinned/pinning glue/glued/gluing "
            "lay/laid/laying drape/draped/draping slip/slipped/slipping throw/thrown/throwing "
            "plant/planted/planting mount/mounted/mounting insert/inserted/inserting "
            "sketch/sketched/sketching position/positioned/positioning stitch/stitched/stitching "
            "clip/cliped/cliping",
            ("on {r}", "onto {r}", "to {r}"),
            "{n}",
        ),
        Action(
            "supply/supplied/supplying furnish/furnished/furnishing outfit/outfitted/outfitting "
            "clothe/clothed/clothing embellish/embellished/embellishing "
            "accessorize/accessorized/accessorizing cover/covered/covering "
            "present/presented/presenting garnish/garnished/garnishing",
            ("with {n}", "in {n}"),
        ),
    ),
    "remove": (
        Action("remove/removed/removing delete/deleted/deleting erase/erased/erasing eliminate/eliminated/eliminating "
               "take/taken/taking clear/cleared/clearing", ("", "away", "from the picture", "out of the picture",
               "from the photo", "completely", "from here", "from the scene")),
        Action("take/taken/taking cut/cut/cutting edit/edited/editing throw/thrown/throwing leave/left/leaving",
               ("out", "out of the image", "out of it")),
        Action("drop/dropped/dropping discard/discarded/discarding omit/omitted/omitting exclude/excluded/excluding "
               "dump/dumped/dumping", ("", "from the picture")),
        Action("throw/thrown/throwing wipe/wiped/wiping brush/brushed/brushing", ("away",)),
        Action(
            "banish/banished/banishing evict/evicted/evicting expel/expelled/expelling "
            "scrap/scrapped/scrapping ditch/ditched/ditching toss/tossed/tossing axe/axed/axing "
            "detach/detached/detaching extract/extracted/extracting "
            "withdraw/withdrawed/withdrawing subtract/subtracted/subtracting "
            "obliterate/obliterated/obliterating vaporize/vaporized/vaporizing "
            "annihilate/annihilated/annihilating purge/purged/purging retract/retracted/retracting",
            ("", "from the picture", "completely"),
        ),
        Action(
            "trim/trimmed/trimming scrub/scrubbed/scrubbing rip/ripped/ripping "
            "chase/chased/chasing drag/dragged/dragging pull/pulled/pulling rub/rubed/rubing "
            "chuck/chucked/chucking crop/croped/croping push/pushed/pushing carry/carryed/carrying",
            ("off", "away", "out of the picture"),
        ),
    ),
    "mix": (
        Action("mix/mixed/mixing blend/blended/blending combine/combined/combining cross/crossed/crossing "
               "merge/merged/merging mash/mashed/mashing", ("with {n}", "and {n}", "and {n} together", "up with {n}")),
        Action("make/made/making turn/turned/turning", ("into a mix of {r} and {n}", "into a mixture with {n}",
               "half {n}", "into a cross with {n}", "into something between {r} and {n}", "partly {n}")),
        Action("add/added/adding mix/mixed/mixing blend/blended/blending", ("features to {r}", "into {r}"), "{n}"),
        Action(
            "unite/united/uniting join/joined/joining splice/spliced/splicing "
            "crossbreed/crossbreeded/crossbreeding hybridize/hybridized/hybridizing "
            "intermix/intermixed/intermixing interbreed/interbreeded/interbreeding "
            "melt/melted/melting weave/weaved/weaving knead/kneaded/kneading "
            "interlace/interlaced/interlacing",
            ("with {n}", "and {n} together", "and {n} into one"),
        ),
    ),
}  # fmt: skip
"""Verbs by the kind of edit that they ask for."""

_PASSIVE = (
    "i want {o} {pp}", "i would like {o} {pp}", "i would like to have {o} {pp}", "have {o} {pp}", "get {o} {pp}",
    "i need {o} {pp}", "{o} should be {pp}", "{o} must be {pp}", "{o} needs to be {pp}", "{o} has to be {pp}",
    "{o} could be {pp}", "{o} is to be {pp}", "{o} gets {pp}", "{o} {pp}", "can {o} be {pp}", "could {o} be {pp}",
    "i want to have {o} {pp}", "let {o} be {pp}", "i want to see {o} {pp}", "{o} can be {pp}", "{o} ought to be {pp}",
    "{o} was supposed to be {pp}", "i wish {o} was {pp}", "what if {o} were {pp}", "{o} will be {pp}",
    "i imagine {o} {pp}", "we want {o} to be {pp}", "i would love to see {o} {pp}", "i would prefer {o} {pp}",
    "i would rather have {o} {pp}", "we need {o} {pp}", "i am asking for {o} to be {pp}", "make sure {o} is {pp}",
    "make sure that {o} gets {pp}", "why is {o} not {pp}", "{o} had better be {pp}", "{o} might be {pp}",
    "{o} may be {pp}", "{o} now {pp}", "i want {o} to be {pp}", "i want {o} to get {pp}", "see {o} {pp}",
    "show {o} {pp}", "{o} is {pp}", "i would like {o} to be {pp}", "i expect {o} to be {pp}", "please have {o} {pp}",
    "i hope to see {o} {pp}", "{o} shall be {pp}", "it would be great to have {o} {pp}",
)  # fmt: skip
_GERUND = (
    "how about {ing} {o}", "what about {ing} {o}", "would you mind {ing} {o}", "try {ing} {o}", "i suggest {ing} {o}",
    "i was thinking of {ing} {o}", "consider {ing} {o}", "i am thinking about {ing} {o}", "can you try {ing} {o}",
)  # fmt: skip
_PAST = ("what if you {past} {o}", "i would be happy if you {past} {o}", "it would be great if you {past} {o}")
_IRREGULAR = {"made": "made", "drawn": "drew", "given": "gave", "taken": "took", "shown": "showed", "thrown": "threw"}


def shape(sentence: str) -> str:
    """Return a sentence as it is compared with others: lower case, no punctuation, no determiner before a slot."""
    text = re.sub(r"\b(?:the|a|an) (?=\{)", "", sentence.lower())
    return " ".join(re.sub(r"[^a-z0-9{}' ]", " ", text).split())


def _composed(action: Action) -> Iterator[str]:
    for forms in action.verbs.split():
        base, participle, gerund = forms.split("/")
        past = _IRREGULAR.get(participle, participle)
        for rest in action.rests:
            yield f"{base} {action.takes} {rest}"
            for frame in _PASSIVE + _GERUND + _PAST:
                yield frame.format(o=action.takes, pp=participle, ing=gerund, past=past) + f" {rest}"


def _without_held_out(sentences: Sequence[str]) -> tuple[str, ...]:
    # Under every name of the slots: "let {r} be {c}" is "let {r} be {n}" with a colour in it.
    held_out = {_slots(shape(t)) for kind in HELD_OUT_TEMPLATES.values() for t in kind}
    return tuple(s.strip() for s in dict.fromkeys(sentences) if _slots(shape(s)) not in held_out)


def _slots(text: str) -> str:
    return re.sub(r"\{\w\}", "{}", text)


IMPERATIVES = {
    kind: _without_held_out(
        [f"{v.split('/')[0]} {a.takes} {r}" for a in actions for v in a.verbs.split() for r in a.rests]
    )
    for kind, actions in ACTIONS.items()
}
"""The plainest: verb, object, rest."""
COMPOSED = {kind: _without_held_out([s for a in actions for s in _composed(a)]) for kind, actions in ACTIONS.items()}
SENTENCES = {
    kind: _without_held_out([*direct, *(t.replace("the {r}", "{r}").lower() for t in templates(kind))])
    for kind, direct in DIRECT.items()
}
"""The sentences of other shapes, with the templates of the other models among them."""
VARIED = {kind: tuple(_without_held_out(expanded(p)) for p in patterns) for kind, patterns in PATTERNS.items()}
"""The sentences of each pattern."""
CORES = {kind: tuple(dict.fromkeys(chain(COMPOSED[kind], SENTENCES[kind], *VARIED[kind]))) for kind in ACTIONS}
"""Everything that is said between an opening and an ending, by kind of edit."""
