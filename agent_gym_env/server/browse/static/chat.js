"use strict";
// A person plays the user against a policy of the server. Everything shown is set as text.
(() => {
  const { make, said, callOf } = conversation;
  const { below, onSubmit } = asking;
  const ask = below("/v1/chats");
  const byId = (id) => document.getElementById(id);
  let chat = null;

  onSubmit("begin", async (chosen) => {
    leave();
    const policy = chosen.get("policy").trim();
    const begun = await ask("POST", "", {
      policy: policy.startsWith("{") ? JSON.parse(policy) : policy,
      corpus: chosen.get("corpus"),
      split: chosen.get("split"),
      dialogue_id: chosen.get("dialogue").trim() || null,
      seed: Number(chosen.get("seed")),
    });
    chat = begun.chat;
    byId("about").textContent = `Services: ${begun.services.join(", ")}.` +
      (begun.date ? ` Today is ${begun.date}.` : "") + " The recorded user began with the words below; say what you want.";
    byId("conversation").replaceChildren();
    byId("played").hidden = false;
    byId("text").value = begun.example;
    byId("text").focus();
  });

  onSubmit("say", async (chosen) => {
    const text = chosen.get("text");
    const { text: reply, calls } = await ask("POST", `/${chat}/say`, { text });
    const agent = make("div", "side", make("h4", "", "agent"),
      ...calls.map(({ call, result }) => callOf(call, null, result)), said(reply, ""));
    const number = byId("conversation").children.length + 1;
    const article = make("article", "turn",
      make("div", "rail", make("span", "", number)),
      make("div", "", make("p", "said user", text), agent));
    byId("conversation").append(article);
    article.scrollIntoView({ block: "nearest" });
    byId("say").reset();
    byId("text").focus();
  });

  function leave() {
    if (chat !== null) fetch(`/v1/chats/${chat}`, { method: "DELETE", keepalive: true });
    chat = null;
  }

  addEventListener("pagehide", leave);
})();
