"""English for what is said of any service.

Templates as in `templates`; the empty hole ``{}`` takes what the comment above each list says.
"""

from __future__ import annotations

# The user.

GREETINGS = [
    "[Hi|Hello|Hey|Hi there|Hello there|Good morning|Good afternoon|Good evening]"
    "[.|!|, I hope you can help me.|, I have a request.|, I could use a hand.]",
]

# {} is a verb phrase such as "book a table in Austin".
OPENINGS = [
    "[I'd like to|I want to|I need to|I would like to|I'm looking to|I'm trying to] {}",
    "[I was hoping to|I'm hoping to|I'd love to|I have to|I'm planning to] {}",
    "[Can you help me|Could you help me|Would you help me] {}?",
    "[Can|Could|Would] you help me to {}[, please|]?",
    "[Please help me|I could use some help] to {}",
    "[My plan is to|What I need is to|I've decided to|The idea is to] {}",
]

# The same, after something else was talked of.
NEXT_OPENINGS = [
    "[I'd also like to|I also need to|I also want to|Now I'd like to|Next, I'd like to] {}",
    "[Can|Could|Would] you also help me to {}[, please|]?",
    "[While I have you|One more thing|Another thing|There's something else]: I [need|want] to {}",
    "[After that|On top of that|Besides that|Then] [I'd like to|I want to] {}",
]

# The same, to go on with an entity that was found.
FOLLOW_UP_OPENINGS = [
    "[I'd like to|I want to|Let's] {}",
    "[Can|Could] you help me to {}[, please|]?",
    "[Now|Then] [let's|I'd like to|I want to] {}",
    "Please help me to {}",
]

# {} is a row of fragments: other values after the system could not do what was asked.
RETRIES = [
    "[In that case|Then|Okay, then|Alright, then|Hmm, then] let's try it {}[| instead]",
    "[Can|Could] you try [it|again] {}[, please|| instead]?",
    "[What|How] about {}[| instead]?",
]

# {} is a row of fragments such as "in Austin on March 4th", after an opening sentence.
PREFERENCES = [
    "[Preferably|Ideally|If possible,|Best would be one] {}",
    "[It should be|I'd like it to be|I'm thinking of one] {}",
]

# The same, after the answer to a question.
FURTHER_PREFERENCES = [
    "[Preferably|Ideally|If possible,|And please,|And, if possible,] {}",
]

# {} is a row of fragments that answers a question.
ANSWERS = [
    "{}[, please|]",
    "{} [please|would be great|would be good|if possible|if you can]",
    "[I'd say|I'm thinking|Probably|Ideally|Let me think... |Hmm,] {}",
    "[Oh, |Sure, |Okay, |Well, |Ah yes, |Right, |Let me see, |Good question, ]{}[, please|]",
]

# {} is a value that answers a question.
BARE_ANSWERS = [
    "{}[, please|]",
    "{} [please|would be great|would be good|is fine|sounds good|if possible|works for me]",
    "[Let's say|I'd say|Make that|I'm thinking|Probably|Let me think... |Hmm,] {}",
    "[Oh, |Sure, |Okay, |Well, |Ah yes, |Right, ]{}[, please|, if you can|]",
]

# {} is a clause such as "the pick-up city should be Austin".
WISHES = ["[And |Well, |Please note that |]{}"]

# {} is a fragment: another value than the one that the system repeated.
CORRECTIONS = [
    "[No|Not quite|Almost|Actually, no|Hold on|Wait|Sorry|Nearly], "
    "[make it|I'd rather have it|I'd prefer it] {}[| instead]",
    "[No|Not quite|Almost|Hmm, no|Oh, sorry|One change]: {}[, please| instead, please| instead]",
    "[Could you|Can you|Would you] change that[: |, please: ]{}[| instead]",
    "[No,|Sorry,|Hmm,] I [changed my mind|misspoke], {}[, please| instead|]",
]

# {} is a fragment: the user wants other results.
CHANGES = [
    "[What|How] about [something|one] {}[| instead]?",
    "[Is there|Do you have|Can you find|Do you see|Could you find] [anything|something|one] {}"
    "[| instead]?",
    "[I'd rather have|I'd prefer|Let's try|Show me|Try to find] [something|one] {}[| instead]",
    "[Hmm, |On second thought, |Actually, |Not quite what I want, ]"
    "[let's look for|I'd like|let's see] [something|one] {}",
]

# {} is a clause such as "the cuisine should be Thai".
CHANGE_WISHES = [
    "[I'd like to see something else|Not that one|Let's look again|On second thought]: {}",
]

ALTERNATIVES = [
    "[What else is there|What else do you have|What else can you find|Anything else|Any others]?",
    "[Is there|Do you have|Can you find|Do you see] "
    "[anything else|another one|a different one|something different][|, perhaps| for me]?",
    "[Hmm|I'm not sure|I don't love it|Not my favorite|Not quite right], [what else is there"
    "|can I see another one|is there another option|do you have any others]?",
    "[Could you|Can you|Would you] [show me|suggest|find] "
    "[something else|another option|another one|a different one]?",
    "[I'd like to hear|I'd like|I want to see|Let me see] "
    "[another option|a different one|the next one|something else].",
]

# {} are one or two questions without mark.
QUESTIONS = [
    "{}?",
    "[Okay|Alright|Sure|Great|Nice|Hmm|I see|Good|Interesting], [and |]{}?",
    "[Before I decide|One question|Quick question|By the way|Just curious|First], {}?",
    "[Sounds interesting|That might work|Could be good|Not bad]. {}?",
]
QUESTIONS_ON_THE_SIDE = [
    "{}?",
    "[And|By the way,|Oh, and|One more question:|Also,] {}?",
    "[While you're at it|Just one thing|Before I forget], {}?",
]

SELECT = [
    "[That|This one|That one|It] [sounds|looks|seems] "
    "[good|great|perfect|fine|lovely|like a good fit|right][| to me|, thanks].",
    "[I like|I'll take|I'll go with|Let's go with|I'm happy with] [that one|that|this one|it]"
    "[|, thanks].",
    "[Great|Perfect|Good|Nice|Excellent|Okay|Wonderful|Lovely], [that works|that'll do"
    "|that's the one|I'll take it|that works for me|I like it].",
]
SELECT_GOODBYE = [
    "[That's great|That sounds good|That works|Perfect|Good to know|I like it], "
    "[that's all I need|that's everything|nothing else for now|I'm all set]. "
    "[Bye|Goodbye|See you|Talk soon|Bye for now][.|!]",
    "[Great|Okay|Good|Wonderful], [that's what I was looking for|that's all I wanted to know"
    "|I have what I need][.|!] [Bye|Goodbye|So long|Take care][.|!]",
]
USER_GOODBYE = [
    "[That's all I need|That's everything|Nothing else for now|I'm all set|That was it][.|!] "
    "[Bye|Goodbye|See you|Talk soon|Bye for now|So long|Take care][.|!]",
]
THANK_YOU = [
    "[Thanks|Thank you|Many thanks|Thanks so much|Thank you very much|Thanks a lot]"
    "[.|!| for that.| for your help.| for sorting that out.]",
    "[Great|Perfect|Awesome|Excellent|Wonderful|Lovely|Super], "
    "[thanks|thank you|thanks a lot|thank you so much|many thanks][.|!]",
    "[That's great|That's perfect|Good to hear|That's wonderful|Very good], "
    "[thanks|thank you|I appreciate it|much appreciated][.|!]",
]
THANKS_GOODBYE = [
    "[Thanks|Thank you|Many thanks|Thanks a lot|Thank you very much], [that's all"
    "|that's everything|that will be all|I'm all set|I'm done for today][.|!] "
    "[Bye|Goodbye|Have a good one|See you|Take care][.|!]",
    "[Great|Perfect|Excellent|Wonderful|Good], [thanks for your help|thank you for the help"
    "|I appreciate it|that's all I needed, thanks][.|!] [Bye|Goodbye|Bye now|Take care][.|!]",
]
NO_THANKS = [
    "[No|Nope|Nothing else|Not today|Not right now|No, nothing], [thanks|thank you|thanks a lot"
    "|thank you very much|many thanks][.|!| for your help.| for everything.]",
    "[No|Nope|No no], [that's all|that's everything|that will be all|I'm good|I'm all set"
    "|that was it][, thanks|, thank you|. Thank you|. Thanks so much"
    "|. I appreciate your help][.|!]",
    "[I'm good|I'm all set|I think that's it|That would be all|That's all for today], "
    "[thanks|thank you|thank you so much|thanks for the help][.|!]",
]
CONFIRMED = [
    "[Yes|Yep|Yeah|Right|Correct|Absolutely|Yes please|Exactly][.|!|, that's right."
    "|, that is correct.|, go ahead.|, please go ahead.|, that's what I want.|, sounds good.]",
    "[That's right|That's correct|All correct|That works|Sounds good|Looks good|Perfect"
    "|Everything is right][.|!|, go ahead.|, please do it.|, thank you.|, please proceed.]",
]
ACCEPTED_COUNTER_OFFER = [
    "[Yes|Sure|Okay|Alright|Yeah|Fine|Oh well, yes], [that works|that's fine|that works too"
    "|that will do|let's do that|that's good for me|book that][.|, please.|, thanks.]",
    "[That works|That's fine|That's okay] [too|as well|for me][.|, go ahead.|, please do that.]",
]
REFUSED_COUNTER_OFFER = [
    "[No|Hmm, no|Sorry, no|Unfortunately not], [that doesn't work for me|that won't work"
    "|I can't make that|I'd rather leave it|never mind then].",
]
REFUSED_COUNTER_OFFER_GOODBYE = [
    "[No|Hmm, no|Sorry, no], [that doesn't work for me|I'd rather leave it"
    "|I'll try elsewhere|never mind then]. [Bye|Goodbye|That's all, bye|Thanks anyway, bye].",
]
ACCEPTED_SUGGESTION = [
    "[Yes|Yes please|Sure|Yeah|Okay], "
    "[that's fine|that would be good|sounds good|that works][.|, thanks.]",
]
ACCEPTED_INTENT = [
    "[Yes|Sure|Yeah|Yes, please|Okay|Of course|Absolutely|Definitely]"
    "[.|!|, go ahead.|, that would be great.|, I'd like that.|, let's do that.]",
    "[That would be|That'd be] [great|good|wonderful|lovely|helpful|nice][.|!|, thanks.|, please.]",
]
DECLINED_INTENT = [
    "[No|Nope|Not now|Not yet|Not right now|No thanks|No, thank you], [maybe later"
    "|I'll do that later|I'm still thinking about it|I only wanted to know"
    "|I'm just looking for now|I don't need that|let me think about it first"
    "|not at the moment][.|, thanks.]",
    "[I'll|I will|Let me] [hold off for now|wait with that|skip that for now"
    "|leave that for later|think about that first][.|, thanks.]",
]
DECLINED_INTENT_GOODBYE = [
    "[No|Not now|Not yet|No thanks|No, thank you], [maybe later|I'll do that later"
    "|I only wanted to know|I don't need that|that's all for now]. "
    "[Bye|Goodbye|That's it for today, bye|See you|Thanks for the info, bye].",
]

# The system.

# {} is a question.
REQUESTS = [
    "{}",
    "[Sure|Of course|Certainly|Okay|Alright|Happy to help|Gladly|No problem|Got it"
    "|I can do that][.|!] {}",
]

# {} are values joined by "or".
SUGGESTIONS = [
    "[For example|Perhaps|Say|Maybe] {}?",
    "[Would you like|Do you prefer|How about] {}[|, for instance]?",
]

# {} is a value.
GUESSES = [
    "[Would you like|How about|Would that be|Is it] {}?",
    "[Perhaps|Maybe] {}?",
]

# {} is a number with its noun.
COUNTS = [
    "[I found|There are|I see|I have|I've found|My search turned up] {}"
    "[| for you| that fit| that match| to choose from].",
]
COUNT_OF_ONE = [
    "[I found|There is|I see|I have|I've found] {}[| for you| that fits| that matches].",
]

# {} is a sentence that presents a row.
OFFERS = ["{}"]
NEXT_OFFERS = [
    "[Sure|Okay|Of course|Alright|Certainly|No problem][.|!] {}",
    "[Here's another one|Another option|Here is the next one]: {}",
    "{}",
]

# {} is a verb phrase in the system's words, with all details.
CONFIRMATIONS = [
    "[Please confirm|Just to confirm|To confirm|Let me confirm|Please check|Let me make sure]: "
    "[you'd like to|you want to] {}[.|. Is that right?|. Is this correct?|. Correct?|. Okay?]",
    "[So you'd like to|So you want to|You'd like to|You want to] {}. [Is that right"
    "|Is that correct|Shall I go ahead|Did I get that right|Does that look right|May I proceed]?",
    "[Okay|Alright|Got it|Very well|Sure], [you'd like to|you want to] {}. "
    "[Is that right|Is that correct|Shall I go ahead|All correct|Does that sound right]?",
]

# {} is a clause or two.
STATEMENTS = [
    "{}.",
    "[Sure|Of course|Let me see|Certainly|Let me check|Gladly]: {}.",
    "[I can tell you that|As far as I can see,|According to my information,] {}.",
]
STATEMENTS_ON_THE_SIDE = [
    "{}.",
    "[As for your question,|To answer your question,|And|By the way,|As to your question,] {}.",
]

# {} is a verb phrase in the system's words.
PROPOSALS = [
    "[Would you like to|Do you want to|Would you care to] {}[?| now?]",
    "[Shall I help you to|Should I help you to|Can I help you to] {}[?| now?]",
]
SUCCESSES = [
    "[Done|All done|All set|Great news|Good news][.|!] "
    "[That went through|Everything worked|It is all taken care of|That is arranged][.|!]",
    "[It's done|That's done|It's all arranged|Everything is set|I've taken care of it][.|!]",
]

# {} is a verb phrase in the system's words.
FAILURES = [
    "[I'm sorry, but|Sorry,|Unfortunately,|I'm afraid] "
    "[it was not possible to|I found no way to|I was unable to] {}.",
]
NOTHING_FOUND = [
    "[I'm sorry, but|Sorry,|Unfortunately,|I'm afraid] [I couldn't find anything"
    "|I found nothing|I didn't find anything|I see nothing] [that matches|like that|that fits].",
]
NOTHING_MORE_FOUND = [
    "[I'm sorry, but|Sorry,|Unfortunately,|I'm afraid] [that was the last one"
    "|there are no others|there's nothing else like it|I have no more to show you"
    "|that was all I could find|there are no more that fit].",
]

# {} is a row of fragments.
COUNTER_OFFERS = [
    "[Would you like it|Could it be|Would it work|Could I offer it] {} instead?",
    "[How about|What about] {}?",
]
REQ_MORE = [
    "[Is there anything else|Is there something else][?| I can do?| I can help with?| today?]",
    "[Do you need|Would you like|Will there be] anything else[?| today?| right now?]",
    "[Can|Could|May] I [help|assist] you [with anything else|with something else"
    "|in any other way|any further][?| today?]",
    "[Is there more I can do for you|Anything else on your list|Do you need any more help]"
    "[?| today?| right now?]",
]
GOODBYE = [
    "[Have a|Wishing you a] [nice|great|lovely|good|wonderful|pleasant|fantastic] "
    "[day|evening|afternoon|weekend|rest of the day][.|!]",
    "[Goodbye|Bye|Take care|You're welcome|My pleasure|Glad to help|Happy to help]"
    "[.|!|. Have a nice day!|. Have a great day!|. Enjoy your day!"
    "|. See you next time!]",
]
