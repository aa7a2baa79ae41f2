"use strict";
// Starts runs of the server and watches them by its stream of events. Everything shown is set as text.
(() => {
  const { make, button, written } = conversation;
  const { below, attempt, onSubmit } = asking;
  const ask = below("/v1/runs");
  const byId = (id) => document.getElementById(id);
  const cards = new Map();
  const MOST_LINES = 200;

  onSubmit("start", async (chosen) => {
    const policy = chosen.get("policy");
    const settings = {
      policy: [policy], env: chosen.get("env"), corpus: chosen.get("corpus"), split: chosen.get("split"),
      episodes: Number(chosen.get("episodes")), ...JSON.parse(chosen.get("more").trim() || "{}"),
    };
    const name = chosen.get("name").trim() || null;
    show(await ask("POST", "", { command: chosen.get("command"), settings, name }));
  });

  function show(run) {
    if (!cards.size) byId("jobs").replaceChildren();
    const card = cards.get(run.name) ?? begin(run.name);
    card.state.textContent = run.state;
    card.state.className = `verdict ${{ done: "better", failed: "worse" }[run.state] ?? ""}`;
    card.about.textContent = [run.command, ...policiesOf(run.settings), run.error].filter(Boolean).join(", ");
    const isOpen = ["queued", "running"].includes(run.state);
    card.stop.hidden = !isOpen;
    card.resume.hidden = !["stopped", "interrupted", "failed"].includes(run.state);
    if (run.progress) advance(card, run.progress);
  }

  function policiesOf(settings) {
    return [settings.policy ?? []].flat().map((policy) => (typeof policy === "string" ? policy : policy?.name ?? ""));
  }

  function begin(name) {
    const card = {
      state: make("span", "verdict"), about: make("p", "note"), bar: make("progress"), count: make("span", "note"),
      lines: make("ol", "events"),
      stop: button("Stop", null, () => attempt(async () => show(await ask("POST", `/${name}/stop`)))),
      resume: button("Resume", null, () => attempt(async () => show(await ask("POST", `/${name}/resume`)))),
    };
    card.bar.value = 0;
    card.bar.setAttribute("aria-label", `Progress of ${name}`);
    const link = make("a", "", "episodes");
    link.href = `${byId("jobs").dataset.prefix}?words=${encodeURIComponent(name)}`;
    const article = make("article", "card job",
      make("h3", "", name, " ", card.state), card.about, make("p", "", card.bar, " ", card.count),
      make("p", "step", link, card.stop, card.resume),
      make("details", "", make("summary", "", "events"), card.lines));
    article.dataset.run = name;
    byId("jobs").prepend(article);
    cards.set(name, card);
    return card;
  }

  function advance(card, { done, total, phase }) {
    if (total) card.bar.max = total;
    card.bar.value = done;
    card.count.textContent = `${phase ?? ""} ${done}${total ? ` of ${total}` : ""}`.trim();
  }

  // A run that has ended is still running for the moment that its process needs to leave.
  function refresh(name, hasEnded = false) {
    attempt(async () => {
      const run = await ask("GET", `/${name}`);
      show(run);
      if (hasEnded && run.state === "running") setTimeout(() => refresh(name, true), 500);
    });
  }

  function hear({ data }) {
    const event = JSON.parse(data);
    if (!event.run) return;
    const card = cards.get(event.run) ?? begin(event.run);
    if (event.kind === "progress") advance(card, event);
    if (event.kind === "evaluation") {
      const { policy, reward, simulated } = event.evaluation;
      const figure = simulated ? `strict success ${written(simulated.strict.mean ?? null, 3)}` : `reward per turn ${written(reward.mean ?? null, 3)}`;
      card.count.textContent = `${policy}: ${figure}`;
    }
    if (event.kind === "command") refresh(event.run);
    if (event.kind === "ended") refresh(event.run, true);
    card.lines.append(make("li", "", JSON.stringify(event)));
    if (card.lines.children.length > MOST_LINES) card.lines.firstElementChild.remove();
  }

  const events = new EventSource("/v1/events");
  events.onmessage = hear;
  // Whenever a stream begins: what has happened before it is in the list.
  events.onopen = () => attempt(async () => {
    for (const run of (await ask("GET", "")).reverse()) show(run);
  });
  addEventListener("pagehide", () => events.close());
})();
