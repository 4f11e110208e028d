"""Requests that the drawn world has no words for: unknown things and colours, poses, places, light, talk, two edits."""

import numpy as np

from data.picturebook.phrases import article
from data.picturebook.referring import one_of
from data.picturebook.world import SPRITES

NOUNS = tuple(
    """
    tiger wolf rabbit bunny hare mouse rat goat sheep cow bull pig donkey camel monkey gorilla kangaroo koala
    deer moose squirrel hedgehog beaver otter seal whale dolphin shark fish salmon octopus crab lobster snail
    snake lizard turtle crocodile dinosaur unicorn pigeon eagle owl parrot penguin duck goose swan chicken
    rooster turkey bee wasp butterfly spider ant fly worm hippo rhino leopard cheetah jaguar hyena badger
    raccoon skunk bat llama alpaca buffalo hamster banana pear peach plum grape cherry melon watermelon
    pineapple mango kiwi lime coconut raspberry blueberry tomato potato carrot onion garlic cucumber pepper
    salad bread toast cheese butter egg bacon sausage steak burger sandwich taco sushi soup noodle pasta rice
    cookie donut muffin pie chocolate candy lollipop honey coffee tea milk juice wine beer bottle cup mug
    glass plate bowl fork knife spoon pan pot kettle table chair sofa couch bed desk lamp candle mirror clock
    window door wall roof fence gate bridge tower castle church school barn tent cabin hut garage garden
    truck bus van train tram taxi bicycle bike motorcycle scooter boat ship yacht submarine plane airplane
    helicopter rocket wheel engine tractor ambulance wagon sled skateboard flower tulip daisy
    sunflower lily orchid bush grass leaf branch cactus mushroom forest mountain hill river lake sea ocean
    beach island desert volcano rock stone sun moon star cloud rainbow rain snowflake lightning storm man
    woman boy girl baby child person people king queen prince princess knight pirate wizard witch robot alien
    ghost monster zombie vampire angel fairy mermaid clown doctor nurse teacher soldier policeman firefighter
    farmer beard tail wing horn nose mouth eye tongue tooth paw leg arm hand finger hair fur skin shoe boot
    sock shirt dress skirt jacket coat sweater hoodie trousers jeans shorts tie belt glove mitten helmet mask
    necklace earring ring bracelet watch collar backpack bag purse umbrella cape cloak wig ponytail turban
    headphones phone computer laptop keyboard camera radio television book newspaper pen pencil brush guitar
    piano violin drum trumpet football basketball kite doll teddy toy puzzle dice card flag sign gift box
    basket bucket ladder hammer sword gun shield key coin diamond crystal pillow blanket towel carpet curtain
    statue fountain bench goal tablet charger
    """.split()
)  # fmt: skip
"""Things that are not drawn. Each is spelled letter by letter, as any word is that the tokenizer does not hold."""
VERBS = tuple(
    """
    beam bake brew carve chop craft flood forge grab juggle knit mould nail polish quilt sew smuggle sneak
    squeeze stuff weave zap hurl fling shove sling smear smother dab douse drench drizzle sprinkle whip beat
    build bundle charm conjure design dream engineer enchant fashion feed fold hammer hook invent jam lift load
    magic manipulate map march melt mimic model morph nudge operate pack patch pick pile plug pour press print
    promote pump rearrange remix renovate repair roll sculpt season seat settle slide smash snap sort spread
    squash stack stamp steer stick stir strap swing tailor tape tempt thread tweak twist update weld wish wreck
    zip
    """.split()
)  # fmt: skip
"""Verbs that may ask for anything: the words around them tell what."""
COLOURS = tuple(
    """
    green black purple orange brown grey gray violet turquoise cyan magenta golden silver beige teal maroon
    navy olive lime indigo lavender crimson scarlet emerald bronze ivory cream mint transparent rainbow
    striped dotted checkered dark bright colorful shiny neon metallic plaid spotted wooden furry fluffy pale
    tan amber khaki peach salmon ruby
    """.split()
)  # fmt: skip
_SHADES = ("dark blue", "light blue", "dark red", "deep red", "hot pink", "pale yellow", "navy blue", "light pink")
ADJECTIVES = tuple(
    """
    brighter darker lighter warmer colder sharper blurry blurrier cheerful sad happy scary spooky mysterious
    romantic colorful vintage modern old futuristic realistic cartoonish minimal elegant beautiful nicer
    better prettier funnier interesting exciting festive magical dreamy cozy clean professional artistic
    abstract vivid saturated pale dull
    """.split()
)  # fmt: skip
ATTRIBUTES = (
    "make {r} bigger", "make {r} smaller", "make {r} larger", "make {r} taller", "make {r} a little bigger",
    "make {r} huge", "make {r} tiny", "enlarge {r}", "shrink {r}", "scale {r} up", "resize {r}",
    "double the size of {r}", "{r} should be bigger", "{r} is too small", "{r} is too big",
    "{r} should be much smaller", "increase the size of {r}", "flip {r}", "mirror {r}", "tilt {r}", "spin {r}",
    "turn {r} around", "turn {r} upside down", "bend {r}", "stretch {r}", "move {r} up", "move {r} closer",
    "move {r} to the center", "shift {r} down", "put {r} on the left", "put {r} on the table", "put {r} in the middle",
    "place {r} behind {s}", "bring {r} forward", "{r} should be further away", "make {r} jump", "make {r} run",
    "make {r} sleep", "let {r} sit", "let {r} fly", "let {r} dance", "make {r} look happy", "make {r} look angry",
    "make {r} laugh", "make {r} cry", "{r} should look at the camera", "{r} should close its eyes",
    "open the mouth of {r}", "make {r} eat {s}", "{r} should play with {s}", "let {r} hold {s}", "make {r} {a}",
    "make {r} look {a}", "{r} should be more {a}", "make {r} wet", "make {r} younger", "make {r} older",
    "make {r} fatter", "make {r} thinner", "give {r} longer legs", "give {r} a smile", "make {r} less {a}", "blur {r}",
    "duplicate {r}", "copy {r}", "clone {r}", "add another one next to {r}", "count {r}", "what is {r}",
    "where is {r}", "is that {r}", "who made {r}", "zoom in on {r}", "focus on {r}", "outline {r}", "highlight {r}",
    "circle {r}", "add a shadow to {r}", "remove the shadow of {r}", "change the background behind {r}", "improve {r}",
    "fix {r}", "do something with {r}", "change {r}", "edit {r}", "change {r} somehow", "replace {r}", "turn {r} into",
    "color {r}", "make {r}", "paint {r}", "recolor {r}", "mix {r}", "{r}", "put {n} next to {r}", "add {n} behind {r}",
    "add {n} beside {r}", "place {n} in front of {r}", "draw {n} above {r}", "put {n} under {r}", "swap {r} and {s}",
    "exchange the places of {r} and {s}", "switch {r} and {s} around", "{r} and {s} should change places",
    "turn {r} next to {s} into {n}", "remove {r} behind {s}", "replace {r} near {s} with {n}", "do not touch {r}",
    "don't remove {r}", "do not change {r}", "keep {r}", "keep {r} as it is", "leave {r} alone", "{r} is fine",
    "i like {r}", "{r} is pretty", "what a nice picture of {r}", "thank you for {r}", "show only {r}",
    "tell me about {r}", "remove {r} and {s}", "delete both {r} and {s}", "turn {r} and {s} into {n}",
    "replace {r} and {s} with {n}", "remove {r} and turn {s} into {n}", "turn {r} into {n} and remove {s}",
    "paint {r} blue and remove {s}", "change {r} to {n} and {s} to {m}", "turn {r} into {n} and {s} into {m}",
    "make {r} {n} and delete {s}", "replace {r} with {n} and {s} with {m}", "get rid of {r} and also of {s}",
    "take away {r} as well as {s}", "remove everything but {r} and {s}", "add {n} to {r} and a hat to {s}", "{u} {r}",
    "{u} {r} please", "{r} {u} {m}", "{m} {u} {r}", "{u} {r} {m}", "{u} {r} {u} {m}", "{r} should {u}", "let {r} {u}",
    "make {r} {u} and {u}", "{u} {r} with {u}", "give {r} some {u}", "{r} {u}", "{r} looks {u}",
    "move {r} towards {s}", "fill {r} with {u}", "i hate {r}", "{r} is awful", "{r} is bad", "i am unhappy with {r}",
    "let {r} and {s} trade places", "put {r} where {s} is", "interchange {r} and {s}", "reverse {r} and {s}",
    "the places of {r} and {s} should be exchanged", "flip {r} and {s} around", "i am bored of {u}, give me {n}",
    "{u} is boring, i want {n}", "forget the {u}, show {n}", "would {u} fit {r}", "should {r} get a {u}",
    "{n} but without {u}", "the {u} and {r}", "{r} has a {u}", "is there a {u} on {r}", "add a {u} to {r}",
    "draw a {u} on {r}", "put a {u} on {r}", "a {u} for {r}", "can {r} have a {u}", "{r} with a {u}",
    "i don't care about {u}, i want {n}", "no {u}, {n} please", "would {r} look good with a {u}",
    "{r} needs {u} and {u}", "let {r} do something", "let {r} be happy", "make {r} move", "{r} should be in the {u}",
    "put {r} into a {u}", "put {r} inside the {u}", "{r} should have {u} eyes",
)  # fmt: skip
"""{r}, {s}: known things in the picture; {n}, {m}: known things that come; {a}: an adjective; {u}: an unknown word."""
GLOBAL = (
    "make the picture {a}", "make the photo {a}", "make the image look {a}", "make the picture more {a}",
    "make it {a}", "i want the picture {a}", "i want it to look {a}", "i want something more {a}",
    "the picture should be {a}", "the picture should look more {a}", "everything should look {a}",
    "make everything {a}", "can it be more {a}", "increase the contrast", "adjust the brightness", "fix the colors",
    "enhance the image", "improve the quality", "add a filter", "make it black and white",
    "turn the picture into a {u}", "make it a painting", "make it a drawing", "turn the photo into a sketch",
    "make it look like a painting", "in the style of {u}", "paint it like {u}", "draw it in {u} style",
    "make it a cartoon", "convert the photo into a comic", "make it look like a photo", "change the background",
    "change the background to snow", "change the background to a {u}", "blur the background",
    "replace the background with a beach", "make the background {a}", "put it in a {u}", "move everything to the {u}",
    "make it night", "make it day", "turn day into night", "make it snow", "let it rain", "make the sun shine",
    "add snow", "add a sunset", "add clouds", "add fog", "make the grass longer", "change the season to winter",
    "make it winter", "make it {u}", "add a {u}", "add some {u}", "add {u} to the picture", "put a {u} in the picture",
    "put a {u} there", "draw a {u}", "add a text that says {u}", "write {u} on it", "add a title", "add a frame",
    "add a border", "crop the picture", "crop it", "cut the picture in half", "resize the image", "zoom in",
    "zoom out", "rotate the picture", "flip the image", "mirror it", "remove the sky", "remove the grass",
    "remove everything", "delete all", "remove the {u}", "delete the {u} and the {u}", "remove the watermark", "undo",
    "undo that", "start over", "try again", "go back", "do it", "hello", "hi there", "good morning", "how are you",
    "who are you", "what can you do", "help", "thank you", "thanks a lot", "wow", "nice", "very good", "that is wrong",
    "this is bad", "i am not happy", "i love this picture", "no", "yes", "ok", "what do you see",
    "describe the picture", "how many animals are there", "what is this", "who took this photo", "why", "is it cold",
    "where was this taken", "tell me a joke", "write a poem about {u}", "what time is it", "what is a {u}",
    "surprise me", "do something fun", "make something up", "do whatever you want", "change something", "edit it",
    "change it", "fix it", "make it better", "save the picture", "print it", "send it to my {u}", "upload it",
    "what is the {u} doing", "turn everything into {u}", "change all the {u}", "make them all {a}", "remove them",
    "turn them into {n}", "add {n}", "add {n} to the picture", "put {n} in the picture", "i want {n}", "{n}",
    "{n} please", "put {n} on the grass", "draw {n}", "put {n} in the sky", "add two more", "add another one", "{u}",
    "{u} {u}", "{u} the {u}", "{u} {u} {u} {u}", "i want a {u}", "the {u} is {a}", "the {u} should {u}", "{u} is {u}",
    "can you {u}", "could you {u} it", "i {u} the {u}", "what about {u}", "make {u} of it", "let it {u}",
    "turn up the {u}", "more {u}", "less {u}", "no {u}", "too much {u}", "reduce the {u}", "increase the {u}",
    "replace the {u} with the {u}", "use more {a} colors", "turn the lights off", "change the {u}",
    "change the {u} of the {u}", "give it more {u}", "fewer {u} and more {u}", "make the {u} {a}",
)  # fmt: skip
_VOWELS, _CONSONANTS, _ENDINGS = (
    "aeiou",
    "bcdfghjklmnprstvwz",
    ("", "", "n", "r", "t", "s", "l", "ck", "ing", "er", "y", "ed"),
)


def word(rng: np.random.Generator) -> str:
    """Return a word that the tokenizer spells: of :data:`NOUNS`, or one that nobody has ever seen."""
    if rng.random() < 0.55:
        noun = one_of(rng, NOUNS)
        return noun + "s" if rng.random() < 0.1 else noun
    return invented(rng)


def verb(rng: np.random.Generator) -> str:
    """Return a verb that no list of :mod:`data.picturebook.grammar` holds."""
    return one_of(rng, VERBS) if rng.random() < 0.7 else invented(rng)


def invented(rng: np.random.Generator) -> str:
    """Return a made-up word of two or three syllables that resembles nothing that is drawn."""
    while True:
        letters = [one_of(rng, _CONSONANTS) + one_of(rng, _VOWELS) for _ in range(int(rng.integers(1, 4)))]
        made = "".join(letters) + one_of(rng, _ENDINGS)
        if len(made) > 3 and not any(made[:3] == s[:3] or s in made for s in SPRITES):
            return made


def colour(rng: np.random.Generator) -> str:
    """Return a colour that is not drawn."""
    return one_of(rng, COLOURS) if rng.random() < 0.85 else one_of(rng, _SHADES)


def thing(rng: np.random.Generator) -> str:
    """Return a thing that is not drawn, or a drawn one in a colour that is not."""
    roll = rng.random()
    if roll < 0.7:
        return word(rng)
    return f"{colour(rng)} {word(rng)}" if roll < 0.78 else f"{colour(rng)} {one_of(rng, SPRITES)}"


def introduced(rng: np.random.Generator) -> str:
    """Return what is not drawn, with its article."""
    return article(thing(rng)) if rng.random() < 0.85 else thing(rng)


def fill(rng: np.random.Generator, template: str, **slots: str) -> str:
    """Fill a template of this file; every {a} and {u} is drawn anew."""
    while "{u}" in template:
        template = template.replace("{u}", word(rng), 1)
    return template.replace("{a}", one_of(rng, ADJECTIVES)).format(**slots)
