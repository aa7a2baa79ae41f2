// The list of episodes of a report, with its filters. It follows conversation.js in one script.
(() => {
  const { make, button, tint, written, entryOf, headOf, bodyOf } = conversation;
  const { policies, open: first, shown } = JSON.parse(document.getElementById("data").textContent);
  const entries = shown.map(({ policy, episode }) => entryOf(policy, episode));
  const byId = (id) => document.getElementById(id);
  const controls = { search: byId("search"), policy: byId("policy"), kind: byId("kind"), order: byId("order") };
  let listed = [];
  let current = null;

  const kinds = {
    all: () => true,
    missed: ({ turns }) => turns.some(({ target, calls }) => target?.call && !calls.some((call) => call.name === target.call.name)),
    spurious: ({ turns }) => turns.some(({ target, calls }) => calls.length && target && !target.call),
    unsuccessful: ({ turns }) => !turns.at(-1)?.simulated?.verdict.strict,
    misunderstood: ({ turns }) => turns.some(({ simulated }) => simulated && simulated.understood === false),
    unseen: ({ episode }) => Boolean(episode.seen_services) && episode.services.some((service) => !episode.seen_services.includes(service)),
    refused: ({ turns }) => turns.some((turn) => turn.steps.some((step) => step.action_error)),
    unscored: ({ turns }) => turns.some((turn) => turn.reward === null),
    failed: ({ episode }) => Boolean(episode.error),
  };

  const rank = ({ mean }) => mean ?? -1;
  const orders = {
    worst: (a, b) => rank(a) - rank(b),
    best: (a, b) => rank(b) - rank(a),
    dialogue: (a, b) => a.episode.dialogue_id.localeCompare(b.episode.dialogue_id) || a.policy - b.policy,
  };

  function showList() {
    const sought = controls.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    listed = entries
      .filter((entry) => controls.policy.value === "" || entry.policy === Number(controls.policy.value))
      .filter(kinds[controls.kind.value])
      .filter((entry) => sought.every((word) => entry.words.includes(word)))
      .sort(orders[controls.order.value]);
    byId("found").textContent = listed.length === 1 ? "1 episode" : `${listed.length} episodes`;
    byId("list").replaceChildren(...listed.map(itemOf));
  }

  function itemOf(entry) {
    const { episode, turns, mean, policy } = entry;
    const name = make("span", "", make("span", `dot s${policy % 8}`), episode.dialogue_id);
    const cells = make("div", "cells", ...turns.map((turn) => tint(make("span", "cell"), turn.reward)));
    const item = make("button", "item",
      make("div", "top", name, make("span", "", episode.error ? "failed" : written(mean, 3))),
      cells, make("div", "about", [...(policies.length > 1 ? [policies[policy]] : []), ...episode.services].join(", ")));
    item.type = "button";
    item.setAttribute("aria-current", String(entry === current));
    item.addEventListener("click", () => open(entry));
    return item;
  }

  function open(entry) {
    current = entry;
    showList();
    const steps = make("div", "step", step("previous", -1), step("next", 1));
    byId("episode").replaceChildren(headOf(entry, steps), switchOf(entry), ...bodyOf(entry));
  }

  function step(label, offset) {
    const neighbour = listed[listed.indexOf(current) + offset];
    const element = button(label, null, () => open(neighbour));
    element.disabled = !listed.includes(current) || !neighbour;
    return element;
  }

  function switchOf(entry) {
    const same = entries.filter(({ episode }) => episode.dialogue_id === entry.episode.dialogue_id && episode.seed === entry.episode.seed);
    if (policies.length < 2) return make("div");
    return make("div", "switch", ...same.map((other) => button(`${policies[other.policy]} ${written(other.mean, 3)}`, other === entry, () => open(other))));
  }

  policies.forEach((name, number) => {
    const option = make("option", "", name);
    option.value = String(number);
    controls.policy.append(option);
  });
  controls.policy.hidden = policies.length < 2;
  for (const control of Object.values(controls)) control.addEventListener("input", showList);
  showList();
  if (entries.length) {
    open(entries[first]);
    // Without moving the page, which opens at its top.
    const item = byId("list").querySelector('[aria-current="true"]');
    if (item) byId("list").scrollTop = item.offsetTop - byId("list").offsetTop - 60;
  }
})();
