"""Patterns of requests that have no answer, although most of their words are known.

{r}, {s}: things in the picture, {n}, {m}: things that come, {a}: an adjective, {u}: an unknown word, {o}: a plural of
the drawn world, {w}: something to wear, {c}: a colour. See :mod:`data.picturebook.patterns`.
"""

POSES = (
    "(rotate|turn|tilt|lean|twist|spin|flip|mirror|bend|stretch) {r} (by ninety degrees|to the side|to the left|"
    "slightly|sideways|the other way|so it faces us|around|upside down|a little)",
    "(move|shift|push|slide|drag|nudge|bring|shove) {r} (to the right|up a bit|further down|into the corner|to the "
    "edge|nearer|away from {s}|next to {s}|further left|to the front|to the back|closer to {s}|over there|away from "
    "the middle)",
    "(put|place|set|position) {r} (behind|beside|in front of|above|below|next to|under|close to|to the left of) {s}",
    "{r} (should|must|could|has to|ought to) (be|stand|sit|go|lie|move) (behind|beside|in front of|above|next to|"
    "under) {s}",
    "{r} (should|must|has to|could|needs to) be (three times|half|much|a lot|a bit|way|slightly) (as big|as small|"
    "bigger|smaller|larger|taller|wider|longer|thinner|fatter|shorter)",
    "(make|let|have) {r} (grow|shrink|look bigger|get smaller|be taller|become huge|get fat|stand up|lie down|look up|"
    "look away|turn its head|open its mouth|close its eyes|wave|jump over {s}|chase {s}|hug {s}|look at {s}|eat {s}|"
    "walk|swim|fly|dance|sing|sleep|sit down|smile at us|wink|cry|laugh|look sad|look happy|look angry|blush|bark|"
    "roar|breathe fire|glow|shine|blink)",
    "{r} (should|must|could|can) (smile|laugh|run|jump|walk|sleep|dance|fly|sing|look happier|look sad|look angry|sit "
    "down|stand up|look to the left|face the camera|chase {s}|eat {s}|hold {s}|kiss {s}|fight {s}|be asleep|be wet|be "
    "older|be younger)",
    "(give {r}|{r} should have|{r} wants|{r} with|i want {r} with|let {r} have|add|draw {r} with) (longer|bigger|"
    "shorter|smaller|pointy|floppy|fluffy|curly|sharp|green|two more|no) (ears|legs|teeth|eyes|wheels|paws|whiskers|"
    "spots|stripes|wings|horns|leaves|claws|feet|hair|fur)",
    "(make|paint|color|change) the (ears|legs|eyes|wheels|fur|head|stripes|face|feet|hair|doors|tail|nose) of {r} "
    "({c}|bigger|smaller|longer|to {c}|{a})",
    "the (ears|eyes|legs|fur|hair|face|wheels|head|teeth) of {r} should be ({c}|bigger|longer|{a}|smaller)",
    "(put|turn|wear|place|set) the {w} (on |)(upside down|the wrong way round|inside out|sideways|a bit higher|lower|"
    "straight)",
    "the {w} (should|must|could) (be|sit|look) (straighter|tilted|lower|higher|bigger|smaller|tighter|looser|longer|"
    "new|old)",
    "(tilt|straighten|loosen|tighten|resize|lift|raise|lower|fold|knot) the {w}( a bit| a little|)",
    "(let|have|make) {r} (take off|tip|hold|throw) the {w} and (smile|wave|run|dance|jump)",
)  # fmt: skip
"""Poses, places, sizes, bodies and faces."""
NUMBERS = (
    "(make|turn|change) {r} into (two|three|four|five|ten|a dozen|several|many|a bunch of|a crowd of) {o}",
    "(add|draw|put|i want|give me|show|there should be) (two|three|four|five|ten|more|some more|another two|many more|"
    "a few more|a dozen|hundreds of) {o}( there| please| to the picture| in the picture|)",
    "(double|triple|reduce|increase|halve) (the number of|the amount of) {o}",
    "(remove|delete|change|recolor|turn|paint) (one of|some of|half of|most of|any of|a few of|all but one of|either "
    "of) the {o}",
    "(i want|there should be|make it|draw) (fewer|less|more|only one of the|exactly four|at least five|a second row "
    "of) {o}",
    "(turn|change|make) {r} into {n} or {m}", "{r} should (become|be) (either |){n} or {m}",
    "(either {n} or {m}|{n} or maybe {m}) for {r}", "(replace|swap|exchange) {r} (with|for|by) {n} (or|and) {m}",
    "turn {r} or {s} into {n}",
    "(remove|delete|erase|take away) (either {r} or {s}|{r} or {s}|one of them|the other one|the others|all the rest|"
    "everyone else)",
)  # fmt: skip
"""Numbers that the drawn world cannot reach, one of several, and alternatives."""
TALK = (
    "(do not|don't|never|please do not|you must not|stop trying to) (turn|change|make|transform) {r} into {n}",
    "(do not|don't|never|please don't) (replace|swap|exchange) {r} (with|for) {n}",
    "(do not|don't|never) (give {r} a {w}|put a {w} on {r}|paint {r} {c}|make {r} {c}|recolor {r}|edit {r}|move {r}|"
    "hide {r})",
    "{r} (should|must) (not|never) (become|be|turn into|look like) {n}",
    "{r} (should|must) (stay|remain|keep being|be left) (as it is|the same|unchanged|{c}|there|in the picture|where "
    "it is|alone)",
    "(if|when|unless|once) {r} (is|was|were) (there|big|visible|{a}|old), (turn it into {n}|remove it|paint it {c}|"
    "make it {n})",
    "(is|was) {r} (really |)({n}|{c}|a real one|{a}|there before|on the left|bigger than {s})",
    "(why|how|when) (is|was|did) {r} (here|there|so {a}|so big|{c}|drawn|become {n}|get there)",
    "(which|what) (color|kind|size|breed|animal|shape) (is|was|has|does) {r}( have|)",
    "(what|who|where) is (next to|behind|near|above|in front of|on top of) {r}",
    "(how many|which|what) {o} (are there|do you see|are in the picture|can you see|are {c}|is the biggest)",
    "(do|can) you (see|find|recognize|count|like|know) {r}( in it|)",
    "(i like|i love|i am happy with|i am fine with|i enjoy|great job on|well done with|thanks for) {r}( a lot| very "
    "much| already|)",
    "(i do not|i don't) (like|love|understand|get) (this|the picture|the photo|the result|what you did|the last one|"
    "any of it|that one)",
    "(looks|that looks|this looks|it looks|now it looks|everything looks) (good|wonderful|fine|bad|awful|perfect|"
    "strange|amazing|odd)",
    "(thanks|thank you|cool|perfect|well done|good job|awesome|super|lovely|amazing)(,| and|!) (bye|that is it|i love "
    "it|see you|nice work|that looks nice|this is great|we are done|good work)",
    "(never mind|forget it|cancel that|leave it|nothing|that is all|no changes|keep it like this|leave it as it is|no "
    "edit please)",
    "(the dog|the cat|{r}) (is|looks) (cute|great|sweet|happy|fine|good|wonderful|perfect|ok) (already|as it is|like "
    "this|today)",
)  # fmt: skip
"""Negations, conditions, comments and questions."""
SCENERY = (
    "(make|let|could|can) (the sky|the sun|the grass|the snow|the ground|the night|the background|the weather|the "
    "light|the floor) (be |look |get |become |turn |)(darker|brighter|{c}|{a}|nicer|warmer|blurry|bigger|cloudy|gone)",
    "(change|replace|edit|fix|swap|improve|remove|erase|hide) the (sky|sun|moon|light|season|scenery|place|floor|"
    "ground|style|colors|horizon|landscape|stars|clouds|mood|lighting|perspective|camera angle|resolution|contrast|"
    "format)",
    "(change|replace|swap|turn) the (background|scenery|place|sky) (to|with|for|into|by) (a {u}|the {u}|night|snow|"
    "grass|something {a}|a {c} wall|a {a} place)",
    "(add|put|draw|i want|paint|show) (some|a few|many|two|lots of) {u} (up in the sky|on the ground|in the distance|"
    "around {r}|behind {r}|everywhere|on the grass|next to {r})",
    "(make|let) it (rain|snow|be night|be summer|be dark|get foggy|be spring|be morning|look like winter|be sunny|"
    "thunder)",
    "(redraw|paint|turn|make|render|convert|draw|show) (it|everything|the picture|the photo|this) (as|into|like) (a "
    "watercolor|a pencil drawing|pixel art|a cartoon|an oil painting|a comic|a sketch|a {u}|a poster|an old photo|a "
    "sculpture)",
    "(in|with) the (style|manner|look|colors) of (a {u}|{u}|a famous painter|the eighties|an old movie|a children's "
    "book|manga)",
    "(crop|cut|trim|rotate|resize|scale|compress|stretch|zoom|enlarge|flip) (out the right half|the edges|the picture "
    "a bit|it by half|the photo|the image to the left|to {r}|around {r}|off the border|into {r}|the upper half|the "
    "bottom away)",
    "(can you |could you |please |)(denoise|brighten|darken|blur|deblur|soften|restore|improve|enhance|sharpen up|"
    "touch up|clean up) (the image|the picture|everything|this picture|it a bit|the colors|the edges)",
    "make (it|the picture|everything|the scene|this) (more |less |a bit more |much |)({a}|realistic|spooky|fun|epic|"
    "artistic|alive|calm)",
)  # fmt: skip
"""Light, weather, places, styles, and the picture as a whole."""
UNKNOWN = (
    "(i want|give me|draw|show|put|i'd like|get me) a {u} (instead of|rather than|in place of|where|for) {r}( is|)",
    "a {u} (rather than|instead of|in place of|would be better than|would look nicer than|is nicer than|for) {r}",
    "(instead of|rather than|in place of) {r}(,|) (i want|draw|put|show|use|i'd like) a {u}",
    "(swap|take|switch) {r} out(,| and) (put|bring|drop) a {u} in", "{r} out(,| and) {u} in",
    "(instead of|rather than) the {u}(,|) (i want|draw|put|show) {n}",
    "{n} (rather than|instead of|in place of|where|is better than) the {u}( is|)",
    "(the|these|those|all) {u}s (bore me|are boring|are ugly|annoy me)(,|;) (i want|give me|draw|make them) {n}",
    "(wrap|tie|hang|put|drape|pop|stick) a {u} (around|on|onto|over) {r}",
    "(give|buy|bring|lend|hand) {r} (a|some|two) {u}",
    "{r} (needs|wants|deserves|should wear|would look good with|could use|should have|gets) a {u}( on its head|)",
    "(change|turn|swap) {r} (into|for) {n} (and give it a {u}|and put a {u} on it|with a {u}|that has a {u}|wearing a "
    "{u}|holding a {u})",
    "(change|turn|make) {r} (into|to) {n} (that|which) (is {a}|can fly|is sleeping|sits on {s}|looks at us|eats {s}|"
    "runs|breathes fire)",
    "(remove|delete|erase|lose|hide) the {u} (of|on|from|behind|next to|near) {r}",
    "(there is|i see) a {u} (behind|next to|near|on) {r}, (remove it|delete it|get rid of it)",
    "(mix|cross|fuse|blend|breed) {r} with a {u}", "half {r} and half {u}", "(mix|cross|blend) the {u} (with|and) {n}",
)  # fmt: skip
"""Unknown things in the shape of what is understood."""
PAIRS = (
    "(remove|delete|take out|get rid of|lose) {r}( and| and also|, then|, and then) (turn {s} into {n}|paint {s} {c}|"
    "give {s} a {w}|make {s} {n}|replace {s} with {n})",
    "(turn|change|make) {r} into {n}( and| and also|, then| while|, and) (remove {s}|paint {s} {c}|give {s} a {w}|"
    "hiding {s}|deleting {s})",
    "(paint|color|make) {r} {c}( and|, and also|, then) ({s} {c}|remove {s}|turn {s} into {n}|give {s} a {w})",
    "(both|all of) {r} and {s} (should be|should become|must be|must|should) ({n}|{c}|gone|go|disappear|be removed|"
    "swapped)",
    "(swap|exchange|switch|trade|flip|reverse) the (places|spots|colors|hats|sizes|roles|order) of {r} and {s}",
    "(let|have|make) {r} and {s} (swap|exchange|switch|trade) (places|spots|positions|hats|colors|seats|sides)",
    "(take|move|give|hand|pass|transfer) the {w} (from|of) {r} (and put it on|to|and give it to|over to) {s}",
    "{r} (should|must) (give|hand|pass|lend) (its|the|his|her) {w} to {s}",
    "(give|put|add) (a {w} to {r} and a {w} to {s}|{r} and {s} a {w}|a {w} on both {r} and {s})",
)  # fmt: skip
"""Edits of two things."""
PATTERNS = POSES + NUMBERS + TALK + SCENERY + UNKNOWN + PAIRS
