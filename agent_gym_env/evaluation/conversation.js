"use strict";
// Draws a recorded episode: on the report's page, and on the pages of `agent-gym view`.
// Everything shown may have been written by a model: it reaches the page through textContent only.
const conversation = (() => {
  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    for (const child of children) {
      if (child instanceof Node) element.append(child);
      else if (child !== null && child !== undefined) element.append(document.createTextNode(String(child)));
    }
    return element;
  }

  function button(label, pressed, action) {
    const element = make("button", "", label);
    element.type = "button";
    if (pressed !== null) element.setAttribute("aria-pressed", String(pressed));
    element.addEventListener("click", action);
    return element;
  }

  // The trace format writes a turn's target, and the call in it, as arrays.
  function targetOf(turn) {
    if (!turn.target) return null;
    const [, text, service, call] = turn.target;
    if (!call) return { text, service, call: null };
    const [name, args, status] = call;
    return { text, service, call: { name, arguments: args, status } };
  }

  function callsOf(turn) {
    return turn.steps.flatMap((step) => step.action.tool_calls ?? []);
  }

  function entryOf(policy, episode) {
    const turns = episode.turns.map((turn) => {
      const target = targetOf(turn);
      const calls = callsOf(turn);
      return {
        ...turn, target, calls, took: tookOf(turn.steps),
        reward: turn.reward ?? null,
        components: turn.components ?? {},
        reply: turn.steps[turn.steps.length - 1].action.text ?? "",
      };
    });
    const scored = turns.map((turn) => turn.reward).filter((reward) => reward !== null);
    const total = scored.reduce((sum, reward) => sum + reward, 0);
    const words = [episode.dialogue_id, ...episode.services, ...turns.flatMap((turn) => [turn.user, turn.reply])];
    return {
      policy, episode, turns, total, took: tookOf(episode.turns.flatMap((turn) => turn.steps)),
      mean: scored.length ? (episode.simulated_user ? total : total / scored.length) : null,
      words: words.join("\n").toLowerCase(),
    };
  }

  // What the model behind some steps took; null without one.
  function tookOf(steps) {
    const completions = steps.map((step) => step.action.completion).filter(Boolean);
    if (!completions.length) return null;
    const sum = (value) => completions.reduce((total, each) => total + (value(each) ?? 0), 0);
    const known = (value) => completions.some((each) => (value(each) ?? null) !== null);
    const parts = [];
    if (known((each) => each.usage)) {
      parts.push(`${sum((each) => each.usage?.prompt_tokens)} + ${sum((each) => each.usage?.completion_tokens)} tokens`);
    }
    if (known((each) => each.cost_usd)) parts.push(`$${sum((each) => each.cost_usd).toFixed(4)}`);
    if (known((each) => each.latency_s)) parts.push(`${sum((each) => each.latency_s).toFixed(2)} s`);
    return parts.length ? parts.join(", ") : null;
  }

  function tint(element, reward) {
    if (reward === null) {
      element.classList.add("unscored");
      return element;
    }
    const kept = Math.min(Math.max(reward, 0), 1); // rewards of simulated dialogues may be negative
    const [from, to, share] = kept < 0.5 ? ["--low", "--mid", kept * 2] : ["--mid", "--high", kept * 2 - 1];
    element.style.setProperty("--tone", `color-mix(in oklab, var(${from}), var(${to}) ${Math.round(share * 100)}%)`);
    return element;
  }

  const written = (value, digits = 2) => (value === null ? "none" : value.toFixed(digits));

  // `last` is what follows the episode's figures, such as buttons.
  function headOf({ policy, episode, total, mean, took }, ...last) {
    const seen = episode.seen_services;
    const services = episode.services.map((service) => {
      const unseen = seen && !seen.includes(service);
      return make("span", unseen ? "tag unseen" : "tag", unseen ? `${service}, unseen` : service);
    });
    return make("header", "",
      make("h3", "", make("span", `dot s${policy % 8}`), episode.dialogue_id), ...services,
      make("span", "tag", `return ${written(total)}`),
      episode.simulated_user ? outcomeOf(episode) : make("span", "tag", `${written(mean, 3)} per turn`),
      took === null ? null : make("span", "tag", took),
      episode.truncated ? make("span", "tag bad", "cut short") : null,
      ...last);
  }

  function outcomeOf(episode) {
    const verdict = episode.turns.at(-1)?.simulated?.verdict;
    if (verdict?.strict) return make("span", "tag", "strict success");
    const reasons = (verdict?.reasons ?? []).join(", ");
    return make("span", "tag bad", `${verdict?.success ? "success, not strict" : "no success"}: ${reasons}`);
  }

  function turnOf(turn, index) {
    const { target, calls, reply } = turn;
    const agent = make("div", "side", make("h4", "", "agent"), ...turn.steps.flatMap((step) => stepOf(step, target)));
    if (!target) {
      agent.append(said(reply, ""));
      return articleOf(turn, index, agent, simulatedOf(turn.simulated));
    }
    if (target.call && !calls.length) agent.append(make("div", "call absent", "no call"));
    agent.append(said(reply, target.text));
    const recorded = make("div", "side recorded", make("h4", "", "recorded"));
    if (target.call) recorded.append(callOf(target.call, null, null));
    recorded.append(said(target.text, reply));
    return articleOf(turn, index, agent, recorded);
  }

  function articleOf(turn, index, agent, beside) {
    return make("article", "turn",
      make("div", "rail", tint(make("span", "score", turn.reward === null ? "none" : written(turn.reward)), turn.reward), make("span", "", index + 1)),
      make("div", "", make("p", "said user", turn.user), make("div", "sides", agent, beside), partsOf(turn)));
  }

  // What the simulated user made of a turn.
  function simulatedOf(simulated) {
    const { meaning, events, verdict, answer } = simulated;
    const list = make("dl", "arguments");
    const line = (name, value) => list.append(make("dt", "", name), make("dd", "", value));
    line("read as", simulated.understood === false ? `${meaning.kind}, not understood` : meaning.kind);
    for (const [name, value] of Object.entries(meaning)) {
      if (name !== "kind" && value) line(name, typeof value === "string" ? value : JSON.stringify(value));
    }
    if (answer?.length) line("answer", answer.map(([, act, slot, value]) => [act, slot, value].filter(Boolean).join(" ")).join("; "));
    if (events?.length) line("counted", events.join(", "));
    line("errand", simulated.service);
    line("milestones", written(verdict.milestones));
    if (verdict.reasons?.length) line("lacks", verdict.reasons.join(", "));
    return make("div", "side recorded", make("h4", "", "simulated user"), list);
  }

  function said(text, other) {
    if (!text) return make("p", "said silence", "says nothing");
    const split = (words) => words.split(/([\p{L}\p{N}_]+)/u);
    const common = new Set(split(other.toLowerCase()).filter((_, place) => place % 2));
    const pieces = split(text).map((piece, place) => (place % 2 && common.has(piece.toLowerCase()) ? make("span", "shared", piece) : piece));
    return make("p", "said", ...pieces);
  }

  function stepOf(step, target) {
    const calls = step.action.tool_calls ?? [];
    const results = parsed(step.tool_result);
    const cards = calls.map((call, place) => callOf(call, target, Array.isArray(results) ? results[place] : step.tool_result));
    if (step.action_error) cards.push(make("div", "call", make("span", "mark bad", step.action_error), "repaired or refused"));
    return cards;
  }

  function callOf(call, target, result) {
    const due = target?.call ?? null;
    const card = make("div", "call");
    if (target) {
      const matches = due !== null && due.name === call.name;
      card.append(make("span", matches ? "mark good" : "mark bad", matches ? "due" : due ? "another tool" : "not due"));
    } else if (call.status) {
      card.append(make("span", "mark", call.status));
    }
    const compared = due && due.name === call.name ? due.arguments : null;
    card.append(make("b", "", call.name), argumentsOf(call.arguments ?? {}, compared));
    if (result) card.append(resultOf(result));
    return card;
  }

  function argumentsOf(made, due) {
    const list = make("dl", "arguments");
    const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));
    for (const [name, value] of Object.entries(made)) {
      const equal = due && Object.hasOwn(due, name) && plain(value).trim().toLowerCase() === plain(due[name]).trim().toLowerCase();
      list.append(make("dt", "", name), make("dd", due ? (equal ? "equal" : "differs") : "", plain(value)));
    }
    for (const name of Object.keys(due ?? {}).filter((each) => !Object.hasOwn(made, each))) {
      list.append(make("dt", "", name), make("dd", "differs", "missing"));
    }
    return list;
  }

  function resultOf(result) {
    if (typeof result === "string") return make("details", "", make("summary", "", "result"), blockOf(result));
    const rows = result.results ?? [];
    const label = result.error ? `error: ${result.error}` : `${result.status}, ${rows.length === 1 ? "1 row" : `${rows.length} rows`}`;
    return rows.length
      ? make("details", "", make("summary", "", label), blockOf(JSON.stringify(rows, null, 1)))
      : make("div", "outcome", label);
  }

  // It scrolls, so the keyboard must reach it.
  function blockOf(text) {
    const block = make("pre", "", text);
    block.tabIndex = 0;
    block.setAttribute("role", "region");
    block.setAttribute("aria-label", "Result");
    return block;
  }

  function parsed(text) {
    try {
      return JSON.parse(text);
    } catch {
      return null; // none, or clipped
    }
  }

  function partsOf(turn) {
    const parts = Object.entries(turn.components).map(([name, value]) => {
      const label = name.replaceAll("_", " ");
      if (value === null) return make("span", "", `${label}: does not apply`);
      const bar = tint(make("i"), value);
      bar.style.setProperty("--filled", value);
      return make("span", "", label, make("span", "meter", bar), make("b", "", written(value)));
    });
    if (turn.took !== null) parts.push(make("span", "", turn.took));
    if (turn.reason) parts.push(make("span", "", turn.reason));
    return make("p", "parts", ...parts);
  }

  // The elements that show what was said and done.
  function bodyOf({ episode, turns }) {
    const failure = episode.error ? [make("p", "failure", `The policy failed: ${episode.error}`)] : [];
    return [...failure, ...turns.map(turnOf)];
  }

  return { make, button, tint, written, said, callOf, entryOf, headOf, bodyOf };
})();
