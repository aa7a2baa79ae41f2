"use strict";
// Draws the episode of a page, and moves through lists by keys.
(() => {
  const { entryOf, headOf, bodyOf } = conversation;

  // A page, or the part of a page that htmx has fetched, holds an episode as JSON in an attribute.
  customElements.define("agent-episode", class extends HTMLElement {
    connectedCallback() {
      const entry = entryOf(Number(this.dataset.policy ?? 0), JSON.parse(this.dataset.episode));
      this.replaceChildren(headOf(entry), ...bodyOf(entry));
    }
  });

  const items = () => [...document.querySelectorAll("[data-item]")];

  function move(offset) {
    const all = items();
    const from = all.includes(document.activeElement)
      ? all.indexOf(document.activeElement)
      : all.findIndex((item) => item.getAttribute("aria-current") === "true");
    const to = Math.min(Math.max(from + offset, 0), all.length - 1);
    all[to]?.focus();
  }

  const keys = {
    j: () => move(1),
    k: () => move(-1),
    "/": () => document.querySelector("[data-search]")?.focus(),
    x: () => document.activeElement.closest("tr")?.querySelector("[type=checkbox]")?.click(),
    t: () => document.querySelector("[data-tag]")?.focus(),
    u: () => document.querySelector("[data-up]")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    const writes = event.target.closest("input, textarea, select");
    if (event.key === "Escape" && writes) return writes.blur();
    if (writes || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });

  // The chosen episode is marked in the list.
  document.addEventListener("click", (event) => {
    const chosen = event.target.closest("a.item");
    if (!chosen) return;
    for (const item of items()) item.toggleAttribute("aria-current", false);
    chosen.setAttribute("aria-current", "true");
    // On a small screen the episode lies below the list.
    if (matchMedia("(max-width: 860px)").matches) document.getElementById("episode").scrollIntoView();
  });
})();
