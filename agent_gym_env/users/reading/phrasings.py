"""An agent's turns in many other words, from which reading is learned beside the recorded ones.

People who recorded a corpus speak as people do. Language models and rule agents speak in other
ways: with lists, with long openings, with the names of slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agent_gym_env.corpus.goals import Kind
from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.retrieval.tokens import identifier_words
from agent_gym_env.users.agent_turn import AgentTurn, Row
from agent_gym_env.users.own_phrases import spoken
from agent_gym_env.values.equality import DONTCARE

_OPENINGS = (
    "", "", "", "Sure!", "Of course!", "Great!", "Got it.", "Okay.", "Thanks!", "Perfect.",
    "Absolutely!", "Alright,", "Sure thing.", "No problem.", "Understood.", "Certainly!",
    "Thank you for the information.", "I'd be happy to help with that!", "Happy to help!",
    "Thanks for letting me know.", "Wonderful.", "Okay, let's see.", "Noted.", "Very well.",
    "I can certainly help you with this.", "Let's get started!", "Excellent choice.",
    "Thanks for your patience!", "All right.", "Good to know.",
    "Hello!", "Hi there!", "Hey!", "Thank you.", "Good choice!", "That makes sense.", "I see.",
    "Let me help you with that.", "I've got you covered.", "One moment.", "Here we go.", "Right.",
    "Good question.", "Great, thanks for that.", "Awesome!", "Cool.", "Sounds good.", "Fantastic!",
    "Thanks, that helps.", "Let me take a look.", "I checked for you.", "Just a second.", "Well,",
    "I've looked into it.", "Here is an update.", "As an assistant, I can do that for you.",
    "I appreciate the details.", "Lovely!", "Okay then!", "We're almost there.", "Hmm.",
)  # fmt: skip

_REQUESTS = (
    "What {0} would you like?", "Which {0} do you prefer?", "Could you tell me the {0}?",
    "May I have the {0}, please?", "I need the {0} to continue.", "Please provide the {0}.",
    "I'll need to know the {0}.", "And the {0}?", "What should the {0} be?",
    "Do you have a {0} in mind?", "To proceed, please share the {0}.", "What is the {0}?",
    "Can you let me know the {0}?", "I just need the {0}.", "Any preference for the {0}?",
    "I still need the following: {0}.", "The only thing missing is the {0}.",
    "In order to go ahead, I require the {0}.", "What's your {0}?", "What's the {0}?",
    "Would you mind telling me the {0}?", "Which {0} should I use?", "Kindly specify the {0}.",
    "Before I can go on, I need: {0}.", "Tell me the {0} and I'll take care of the rest.",
    "Next, the {0}, please.", "I'm missing the {0}.", "Let me know the {0}.",
    "Could you please provide the following details: {0}?", "First, what is the {0}?",
    "Please tell me your {0}.", "May I ask for the {0}?", "How about the {0}?",
    "To help you with that, could you share the {0}?", "What {0} are you looking for?",
    "What {0} should I look for?", "I have a quick question: what is the {0}?",
    "Could I get the {0} from you?", "Which {0} works best for you?",
    "I'd like to know the {0} first.", "Please give me the {0} so I can continue.",
    "Can you specify the {0}?", "What {0} do you want?", "What {0} did you have in mind?",
    "Just to narrow things down, which {0}?", "Would you share the {0} with me?",
    "Could you fill me in on the {0}?", "I'm still waiting for the {0}.", "{0}, please.",
    "I will also need your {0}.", "You haven't told me the {0} yet.", "And your {0}?",
    "It would help to know the {0}.", "What would be your {0}?", "Is there a {0} you prefer?",
    "Let's start with the {0}.", "Mind sharing the {0}?", "Which {0} shall I enter?",
    "I can do this once I know the {0}.", "Give me the {0} and I can start.", "Enter the {0}.",
    "The {0} is still missing. Could you add it?", "Do you know the {0}?", "{0}?",
    "For this I have to ask you for the {0}.", "So that I can search, tell me the {0}.",
    "Can I ask what {0} you want?", "I'd need the {0} for that.", "Would you tell me the {0}?",
    "Please state the {0}.", "Please enter your {0} now.", "Please send me the {0}.",
    "Please clarify the {0}.", "Please reply with the {0}.", "Required: {0}.", "Missing: {0}.",
    "Here's what I need from you: {0}.", "I have one more question about the {0}.",
    "There are several ways to do this, it depends on the {0}.", "What is it for the {0}?",
    "To narrow it down, please mention the {0}.", "Without the {0} I can't continue.",
    "May I know the {0}?", "Would you be able to give me the {0}?", "What {0} suits you?",
    "I was wondering what {0} you would like.", "I'd love to help, but first I need the {0}.",
    "Kindly share the {0} with me.", "Can you give me more information, such as the {0}?",
    "All that is left is the {0}.", "Any particular {0}?", "Got a {0} in mind?",
)  # fmt: skip
_YES_NO_REQUESTS = (
    "Would you like {0}?", "Do you need {0}?", "Do you want {0}?", "Should I include {0}?",
    "Do you want {0} or not?", "Is {0} important to you?", "Would you like to include {0}?",
    "Shall I add {0}?", "Do you have a preference about {0}?", "What about {0}?",
    "Would you like to add {0}?", "Is {0} required?", "Please let me know whether you want {0}.",
    "Should it be with {0}?", "Yes or no to {0}?", "Would {0} be something you want?",
    "Should there be {0}?", "Do you wish to have {0}?", "How about {0}?", "{0}?", "Is {0} okay?",
    "Should I set {0} to yes or no?", "Would you like it to be {0}?", "Do you prefer {0}?",
)  # fmt: skip
_CHOICE_REQUESTS = (
    "Would you prefer {1}?", "Do you want {1}?", "For the {0}, is it {1}?", "Which {0}: {1}?",
    "The {0} can be {1}. Which one would you like?", "Should the {0} be {1}?",
    "Are you looking for {1}?", "Please choose the {0}: {1}.", "Would that be {1}?",
)  # fmt: skip

_OFFERS = (
    "I found {0}. {1}", "How about {0}? {1}", "I'd suggest {0}. {1}", "There is {0}. {1}",
    "I recommend {0}. {1}", "One option is {0}. {1}", "Here's what I found: {0}. {1}",
    "What do you think of {0}? {1}", "{0} looks like a good match. {1}",
    "The best match is {0}. {1}", "I have {0} available. {1}", "{0} is available. {1}",
    "Good news! I found a match: {0}. {1}", "My top pick is {0}. {1}", "You could try {0}. {1}",
    "I came across {0}. {1}", "There's a nice option called {0}. {1}",
    "I have {2} results. The first one is {0}. {1}", "I found {2} options. One of them is {0}. {1}",
    "Take a look at this one: {0}. {1}", "Here is an option you might like: {0}. {1}",
    "{0} would fit your request. {1}", "Would {0} work for you? {1}", "Maybe {0}? {1}",
    "I was able to find {0} for you. {1}", "The search returned {2} matches, for example {0}. {1}",
    "Here are the details of the first result: {0}. {1}", "Does {0} sound good? {1}",
    "{0}. {1}", "{0}. {1}", "{1} {0}.", "{0}: {1}", "Result: {0}. {1}",
    "Great choice would be {0}. {1}", "Based on your wishes, {0} is a fit. {1}",
    "I pulled up {0}. {1}", "What about {0}? {1}", "Let me suggest {0}. {1}",
    "Have a look at {0}. {1}", "The top result is {0}. {1}", "Here you are: {0}. {1}",
    "First on the list: {0}. {1}", "I think you'd like {0}. {1}", "We have {0}. {1}",
    "Option 1: {0}. {1}", "**{0}**\n{1}", "Found it! {0}. {1}", "It looks like {0} fits. {1}",
    "I see {0} that matches your criteria. {1}", "Currently there's {0}. {1}",
    "According to my search, {0} would be suitable. {1}", "There's {0}, for instance. {1}",
    "Sure, {0} is one possibility. {1}", "Let me tell you about {0}. {1}", "Try {0}. {1}",
    "My search shows {0}. {1}", "I'm seeing {0}. {1}", "Next, there is {0}. {1}",
    "Another option is {0}. {1}", "Alternatively, consider {0}. {1}", "I also found {0}. {1}",
    "I found {0}. {1}", "I found {0} for you. {1}", "I found {0}, it fits well. {1}",
    "I'd recommend {0}. {1}", "So, {0}. {1}", "How does {0} sound? {1}", "{0} is on offer. {1}",
)  # fmt: skip
_OFFER_CLOSINGS = (
    "", "", "What do you think?", "Does that sound good?", "Does this work for you?",
    "Would you like this one?", "Would you like to go with it, or see another option?",
    "Is that okay?", "Are you interested?", "Shall we go with this one?", "How does that sound?",
    "Would you like to hear about other options?", "Let me know if this works for you.",
    "Is this what you are looking for?", "Do you want that one?",
    "Is this acceptable?", "Like it?", "Would that suit you?", "Shall I keep this one?",
    "Would you like more details?", "Want this one?", "Should we take it?", "Any interest?",
    "Let me know what you think.", "Happy with that one?", "Good for you?", "Thoughts?",
    "I can show you more if you don't like it.", "Would you go for it?",
    "Would that work?", "Would you like to go with that?", "Does it fit?", "Shall I go with it?",
    "Would you like to see it?", "Do you want to take it?", "Is that alright?", "Okay for you?",
)  # fmt: skip

_CONFIRMS = (
    "Please confirm the following details: {0}.", "Just to confirm: {0}.", "Please confirm: {0}.",
    "Let me confirm the details: {0}.", "To recap: {0}.", "Let me make sure I have it right: {0}.",
    "Before I go ahead and {1}, let me double-check: {0}.", "Here's a summary: {0}.",
    "I'm about to {1} with these details: {0}.", "So that is {0}.", "I have {0}.",
    "I will {1}: {0}.", "Let me verify: {0}.", "Can you confirm that {0}?",
    "Here is what I have: {0}.", "You would like me to {1}: {0}.", "Confirming the details: {0}.",
    "I'll {1} with {0}.", "Ready to {1}: {0}.", "Let's double check: {0}.",
    "I understand that you want to {1}: {0}.", "So, to {1}, I have noted {0}.",
    "Please review the details before I {1}: {0}.", "Shall I {1} with {0}?",
    "Do you want me to {1} with the following: {0}?", "I've got {0}.", "{0}.", "{0}?",
    "Confirm: {0}.", "To {1}: {0}.",
    "Can you check this for me? {0}.", "Please take a look at the summary: {0}.",
    "These are the details I'm going to submit: {0}.", "I'm going to use the following: {0}.",
    "Before I submit it: {0}.", "I want to be certain before I {1}: {0}.", "Summary: {0}.",
    "Let me read that back to you: {0}.", "Here's what I'll be booking: {0}.", "Details: {0}.",
    "Kindly confirm these details so that I may {1}: {0}.", "This is what I noted: {0}.",
    "One last check: {0}.", "Almost done! Please check: {0}.", "You want {0}.", "That's {0}.",
    "Everything ready to {1}. The details are {0}.", "May I {1} as follows: {0}?",
    "I would proceed with {0}.", "Okay to {1} with {0}?", "Let me repeat: {0}.",
    "Please verify that the following is correct: {0}.", "Am I right that it's {0}?",
    "To make sure nothing goes wrong, please verify: {0}.", "I'll be putting in {0}.",
    "{0}, correct?", "{0}, right?", "So it's {0}, yes?", "{0}, is that right?", "Book {0}?",
)  # fmt: skip
_CONFIRM_CLOSINGS = (
    "Is that right?", "Is that correct?", "Is everything correct?", "Shall I go ahead?",
    "Should I proceed?", "Does that look right?", "Please confirm.", "Can I proceed?", "Okay?",
    "Please let me know if everything is correct.", "Would you like me to proceed?", "",
    "May I go ahead?", "Is this information correct?", "Are these details right?", "Right?",
    "Reply yes to confirm.", "Do you confirm?", "Shall I book it?", "Does everything look good?",
    "Are you happy with that?", "Do I have your approval?", "Is that all good?", "All correct?",
    "Does that match what you want?", "If that's fine, I'll go ahead.", "Is that okay with you?",
    "Can you confirm?", "Yes or no?", "Is it okay to continue?", "Tell me if something is wrong.",
    "Is that what you want?", "Do you agree?", "Shall we do it?", "Anything to change?",
    "Would you like to change anything?", "Once you confirm, I'll do it.", "Good to go?",
    "Just say yes and I'll take care of it.", "Are you sure?", "Did I get everything right?",
)  # fmt: skip

_INFORMS = (
    "The {0} is {1}.", "{0}: {1}.", "It's {1}.", "Its {0} is {1}.", "I see that the {0} is {1}.",
    "The {0} you asked about is {1}.", "As for the {0}, it is {1}.", "{1} is the {0}.",
    "You asked for the {0}: {1}.", "That would be {1}.", "I can see that the {0} is {1}.",
    "The listed {0} is {1}.", "For the {0}, I have {1}.", "The answer is {1}.",
    "Regarding the {0}: {1}.", "I checked, and the {0} is {1}.", "They list {1} as the {0}.",
    "I pulled up the details and the {0} is {1}.", "Looks like the {0} is {1}.", "{1}.",
    "I found that the {0} is {1}.", "Here's the {0}: {1}.", "Sure, the {0} is {1}.",
    "Their {0} is {1}.", "From what I can see, the {0} is {1}.", "It says the {0} is {1}.",
    "The {0} would be {1}.", "To answer your question, the {0} is {1}.", "In this case it's {1}.",
    "For that one, the {0} is {1}.", "The record shows {1} for the {0}.", "Here you go: {1}.",
)  # fmt: skip
_YES = (
    "Yes, it has {0}.", "Yes, {0} is available.", "Yes, there is {0}.", "{0}: yes.", "Yes, {0}.",
    "It does offer {0}.", "Yes, it does.", "Yes, it is.", "Yes.", "Indeed, it has {0}.",
    "Good news: it has {0}.", "It comes with {0}.", "{0} is included.",
)  # fmt: skip
_NO = (
    "No, it does not have {0}.", "No, there is no {0}.", "{0}: no.", "It doesn't offer {0}.",
    "Unfortunately, it doesn't have {0}.", "No, it doesn't.", "No, it isn't.", "No.",
    "Sorry, {0} is not available.", "No, {0} is not included.", "It lacks {0}.",
    "I'm afraid there's no {0}.",
)  # fmt: skip
_INFORM_CLOSINGS = (
    "", "", "", "Would you like to know anything else about it?", "Does that help?",
    "Do you have any other questions?", "Let me know if you need more details.",
    "Is there something else you would like to know?", "Hope that helps!",
    "Feel free to ask if you'd like to know more.", "Anything else you want to know?",
    "Does that answer your question?", "What else would you like to know about it?",
    "Let me know if that works for you.", "Would you like to know more?",
)  # fmt: skip

_SUCCESSES = (
    "It's done.", "Done!", "All set!", "Your booking is confirmed.", "Your request was successful.",
    "I have completed your request to {0}.", "Everything has been booked.", "That went through.",
    "The reservation has been made.", "Your reservation is confirmed.", "It has been booked.",
    "I was able to {0}.", "Success! Your request went through.", "I've taken care of it.",
    "You're all set.", "The transaction was completed successfully.", "It is booked.",
    "I have successfully done that for you.", "Your order has been placed.", "Consider it done.",
    "Great news, it all went through!", "That has been scheduled.", "Your request is complete.",
    "The booking was successful.", "I've gone ahead and completed that for you.",
    "Everything is confirmed.", "I managed to {0} for you.", "The payment has been made.",
    "It has been added.", "I've set that up for you.", "The action was completed successfully.",
    "Booked!", "Confirmed!", "The request to {0} has been carried out.", "It is playing now.",
    "Payment sent.", "Sent!", "Reserved!", "Everything is arranged.", "All arranged.",
    "It went through without problems.", "Your booking has gone through.", "That's done for you.",
    "That's taken care of.", "You're good to go!", "Finished!", "Completed.", "All sorted.",
    "I have finished that for you.", "The appointment is made.", "The tickets are yours.",
    "I'm happy to report that it worked.", "I'm pleased to say that everything is booked.",
    "Your spot is saved.", "I managed to get it done.", "The action was carried out.",
    "Status: success.", "Great news, you are booked!", "Your confirmation will arrive by email.",
    "You will receive a confirmation shortly.", "I have put that in for you.", "It's all yours.",
    "I just {0} for you and it worked.", "That worked!", "It's official, you're booked.",
    "We have a reservation for you.", "Everything is in place.", "The job is done.", "Approved.",
    "It's been processed.", "Your request has been processed.", "The money is on its way.",
    "It has been purchased.", "I've saved it.", "It is set.", "Now playing.", "Starting it now.",
)  # fmt: skip
_SUCCESSES_WITH_DETAILS = (
    "I've booked it: {0}.", "You're booked: {0}.", "All done! You're booked with {0}.",
    "I've booked {0} for you.", "Your booking is confirmed: {0}.", "Done: {0}.", "It's set: {0}.",
    "You're all set: {0}.", "I've booked that for you: {0}.", "Your reservation: {0}. Confirmed.",
    "Your appointment is booked for {0}.", "Booked! Here are the details: {0}.", "Saved: {0}.",
    "I've made the reservation with {0}.", "The booking went through: {0}.", "Success: {0}.",
    "It has been arranged: {0}.", "Your request with {0} has been completed.", "I did it: {0}.",
    "The transfer is done: {0}.", "I have scheduled it: {0}.", "Reserved: {0}.", "Paid: {0}.",
    "That has already been booked for you: {0}.", "Confirmed! It's {0}.", "You have {0} now.",
)  # fmt: skip
_SUCCESS_CLOSINGS = (
    "", "", "Is there anything else I can help you with?", "Anything else?", "Enjoy!",
    "Can I help you with anything else?", "Let me know if you need anything else.",
    "What else can I do for you?", "Do you need anything else?", "Is there more I can do?",
    "Have fun!", "Let me know if there's something else.", "Would you like anything else?",
    "How else can I help?", "Happy travels!", "Thanks for using our service!",
)  # fmt: skip

_FAILURES = (
    "I'm sorry, but I couldn't complete that.", "Unfortunately, that failed.",
    "I was unable to do that.", "The request did not go through.", "I couldn't find anything.",
    "Sorry, there are no results.", "I'm afraid nothing matches your request.",
    "Unfortunately, I could not find any matches.", "The booking failed.", "It didn't work.",
    "I'm sorry, I was not able to {0}.", "There was a problem and the request was not completed.",
    "Sorry, I couldn't {0}.", "No matching options were found.", "That was not possible.",
    "Regrettably, your request could not be fulfilled.", "Nothing was found, I'm sorry.",
    "The transaction was unsuccessful.", "My search came up empty.", "I found no results.",
    "I'm sorry, but there is nothing available.", "That didn't go through, I'm afraid.",
    "I wasn't able to find what you are looking for.", "Your request could not be processed.",
    "Everything is sold out.", "It's fully booked.", "Status: failed.", "Error, it failed.",
    "Sorry for the inconvenience, but the request to {0} failed.", "No luck, I'm afraid.",
    "I hit a problem and it didn't go through.", "That one's not available.", "No availability.",
    "It's not possible at the moment.", "I have bad news: it could not be done.", "No matches.",
    "I searched everywhere but there was nothing.", "There's nothing like that.", "0 results.",
    "The system rejected the request.", "The service declined it.", "I can't find any.",
    "I tried, but it was refused.", "Sadly, I found nothing that fits.", "It did not succeed.",
    "I came up with nothing.", "None are available.", "I regret that it could not be completed.",
    "Unable to complete the request.", "Nothing matches what you want.", "It couldn't be booked.",
    "Oh no, that didn't work.", "It looks like there are no options left.", "There are none.",
    "My apologies, I couldn't get that done.", "We weren't able to do it.", "Not available.",
)  # fmt: skip
_FAILURE_CLOSINGS = (
    "", "Is there anything else I can do for you?", "Would you like to try something else?",
    "Would you like to change anything?", "Can I help with anything else?",
    "Should I try with different details?",
    "Want me to try something different?", "What else can I do for you?", "Anything else?",
    "Do you have other wishes?", "Is there something else I could do?", "Sorry about that.",
    "Would another option work?", "Please accept my apologies.", "Can we try other details?",
)  # fmt: skip

_COUNTERS = (
    "Would {0} work instead?", "However, {0} is available.", "Could we do {0} instead?",
    "How about {0} instead?", "I can offer {0} instead.", "But {0} is possible. Is that okay?",
    "The closest alternative is {0}. Shall I book that?", "Would you like {0} instead?",
    "There is availability with {0}, though. Would that work?", "Instead, I can do {0}.",
    "What about {0}?", "An alternative would be {0}. Would you like that?",
    "Is {0} alright for you?", "They do have {0}. Should I go with that?",
    "Would you accept {0}?", "They offered {0} as an alternative. Want it?", "{0} instead?",
    "I could get you {0}. Do you want it?", "What they do have is {0}.", "We could try {0}.",
    "There's still {0}. Should I take it?", "Does {0} suit you instead?", "Only {0} is left.",
    "{0} is still open. Interested?", "Shall I change it to {0}?", "Can I switch it to {0}?",
    "If you like, I can book {0}.", "Maybe {0} works for you?", "The nearest option is {0}.",
)  # fmt: skip

_PROPOSALS = (
    "Would you like me to {0}?", "Shall I {0} for you?", "Do you want me to {0}?",
    "Should I {0}?", "I can also {0} if you'd like.", "Would you like to {0}?",
    "Do you want to {0}?", "Shall we go ahead and {0}?", "May I {0} for you?",
    "If you want, I can {0} now.", "Are you interested in having me {0}?",
    "Can I {0} for you?", "Would it help if I {0} for you?", "I could {0} next. Interested?",
    "Want me to {0}?", "Is it okay if I {0}?", "Would you like my help to {0}?",
    "Would you like me to go ahead and {0}?", "Next, shall I {0}?", "I can {0} for you.",
    "Do you also want to {0}?", "Just say the word and I'll {0}.", "Ready to {0}?",
    "Should I go on and {0}?", "Would you like help to {0}?", "Let me know if I should {0}.",
    "How about I {0}?", "Would you be interested to {0}?", "Perhaps I can {0}?",
    "I'm able to {0} as well. Shall I?", "Do you wish to {0}?", "Want to {0}?",
    "While we're here, should I {0} too?", "Do you need me to {0}?", "Time to {0}?",
)  # fmt: skip

_MORES = (
    "Is there anything else I can help you with?", "Anything else?", "What else can I do for you?",
    "Can I help you with anything else today?", "Is there anything else you need?",
    "Do you need anything else?", "Is that all?", "Will that be all?", "Anything else for today?",
    "Can I assist you with something else?", "What else would you like?",
    "Is there something else I can do for you?", "Do you need help with anything else?",
    "May I help you with anything more?", "Anything more I can do for you?",
    "Would you like help with anything else?", "Let me know if you need anything else.",
    "Is there any other way I can help?", "What else do you need?", "How else can I help?",
    "Do you require any further assistance?", "Can I be of any further assistance?",
    "Is there anything further you'd like me to do?", "Would you like anything else?",
    "Any other questions?", "Do you have any other requests?", "What's next?", "More requests?",
    "Have I taken care of everything?", "Did you need something else?", "Something else maybe?",
    "Is everything covered?", "Anything more?", "I'm here if you need something else.",
    "If you need anything else, just ask.", "I wonder if you need anything else.", "What now?",
    "Is there something more you would like me to look up?", "Any further questions for me?",
    "Do you have another request?", "Was that everything?", "Are we done?", "Need anything else?",
    "Tell me if there is anything else.", "Would you like to do something else?",
    "Is there another thing I can help with?", "What more can I do?", "Other questions?",
    "Do you have any other questions for me today?", "Say another wish, or tell me you're done.",
    "I hope that helps. Is there anything else?", "Glad I could help! Anything else?",
    "You're welcome! Let me know if you need anything else.", "Feel free to ask for more help.",
    "Just let me know if you'd like anything else.", "Let me know if there is more to do.",
    "You're welcome. Is there anything else?", "Feel free to ask if you need more help.",
    "My pleasure! Just tell me if you need something else.", "Happy to help with anything else.",
)  # fmt: skip
_GOODBYES = (
    "Goodbye!", "Have a great day!", "Have a nice day.", "Bye!", "Take care!", "Enjoy your day!",
    "You're welcome! Have a wonderful day.", "It was a pleasure to help you.", "See you!",
    "Thank you, goodbye.", "Have a good one!", "Glad I could help. Goodbye!", "You're welcome.",
    "Happy to help! Enjoy the rest of your day.", "Thanks for reaching out. Bye now!",
    "My pleasure. Have a good day!", "Enjoy!", "Have a pleasant day.", "Farewell!",
    "Thanks for chatting!", "Until next time.", "All the best!", "Glad to help. Take care.",
    "Thank you for using our service. Goodbye.", "Have a lovely evening!", "Enjoy your trip!",
    "So long!", "It was nice talking to you.", "You're very welcome, bye!", "Anytime! Bye.",
    "Stay safe and have a great week.", "I'm glad it all worked out. Goodbye.", "Cheers!",
    "Ending the conversation now. Goodbye.", "No worries, have a great one.", "Thanks, bye!",
)  # fmt: skip

ACTS_OF: dict[Kind, frozenset[str]] = {
    "request": frozenset({"REQUEST"}),
    "offer": frozenset({"OFFER"}),
    "confirm": frozenset({"CONFIRM"}),
    "inform": frozenset({"INFORM"}),
    "success": frozenset({"NOTIFY_SUCCESS"}),
    "counter": frozenset({"NOTIFY_FAILURE", "OFFER"}),
    "failure": frozenset({"NOTIFY_FAILURE"}),
    "propose": frozenset({"OFFER_INTENT"}),
    "more": frozenset({"REQ_MORE"}),
    "goodbye": frozenset({"GOODBYE"}),
}
"""Acts of the phrasings of each kind of turn."""


class Phrasings:
    """Draws other words for turns of an agent.

    Args:
        random: generator of the choices.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def of(self, turn: AgentTurn, spec: ToolSpec, answer: Row, found: int) -> str | None:
        """Return other words for a turn, or ``None`` if these phrasings cannot say it.

        Args:
            turn: the turn.
            spec: tool of the errand under way.
            answer: first row of the last transaction's answer.
            found: number of rows that the last query returned.
        """
        body = self._body(turn, spec, answer, found)
        if body is None:
            return None
        opening = self._pick(_OPENINGS)
        return f"{opening} {body}".strip()

    def _body(self, turn: AgentTurn, spec: ToolSpec, answer: Row, found: int) -> str | None:
        intent = _intent_words(spec.intent)
        kind = turn.kind
        if kind == "request":
            return self._request(turn.slots, spec.arguments)
        if kind == "offer" and turn.offered:
            return self._offer(turn.offered, turn.informed, found)
        if kind == "confirm" and turn.confirmed:
            details = self._details(turn.confirmed)
            body = self._pick(_CONFIRMS).format(details, intent)
            return f"{body} {self._pick(_CONFIRM_CLOSINGS)}"
        if kind == "inform" and turn.informed:
            return f"{self._answers(turn.informed)} {self._pick(_INFORM_CLOSINGS)}"
        if kind == "success":
            body = self._pick(_SUCCESSES).format(intent)
            if answer and self._random.random() < 0.4:
                details = self._details(self._some(answer, int(self._random.integers(1, 5))))
                body = self._pick(_SUCCESSES_WITH_DETAILS).format(details)
            return f"{body} {self._answers(turn.informed)} {self._pick(_SUCCESS_CLOSINGS)}"
        if kind == "failure":
            return f"{self._pick(_FAILURES).format(intent)} {self._pick(_FAILURE_CLOSINGS)}"
        if kind == "counter" and answer:
            changed = self._some(turn.informed or answer, 3)
            offer = self._pick(_COUNTERS).format(self._details(changed))
            return f"{self._pick(_FAILURES).format(intent)} {offer}"
        if kind == "propose" and turn.intent:
            return self._pick(_PROPOSALS).format(_intent_words(turn.intent))
        if kind == "more":
            return self._pick(_MORES)
        return self._pick(_GOODBYES) if kind == "goodbye" else None

    def _request(self, slots: Sequence[str], arguments: Mapping[str, Slot]) -> str | None:
        asked = [arguments[slot] for slot in slots if slot in arguments]
        if not asked:
            return None
        if len(asked) > 1 and self._random.random() < 0.6:
            names = [self._name(slot) for slot in asked]
            return self._pick(_REQUESTS).format(self._joined(names))
        return " ".join(self._question(slot) for slot in asked)

    def _question(self, slot: Slot) -> str:
        values = [value for value in slot.possible_values if value != DONTCARE]
        name = self._name(slot)
        if slot.is_categorical and {value.lower() for value in values} == {"true", "false"}:
            bare = " ".join(word for word in name.split() if word not in ("has", "is", "the"))
            return self._pick(_YES_NO_REQUESTS).format(bare)
        words = [value for value in values if not value.isdigit()]
        if slot.is_categorical and len(words) > 1 and self._random.random() < 0.5:
            choices = [spoken(value) for value in words[:4]]
            chosen = f"{', '.join(choices[:-1])} or {choices[-1]}"
            return self._pick(_CHOICE_REQUESTS).format(name, chosen)
        return self._pick(_REQUESTS).format(name)

    def _name(self, slot: Slot) -> str:
        described = slot.description.rstrip(".")
        if self._random.random() < 0.3 and 0 < len(described) < 60:
            return described[0].lower() + described[1:]
        return slot.name.replace("_", " ")

    def _offer(self, row: Row, informed: Mapping[str, str], found: int) -> str:
        naming = [slot for slot in row if "name" in slot or "title" in slot] or list(row)[:1]
        name = spoken(row[naming[0]])
        rest = {slot: value for slot, value in row.items() if slot != naming[0]}
        facts = {**self._some(rest, int(self._random.integers(0, 5))), **informed}
        said = f"{self._facts(facts)}." if facts else ""
        count = found if found > 1 else 2
        body = self._pick(_OFFERS).format(name, said, count)
        return f"{body} {self._pick(_OFFER_CLOSINGS)}"

    def _answers(self, informed: Mapping[str, str]) -> str:
        sentences = []
        for slot, value in informed.items():
            name = slot.replace("_", " ")
            if value in ("True", "False"):
                bare = " ".join(word for word in name.split() if word not in ("has", "is"))
                sentences.append(self._pick(_YES if value == "True" else _NO).format(bare))
            else:
                sentences.append(self._pick(_INFORMS).format(name, spoken(value)))
        return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)

    def _facts(self, values: Mapping[str, str]) -> str:
        style = self._random.integers(3)
        clauses = []
        for slot, value in values.items():
            name = slot.replace("_", " ")
            form = ("{0}: {1}", "the {0} is {1}", "{0} {1}")[style]
            clauses.append(form.format(name, spoken(value)))
        return ", ".join(clauses)

    def _details(self, values: Mapping[str, str]) -> str:
        style = self._random.integers(4)
        if style == 0:
            lines = (f"- {s.replace('_', ' ').title()}: {spoken(v)}" for s, v in values.items())
            return "\n" + "\n".join(lines) + "\n"
        if style == 1:
            return ", ".join(spoken(value) for value in values.values())
        return self._facts(values)

    def _joined(self, names: Sequence[str]) -> str:
        style = self._random.integers(4)
        if style == 0:
            return "\n" + "\n".join(f"- {name}" for name in names)
        if style == 1:
            return "; ".join(f"{number}) {name}" for number, name in enumerate(names, 1))
        joiner = " and the " if style == 2 else " and "
        return f"{', '.join(names[:-1])}{joiner}{names[-1]}"

    def _some(self, values: Mapping[str, str], count: int) -> dict[str, str]:
        told = [slot for slot, value in values.items() if value not in ("True", "False")]
        self._random.shuffle(told)
        return {slot: values[slot] for slot in told[:count]}

    def _pick(self, choices: Sequence[str]) -> str:
        return choices[int(self._random.integers(len(choices)))]


def _intent_words(intent: str) -> str:
    return " ".join(identifier_words(intent))
