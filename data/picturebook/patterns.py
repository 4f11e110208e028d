"""Sentences in which the order of the two things varies, as patterns with alternatives: "(let|have) {n} replace {r}".

{r}: what is edited, {n}: what comes, {c}: a colour, {k}: a person. An alternative may be empty. Each pattern is drawn
as often as any other, however many sentences it makes.
"""

import re
from itertools import product

PATTERNS: dict[str, tuple[str, ...]] = {
    "change": (
        "{n} (rather than|in lieu of|as a substitute for|as an alternative to) {r}( here| there|)",
        "(i want|i need|we want|we need|give me|show me|draw|get me|i would like|i'd like|put) {n} (rather than|in "
        "lieu of|in exchange for|as a substitute for) {r}",
        "(could|can) (we|you) (have|see|get|draw) {n} (rather than|in place of|where you have) {r}",
        "(how about|why not|maybe|i vote for|let us have|let's have|let's see) {n} (in place of|in exchange for|and "
        "not) {r}",
        "{n} (in|at|on|to) (the place|the spot|the position|the location) of {r}",
        "(put|place|set|draw|show|i want|have) {n} (in the spot|in the position|at the position|in the location) of "
        "{r}",
        "(put|place|draw|show|i want|i need|bring) {n} (right where|exactly where|there where|at the place where) {r} "
        "(is|stands|sits|is now|is shown|was)",
        "(a picture|a photo|the same picture|the same scene) (with|of) {n} (instead of|rather than|in place of) {r}",
        "{n} (would be|would look|looks|is|will be) (better|nicer|prettier|cooler|more fun|cuter) than {r}( there|, i "
        "think|, so swap them|, so change it|)",
        "{n} (would be|is) a better (fit|choice|idea|match) than {r}",
        "{n} (should|must|has to|ought to|needs to|can|could|will|shall) (take|fill|have|get) (the place|the spot|the "
        "position|the role) of {r}",
        "(let|have|make) {n} (take|fill|get) (the place|the spot|the position|the role) of {r}",
        "(let|have) {n} (substitute|stand in|fill in|step in|swap in|go in|be there) for {r}",
        "(swap|trade|switch|bring|sub|put|drop|change) in {n} for {r}",
        "(swap|switch|bring|sub|put) {n} in (for|in place of|instead of) {r}",
        "(i'd|i would) (much |)(rather|sooner) (have|see|get|look at) {n} than {r}",
        "(i|we) (prefer|would prefer|like|would favor|want) {n} (rather than|much more than|over|better than) {r}",
        "{n} is (what|the thing) (i|we) (want|need|would like|had in mind) (where|in place of where) {r} (is|stands|"
        "is now)",
        "{n} is what {r} (should be|should become|has to be|must become|needs to become|turns into|ought to be|will "
        "be)",
        "{n} (is|was) what {r} (was meant|was supposed|is supposed) to be",
        "(i wanted|i asked for|i expected|we ordered|it was supposed to be|i meant) {n}, (and |)not {r}",
        "(my|our) {k} (wants|would like|would prefer|prefers|asked for|wishes for|loves) {n} (and not|instead of|"
        "rather than|more than) {r}",
        "(my|our) {k} (hates|dislikes|is afraid of|does not like|is bored of|is tired of) {r}, (so |)(draw|use|give "
        "us|show|put in|make it) {n}",
        "(instead of|rather than|in place of|in lieu of) {r}(,|) (draw|show|give me|put|use|i want|i need|we want|i "
        "would like|i would love|i would prefer|let there be|there should be|make it|have|show me) {n}",
        "(as a substitute for|as an alternative to|in exchange for) {r}(,|) (draw|use|put|i want|take) {n}",
        "(swap|switch|trade|take|change|sub|move|throw) (out {r}|{r} out)(,| and|, and|, then) (put|bring|add|place|"
        "draw|swap) (in {n}|{n} in)",
        "(swap|switch|trade|change|sub) (out {r}|{r} out) (for|with) {n}", "(trade|swap|exchange|turn) in {r} for {n}",
        "{r} (out|away|gone)(,| and|;) {n} (there|in its place|instead)",
        "{r} (must|should|can|needs to|ought to) (go|leave|disappear|make room|step aside)(,| and|, and) {n} (should|"
        "must|has to|can|shall|will) (come|appear|take its place|be there|be in its place|replace it)",
        "{r} (goes|leaves|disappears|is out|is gone)(,| and) {n} (comes|appears|takes its place|comes in)",
        "(i am|i'm) (done with|sick of|fed up with|bored of|over) {r}(,|:) (give me|show me|i want|draw|use|make it|"
        "let it be) {n}",
        "(i do not|i don't|we do not) (like|want|need|care for) {r}(,|;|.) (give me|show me|draw|use|make it|turn it "
        "into|put|i prefer|let it be|replace it with) {n}( there| instead|)",
        "{r} (bores me|annoys me|is too boring|is not my thing|is dull|is not nice|looks odd|does not work)(,|;|:) "
        "(make it|turn it into|replace it with|change it to|swap it for|i want|try|use) {n}",
        "(about|as for|regarding) {r}(:|,) (make it|turn it into|i want|it should be|change it to|try|replace it "
        "with) {n}",
        "{r}(?|:|...|,) (turn it into|change it to|replace it with|swap it for|i want it to be|it should be) {n}",
        "{r} (=>|becomes:|into:) {n}",
        "{r}(:|;) {n}( instead| now)",
        "(let me see|let's see|let us see|i want to see|show me|let me watch|watch) {r} (become|turn into|change into|"
        "transform into|turned to) {n}",
        "{r} (has to|shall|could|is going to|is about to|gets to become|may|might) (be|become|change into|transform "
        "into|turn out as|look like|end as|be changed to) {n}",
        "{r} (is|was) (being|getting) (turned into|replaced with|swapped for|changed to|changed into|exchanged for) "
        "{n}",
        "{r} (should|could|would|might) (actually|better|rather|definitely|just) be {n}",
        "{r} (should|must) (no longer|not) be {r} but {n}",
        "(turn|change|make) {r} (so it is|such that it is|until it is|so that it looks like|so it becomes) {n}",
        "(make it|have it|see to it|arrange it|set it up|do it|make it so|fix it) (so |)that {r} (is|becomes|turns "
        "into|was|looks like|has become) {n}",
        "(pretend|imagine|suppose|assume|say|let's say|picture|act as if|let's pretend) (that |){r} (was|were|had "
        "become|had been|has turned into) {n}",
        "(what|how) (if|about if|would it be if) {r} (was|were|became|turned into|looked like|changed to) {n}",
        "(why don't you|would you mind to|could you maybe|can you go and) (turn|change|make|transform) {r} into {n}",
        "(rethink|redesign|repaint|reinvent|rewrite|recreate|remodel) {r} (as|to be|like|into) {n}",
        "(promote|downgrade|morph|evolve|flip|magic|zap|mutate) {r} (into|to|to become) {n}",
        "(take|use|pick|grab|go to|see|find) {r} (and|then) (turn it into|change it to|transform it into|swap it for|"
        "switch it with|replace it by) {n}",
        "(i changed my mind|i have changed my mind|on second thought|after all|come to think of it)(,|:) {r} (should "
        "be|should become|must be|has to be|becomes) {n}",
        "(i changed my mind|i have second thoughts|i am not sure) about {r}(,|:) (make it|turn it into|i want|draw|"
        "use) {n}",
        "{r} (was|is) (a bad|the wrong|not a good|not the right) (idea|choice)(,|:) {n} (is better|would be better|"
        "fits better|is what i want)",
        "{r} (is not|isn't) (right|what i want|what we need|what i asked for)(,|;) (i want|make it|it should be|draw|"
        "we need) {n}",
        "(is it|would it be) (possible|ok|fine|an option) (to have|to see|to get|to draw|if there was|to put) {n} (in "
        "place of|where we now have|where you see|and not) {r}",
        "(is it|would it be) (possible|ok|fine) (to make|to turn|to change) {r} into {n}",
        "(can|could|may|might|should|will|would) {r} (become|turn into|change into|look like|be made into|be swapped "
        "for|be turned into) {n}",
        "(there is|i see|here is|we have) {r}(,|;) (but |)(i want|it should be|make that|i would prefer|i'd like) {n}",
        "where (there is|we have|you see|there was|we see|i see) {r}(,|) (there should be|i want|i want to see|put|"
        "draw|show|i'd like|we need|place|let there be) {n}",
        "(turn|let) {r}(,| be|) (not {r} but|no longer {r} but|into) {n}",
        "(do me a favor|be so kind|do me a favour|be nice|help me out|do something for me)(,| and) (turn|change|make) "
        "{r} into {n}",
        "(do me a favor|be so kind|do me a favour|help me out)(,| and) (replace|swap|exchange|trade) {r} for {n}",
    ),
    "recolour": (
        "{c} (would|might|could|should|will) (look|be|fit|work|match) (good|nice|nicer|better|great|perfect|best) (on|"
        "for|with) {r}",
        "{c} (would suit|suits|would fit|fits|is right for|is the color for|is the right color for|is perfect for) "
        "{r}( more|)",
        "{c} is (the best|a good|a nice|a nicer|the right|the perfect|my favorite) (color|colour|shade|tone|choice) "
        "(for|on) {r}",
        "{r} (would|might|could) (look|be) (better|good|nice|great|cooler|lovely|cuter|best) (in|when painted|if it "
        "were|if it was) {c}",
        "(i'd|i would|we would|i) (prefer|like|love|want|need|fancy) {r} (to be|in|to look|to have|painted|if it was) "
        "{c}",
        "(i'd|i would) (rather|sooner) (have|see) {r} (in |){c}",
        "(my|our) {k} (wants|would like|would prefer|prefers|likes|would love) {r} (to be |in |){c}",
        "(make|let|have|get) {r} (appear |be |become |turn |go |)(all |completely |fully |more |)(in |){c}",
        "(go|let's go|can you go|could we go|we should go|i want to go) (with|for) {c} (on|with) {r}",
        "(give|get) {r} (a {c} coat|a coat of {c} paint|some {c} paint|a {c} paint job|a {c} finish|a {c} look|a {c} "
        "tone|a {c} surface|a fresh {c} color|a new {c} color)",
        "(could|can|may|would|should) {r} (get|have|receive|use) (a {c} coat|a {c} color|a {c} paint job|some {c} "
        "paint|a bit of {c})",
        "{r} (needs|wants|deserves|gets|should get|has to get|must get|would like) (a {c} coat of paint|a {c} paint "
        "job|a {c} finish|a touch of {c}|a layer of {c}|a {c} tone|some {c} color)",
        "(put|use|spread|brush|rub|smear|splash|spray|pour|add|slap) (some |a layer of |a coat of |a bit of |)({c} "
        "paint|{c} color|{c}) (on|onto|over|all over|to) {r}",
        "(use|take|choose|select|pick) (some |)({c} paint|the {c} color|{c} color|{c}) (for|on|to paint) {r}",
        "{r} (is not|isn't|is still not|is not yet) {c}(,|;|.) (change that|make it so|please correct it|so paint it|"
        "please paint it|make it)",
        "(why is|how come) {r} (still |)not {c}(?|? change it|? make it so)",
        "{r} (has|is in) (the wrong|an ugly|a boring|a dull) (color|colour)(,|:|;) (make it|paint it|it should be|i "
        "want it in|change it to|use) {c}",
        "(i do not|i don't|we don't) like (the color of {r}|how {r} is colored|the colour of {r})(,|;|.) (make it|use|"
        "take|paint it|change it to|{c} would be better, so paint it|i prefer) {c}",
        "(about|as for|regarding) {r}(:|,) (make it|paint it|i want it in|it should be|try|it must be) {c}",
        "{r}(?|:|...|,) (make it|paint it|color it|i want it in|it should be) {c}",
        "{r} (=>|>>|=|becomes:|to|in:) {c}",
        "{r} in (a nice |a bright |a lovely |a beautiful |the color |a shade of ){c}",
        "(make|turn|change|paint|let|have) {r} (into a {c} one|so that it is {c}|so it becomes {c}|until it is {c}|"
        "such that it is {c}|become {c})",
        "(see to it|arrange it|do it|set it up|make it so|fix it so) that {r} (is|becomes|turns|looks|gets) {c}",
        "(recolor|recolour|restain|redo|respray) {r} (in |to |to be |as |){c}",
        "{r} (should|must|needs to|shall|could|might|ought to|is going to|may) (be|become|turn|go|look|be colored|be "
        "colored in|appear) {c}( now| please|)",
        "{r} (should|could|would) (really|actually|better|rather|definitely) be {c}",
        "(can|could|may|might|should|will|would) {r} (become|turn|get|look|go|be painted|be made) {c}",
        "(is it|would it be) (possible|ok|fine|an option) (to have|to see|to get|to make|to paint) {r} (in |){c}",
        "(pretend|imagine|suppose|assume|picture|let's pretend) (that |){r} (was|were|had become|is|turned) {c}",
        "(what|how) (if|about if|would it be if) {r} (was|were|became|turned|looked|changed to) {c}",
        "(let me see|let's see|let us see|i want to see|show me) {r} (become|turn|go|painted|colored|in|all) {c}",
        "(i changed my mind|on second thought|after all)(,|:) {r} (should be|should become|must be|in|becomes) {c}",
        "(take|use|pick|grab|see|find) {r} (and|then) (paint it|make it|color it|turn it|dye it) {c}",
        "(only|just) (make|paint|color) {r} {c}(, nothing else|, leave the rest|)",
        "{r} (used to be|was once|was always|is normally|is usually) {c}(, make it so again|, bring that back|, paint "
        "it like that)",
        "(the color|the colour|the paint|the shade|the tone) of {r} (should|must|has to|needs to|could|shall) (be|"
        "become|change to|turn to|go to) {c}",
        "(from now on|as of now|today|for today) {r} (is|will be|should be|has to be) {c}",
    ),
    "add": (
        "{n} (would|might|could|will) (look|be|suit) (good|nice|great|cute|lovely|perfect|funny|fun|cool|better) (on|"
        "for) {r}",
        "{r} (would|might|could|will) (look|be) (good|nice|great|cute|lovely|funny|better|cuter|prettier|happier) (in|"
        "with|wearing|if it wore|if it had) {n}",
        "(would|does|do you think) {r} (look|looks) (good|nice|cute|better|great) (in|with|wearing) {n}(? do it|? add "
        "it|? show me|? let me see)",
        "(pop|slap|throw|set|plonk|plop|drop|lay|pull|slip) {n} (on|onto|over|on top of|upon) {r}",
        "(put|place|set|add|draw|stick|pop) {n} (on top of|on the head of|onto the head of|at the top of|atop) {r}",
        "(put|place|set|stick|pop|draw|i want) {n} on (the head of {r}|top of {r}|the face of {r}|the body of {r})",
        "(wrap|tie|hang|put|drape|place|fold) {n} (round|about|around the neck of|over|on) {r}",
        "(fit|deck|deck out|kit out|dress|furnish|supply|adorn|crown|top|style|doll up) {r} (with|in|out with|up "
        "with) {n}",
        "(get|stuff|squeeze|help|dress|place) {r} (into|in) {n}",
        "(make|let|have) {r} (put on|have|get|try|try on|show off|wear|own|sport|be seen in|be in|carry|receive) {n}",
        "{r} (must|has to|needs to|ought to|shall|could|can|may|will|gets to|is going to) (wear|have|get|put on|be "
        "wearing|be given|carry|be dressed in|receive|be in|try on|own) {n}",
        "{r} (should|could|must|would) (really|also|definitely|better|always|just) (wear|have|get|put on) {n}",
        "{r} (wants|deserves|requires|could use|is missing|lacks|is waiting for|asks for|begs for|dreams of|wishes "
        "for|has always wanted) {n}( on|)",
        "{r} is (a king|the boss|a star|the chief|a queen|cold|in the sun|at a party|so fancy|the best|on holiday|"
        "famous|the leader)(,|,| and|, so| so) (it|he|she) (should wear|needs|gets|should have|must wear|has to wear|"
        "wants) {n}",
        "(it is|it's) (cold|winter|sunny|summer|party time|the birthday of {r}|hot|carnival)(,| so|, so) (give {r}|"
        "put on {r}|{r} needs|{r} should wear|{r} gets|{r} wears) {n}",
        "(can|could|may) (we|you|i) (get|have|see|put|add|place|draw|stick) {n} (on|on top of|upon) {r}",
        "(can|could|may|might|should|will|would) {r} (wear|have|get|put on|try|be given|be wearing|be dressed in) {n}",
        "(there should|there must|there could|there has to|there needs to|let there|should there not) be {n} (upon|"
        "over|on top of|on the head of) {r}",
        "(i'd|i would|we would|i) (love|want|prefer|need|wish) (to see |to have |)({n} on {r}|{r} with {n}|{r} in {n}|"
        "{r} wearing {n}|{r} dressed in {n})( on|)",
        "(my|our) {k} (wants|would like|would love|likes|asked for) ({n} on {r}|{r} with {n}|{r} in {n}|{r} to wear "
        "{n}|{r} to have {n})",
        "(let me see|let's see|let us see|show me|show|i'd love to see|i want to see) {r} (wear|with|in|wearing|put "
        "on|having|dressed in|sporting) {n}( on|)",
        "{n} (on|upon|on top of|onto) {r}( please| now| would be nice|, please|)",
        "(a gift|a present|something) for {r}: {n}",
        "{r} (receives|is getting|is given|will be given|has been given|puts on|is going to wear|now wears|now has|is "
        "handed|is dressed in|walks in|comes in|now comes with) {n}",
        "{r}(:|;|,|?) (give it|add|put on|it should wear|it needs|with|let it wear|it gets|it should have|and) {n}",
        "{r} (&|plus|+) {n}( on it| on| please)",
        "(see to it|arrange it|make it so|do it|set it up|fix it so) that {r} (wears|has|gets|is wearing|puts on|is "
        "given) {n}",
        "(pretend|imagine|suppose|assume|picture|let's pretend) (that |){r} (wore|had|was wearing|has|wears|got) {n}",
        "(what|how) (if|about if|would it be if) {r} (wore|had|was wearing|got|were wearing|put on) {n}",
        "(take|use|pick|grab|see|find|go to) {r} (and|then) (put {n} on it|give it {n}|add {n} to it|dress it in {n}|"
        "let it wear {n})",
        "(is it|would it be) (possible|ok|fine|an option) (to have|to see|to get|to put|to draw) ({n} on {r}|{r} with "
        "{n})",
        "{r} (is not wearing|does not wear|isn't wearing|does not have|has not got) {n}( yet|)(,|;|.) (change that|"
        "add it|please add one|it should)",
        "(why is|how come) {r} (still |)not wearing {n}(?|? add it)",
        "{r} (looks|is) (sad|boring|plain|naked|bare|cold|empty|lonely) without {n}",
        "(from now on|today|this time|as of now) {r} (wears|has|gets|should wear|needs|must have) {n}",
        "(accessories for|clothes for|an outfit for|a new look for) {r}: {n}",
        "(do me a favor|be so kind|help me out|be nice)(,| and) (give {r} {n}|put {n} on {r}|dress {r} in {n})",
    ),
    "remove": (
        "(no more|no|not any more|never again|none of) {r} (for me|in here|in it|there|any more|anymore)",
        "{r} (is|was) (not wanted|unwanted|of no use|in my way|blocking the view|too ugly|too distracting|one too "
        "many|superfluous|out of place|a distraction|no longer wanted)(, remove it|, get rid of it|, take it out|, "
        "away with it|)",
        "{r} is (blocking the rest|in the wrong place|an eyesore|ruining it|spoiling the scene|not nice)(,|;|:|, "
        "please) (remove it|get rid of it|take it out|make it vanish|make it disappear|let it disappear|delete it|"
        "erase it|away with it)",
        "{r} (must|has to|should|needs to|can|may|could|ought to|shall) (disappear|be out|be deleted|be hidden|be "
        "left out|be erased|be dropped|get out|leave the picture|be taken away|be cut)( now| please| completely|)",
        "{r} (should not|must not|shouldn't|mustn't|cannot|can't|ought not to) (be in it|be here|stay|appear|be in "
        "the scene|be part of it|remain|be there any more|be in the image)",
        "{r} (does not|doesn't) (belong in|need to be in|have to be in|fit in|fit into|add anything to) (it|the photo|"
        "this picture|the scene|the image)",
        "(i don't|i do not|we don't|nobody) (want|need|wants|needs|like|likes) (to see |to have |to look at |){r} (in "
        "it|in this photo|any more|any longer|there any more|around|in the scene)",
        "(i|we|you) (could|can|would) (easily |well |happily |)do without {r} (in it|there|in the scene|, i think)",
        "(get|take|pull|throw|kick|cut|edit|wipe|move|drag|carry|toss|chuck) {r} (out of the scene|out of the photo|"
        "from the scene|off the picture|out of sight|out of view|out of my sight|from there|away from there)",
        "(scrub|scratch|edit|cross|black|brush|blot|weed|filter|cancel|phase|scoop) out {r}",
        "(lose|hide|drop|scrap|dismiss|void|cancel|wreck|zap|clear out|clean off|strike|do in|pluck|vanish|nuke|clip "
        "off) {r} (from it|please|completely|for good|, thanks|from the scene|from the photo|entirely)",
        "(photoshop|airbrush|retouch|magic|edit|wish|crop|clone) {r} (out|away|out of it|out of the picture|out of "
        "there|out of here)",
        "(can|could|would|will) (you|we) (lose|hide|drop|leave out|cut out|do it without|make it "
        "without|show it without) {r}",
        "(can|could|may|should|will|would) {r} (be gone|vanish|be hidden|leave|be left out|be taken out|be removed|be "
        "deleted)",
        "(leave|keep|let) (everything|all|the rest) (else |)(as it is|untouched|there|where it is)(,| but|, but) "
        "(without {r}|remove {r}|{r} goes|{r} has to go|not {r})",
        "(everything|all of it|all the rest|the rest|everybody) (is fine|may stay|is good|looks good|is nice|stays|"
        "remains) (apart from|but|but not|, only not) {r}",
        "(only|just) {r} (has to go|must go|should go|must be removed|should be gone|bothers me|is too much|has to "
        "leave)",
        "(there is|there's|i see|i can see|i spot|you can see) {r} (that|which) (should|must|has to|needs to|can|"
        "ought to) (go|be gone|disappear|leave|be removed|vanish)",
        "(there is|there's|i see) {r} (that|which) (i do not want|i don't want|nobody needs|should not be there|i "
        "don't need|bothers me|spoils it|does not belong)",
        "(is it|would it be) (possible|ok|fine|an option) (to lose|to hide|to drop|to remove|to have it without|to "
        "delete|to see it without|to make it without) {r}",
        "(is it|would it be) (possible|ok|fine) (to have|to make|to let|to see) {r} (go|vanish|gone|removed|go away)",
        "(i'd|i would|we would|i) (like|love|prefer|want|need) (it|the picture|the photo|the scene|this) (without|"
        "with no|minus|to be without) {r}",
        "(my|our) {k} (hates|dislikes|is afraid of|does not like|is scared of|does not want) {r}(,|, so|;) (remove it|"
        "take it out|delete it|get rid of it|erase it)",
        "(my|our) {k} (wants|would like|would prefer) {r} (gone|removed|out|to be gone|to disappear|away)",
        "(the same|this|the|same) (picture|photo|scene|image) (minus|with no|but no|but minus|just no|except for) {r}",
        "(imagine|pretend|picture|suppose) (there is no|there was no|there were no|it without|this without|the scene "
        "without) {r}",
        "(what|how) (if|would it be if) {r} (was not here|were gone|had never been there|vanished|disappeared|left|"
        "went away)",
        "(make|have|let|see) {r} (vanish|go|be gone|get lost|cease to exist|leave the scene|leave the picture|be "
        "away)( please| now|)",
        "(see to it|arrange it|make it so|do it so|fix it so) that {r} (vanishes|is removed|is no longer there|is out|"
        "leaves|is not there)",
        "{r}(:|?|,|;|...) (remove it|delete it|take it away|get rid of it|away with it|it has to go|it must go|gone|"
        "erase it|out)",
        "{r} (=>|>>|=) (nothing|gone|empty|empty space|background|delete|removed)",
        "(nothing|just background|empty space|only background) (where|there where|in place of where) {r} (is|was|"
        "stands|sits)",
        "(minus|delete:|remove:|erase:|less) {r}",
        "{r} (is no longer|isn't|is not really|is hardly) (needed|required|necessary|wanted|useful)( here| any more|)",
        "(do me a favor|be so kind|help me out|be nice)(,| and) (remove {r}|get rid of {r}|lose {r}|take {r} away|"
        "hide {r})",
        "(one thing less|less clutter|clean it up|make it simpler|declutter it)(:|,) (remove|no|without|delete|take "
        "away) {r}",
    ),
    "mix": (
        "(what|how) (would|does|might) (a mixture|a hybrid|a mash|a fusion|a combination|something half way) (of|"
        "between) {r} and {n} look( like|)",
        "(i'd like|i would like|i would love|show me|give me|draw|let me see|let's see|make|produce) (to see |)(a "
        "cross|a hybrid|a mash|a fusion|a combination|a cross breed|a mash up|a blend) (of|between|out of|from|made "
        "of) {r} and {n}",
        "(make|create|draw|generate|produce|build|form|do) (a cross|a hybrid|a fusion|a combination|a mixture|a mix) "
        "(of|between|from) {r} (and|with) {n}",
        "(fuse|breed|pair|meld|morph|interbreed|crossbreed|mingle|mash|knit|bond|graft|merge|splice|melt) {r} (and|"
        "together with|up with|and also|into one with) {n}( together|)",
        "(pair|meld|mingle|morph|mash|interbreed|graft|bond) {r} with {n}",
        "(put|add|mix|inject|pour|work|stir|bring|blend) (a bit of|a little|a piece of|half of|a touch of|something "
        "of) {n} (into|in|to) {r}",
        "{r} (must|has to|needs to|could|shall|can|will|is going to) (be|become|turn|look) (half|partly|part|a half|"
        "in part|fifty percent) {n}( too|)",
        "{r} (should|must|has to|needs to|could|shall) (be|become|turn into) (a mix with|a cross with|a hybrid with|a "
        "mixture with|one half) {n}",
        "(half|one half) {r}( and|, and|, the other) half {n}( now|)",
        "(half|partly) {n}( and|, and) (half|partly) {r}",
        "(make|turn|let|change|morph|have) {r} (into half|half way into|halfway into|partly into|into something half|"
        "be partly|become partly|become half) {n}",
        "(make|turn|change) {r} into (a hybrid of|a cross of|a fusion of|a blend of|a combination of) {r} and {n}",
        "(my|our) {k} (wants|would like|would love) (a mix of|a hybrid of|a cross between|a blend of) {r} and {n}",
        "(can|could|would) you (mix|fuse|breed|blend|mash|merge|combine) {r} (and|together with) {n}",
        "(can|could|may|should|will|would) {r} (be|become) (half|partly|a mix with|crossed with|fused with|blended "
        "with) {n}",
        "(pretend|imagine|suppose|picture|let's say) {r} (was|were|had been) (half|partly|mixed with|crossed with|"
        "fused with) {n}",
        "(what|how) (if|would it be if) {r} (was|were|became) (partly|half|a mix with|fused with|bred with) {n}",
        "{r} (x|mixed up with|merged with|fused with|bred with|meets|blended with|cross) {n}",
        "{r}(:|?|,) (mix it with|half|make it half|cross it with|blend it with|fuse it with|breed it with) {n}",
        "(let|have) {r} (be fused with|be bred with|be half|mate with|be crossed with|breed with|combine with) {n}",
        "(the|a) (hybrid|fusion|cross|combination|blend|mixture) (of|between) {r} and {n}( please| would be nice|)",
        "(something|an animal|a creature|one animal|a pet) (that is|which is|that looks|which looks) (half|partly) "
        "(like |){r} and (half|partly) (like |){n}",
        "{r} (needs|gets|should get|should have|has) (some|a bit of|a touch of|a part of|traits of|the traits of|"
        "features of) {n}",
        "(take|use|pick|grab|see) {r} (and|then) (mix it with|cross it with|blend it with|fuse it with|breed it with|"
        "merge it with) {n}",
        "{n} and {r} (should be|become|fused|mixed|blended|merged|melted) (into one|in one|together|as one)",
    ),
}  # fmt: skip
"""By kind of edit."""
PEOPLE = tuple(
    """
    daughter son wife husband sister brother mom dad boss friend grandma grandpa uncle aunt client niece nephew mother
    father cousin roommate neighbor colleague kid partner
    """.split()
)
"""Who may want an edit."""


def expanded(pattern: str) -> tuple[str, ...]:
    """Return every sentence that a pattern makes, in a fixed order, with single spaces and none before punctuation."""
    texts = [part.split("|") for part in re.split(r"[()]", pattern)]
    sentences = (re.sub(r" +([,;:?.])", r"\1", " ".join("".join(chosen).split())) for chosen in product(*texts))
    return tuple(dict.fromkeys(sentences))
