"""Sentences about colours and clothes that fit only some edits, as patterns (:mod:`data.picturebook.patterns`).

{r}: what is edited, {n}: what comes, {c}: a colour, {o}: the old colour, {b}: the bare noun of what is edited, {a}: the
animal that wears it.
"""

CHANGES_OF_CLOTHES = (
    "(instead of|rather than) (wearing |){r}(,|) (let|make) (it|him|her|them) (wear|put on|have) {n}",
    "(let|have|make) (it|him|her|the animal) (wear|put on|try on|have) {n} (instead of|rather than|in place of) {r}",
    "(take|pull) (off {r}|{r} off)(,| and|, and|, then) (put on|add|put|draw) {n}( there| on|)",
    "(lose|drop|ditch|remove|take off|get rid of) {r} (and put on|and add|and wear|for|and use) {n}",
    "(swap|exchange|change|switch) {r} (in for|out for|over to|for|against) {n}",
    "(it|he|she) (should|must|could|has to|wants to|would rather) (wear|have|put on) {n} (and not|not|instead of|"
    "rather than) {r}",
    "{n} (on its head|on his head|on her head|to wear) (instead of|rather than|and not) {r}",
    "(it|he|she) (took off|lost|does not like|is tired of) {r}(,| and|, so) (now wears|wants|put on|gets|give it) {n}",
    "(upgrade|switch|change over|convert|move) {r} (into|over to) {n}",
    "{r} (is out of fashion|is so last year|does not suit it|is too silly)(,|;|:) (give it|use|let it wear|put on|"
    "make it) {n}",
    "{r} (should be|would be better as|could be) {n}",
)  # fmt: skip
"""Changes of what an animal wears."""
OTHER_COLOURS = (
    "(change|turn|paint|switch|set|alter) {r} from {o} (to|into) {c}",
    "(make|paint|color) {r} {c}(,| and|, and|) not {o}", "{r} (should|must|has to|needs to) be {c}(,| and|) not {o}",
    "{r} (in |){c}(,|) (not|instead of|rather than) {o}",
    "(a|the|one) {c} {b} (instead of|in place of|not|and not|, not) (a|the|this|that) {o} (one|{b})",
    "(i want|i'd like|i need|we want|give me|show me|draw|i would prefer|i'd rather have|let's have|put|can i have|"
    "could we have) a {c} {b} (instead of|in place of|rather than|not|and not|where) (a|the|this) {o} one",
    "(a|one) {c} {b} (rather than|in lieu of|as a substitute for) (a|the|this|that) {o} (one|{b})",
    "(how about|what about) (a|the) {c} {b} (instead of|in place of|and not) (a|the|this) {o} (one|{b})",
    "(a {c} {b}|{c}) (is|would be|looks|would look) (better|nicer|prettier|cooler) than (a|the|this) {o} (one|{b})",
    "{c} (instead of|rather than|in place of|and not|not) {o} (for|on) {r}",
    "{r}(:|,|;|) (not {o} but {c}|{c} not {o}|{o} to {c}|from {o} to {c}|{o} => {c}|no {o}, {c})",
    "(replace|swap|exchange|switch) the {o} (color |paint |colour |tone |)(of|on|from) {r} (with|by|against|to) {c}",
    "(turn|make|change|paint) the {o} (of|color of|paint of) {r} (to|into) {c}",
    "(turn|make|change|paint|repaint) the {o} {b} (into a {c} one|{c}|to {c}|in {c})",
    "(replace|swap|switch|exchange) the {o} {b} (for|with|by) a {c} (one|{b})",
    "{r} (is|was) {o}(,|;| and|, but| but) (make it|it should be|now it is|paint it|i want it|it has to be|i'd like "
    "it) {c}",
    "(i|we) (prefer|like|want|would like|would prefer) a {c} {b} (to|more than|over|and not) (the|a) {o} one",
    "(no|not the|not a) {o} {b}(,| but| but rather|;) (a {c} one|the {c} one|{c}|make it {c})",
    "the {b} (that is|which is|painted|that looks) {o} (should be|has to be|must be|becomes|should turn|goes) {c}",
    "(everything|all) {o} (on|about|in) {r} (should be|becomes|must be|has to be) {c}",
    "{o} (is wrong|is not nice|does not fit|is boring|is ugly) for {r}(,|;) (use|take|make it|i want|paint it) {c}",
    "(from|out of) {o} (make|turn to|go to|switch to) {c}(:|,| for) {r}",
    "(less {o}, more {c}|goodbye {o}, hello {c}|{o} out, {c} in)(:|,| for| on) {r}",
    "{c} {b}(,| and|) (never|no|and no) {o}( {b}| one|)",
)  # fmt: skip
"""Changes of a colour that name the old one, too, which the reference then leaves out."""
TAKINGS = (
    "(take|pull|get|rip|slip|tear|lift) {r} (off|off of|from) {a}", "(strip|rid|relieve|free|clear) {a} (from|off) {r}",
    "(deprive|rob|free|rid) {a} of {r}",
    "(let|have|make) {a} (drop|lose|remove|put away|pull off|hand over|go without|be without) {r}",
    "{a} (should|must|has to|needs to|could|can|will) (lose|drop|remove|not have|be without|stop wearing|get rid of|"
    "go without|hand over|put down) {r}",
    "{a} (looks|is|would look|would be) (nicer|better|cuter|prettier|good) (without|with no|if it did not wear) {r}",
    "{a} (does not|doesn't) (need|want|like|look good with|look good in) {r}( at all|)(,|;|.) (remove it|take it off|"
    "take it away)",
    "(i want|i'd like|i would like|i prefer|show me|can i see|let me see|give me) {a} (without|with no|minus|not "
    "wearing) {r}",
    "(no|no more) {w} (for|on) {a}( please| any more| anymore|)",
    "(why does|why is) {a} (wear|wearing) {r}? (take it off|off with it)",
    "{a} (but |just |)(minus|with no|not wearing) {w}", "undress {a}: {r} (goes|comes off|has to go|is too much)",
)  # fmt: skip
"""Ways to take what an animal wears."""
FRAGMENTS = (
    "(a|one|the|) {c} {b} (please|now|would be nice|instead of this one|if possible|would be great)",
    "(i want|i'd like|i need|we want|show me|give me|draw) a {c} {b}( here| there|)",
    "{b}(:|,| in|, in) {c}", "(my|our|this|that) {b}, (but |in |now |but in ){c}", "{c} {b}",
)  # fmt: skip
"""Changes of colour that name nothing but the thing in its new colour."""
