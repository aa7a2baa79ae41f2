"use strict";
// Plays a session of the server by hand. Everything shown is set as text.
(() => {
  const { make, said, callOf, written, tint } = conversation;
  const { below, onSubmit } = asking;
  const ask = below("/v1/sessions");
  const byId = (id) => document.getElementById(id);
  let session = null;
  let functions = [];
  let turn = null; // the elements of the open turn

  onSubmit("begin", async (chosen) => {
    await leave();
    const settings = { corpus: chosen.get("corpus"), split: chosen.get("split") };
    session = (await ask("POST", "", { env: chosen.get("env"), arguments: settings })).session;
    const dialogue = chosen.get("dialogue").trim();
    const options = dialogue ? { dialogue_id: dialogue } : null;
    const { reply } = await ask("POST", `/${session}/reset`, { seed: Number(chosen.get("seed")), options });
    byId("conversation").replaceChildren();
    byId("played").hidden = false;
    offer(reply.observation.tools);
    openTurn(reply);
    enable(true);
    byId("text").focus();
  });

  onSubmit("say", async (chosen) => {
    const text = chosen.get("text");
    const { reply } = await ask("POST", `/${session}/step`, { action: { text } });
    turn.agent.append(said(text, ""));
    closeTurn(reply);
    byId("say").reset();
    if (reply.terminated || reply.truncated) end(reply);
    else openTurn(reply);
    byId("text").focus();
  });

  onSubmit("call", async () => {
    const call = { name: byId("tool").value, arguments: filledIn() };
    const { reply } = await ask("POST", `/${session}/step`, { action: { tool_calls: [call] } });
    const [result] = JSON.parse(reply.observation.tool_result || "[]");
    turn.agent.append(callOf(call, null, result ?? null));
    if (reply.terminated || reply.truncated) end(reply);
    turn.agent.lastElementChild.scrollIntoView({ block: "nearest" });
  });

  function openTurn({ observation, info }) {
    const agent = make("div", "side", make("h4", "", "you"));
    const parts = make("p", "parts");
    const score = make("span", "score unscored", "…");
    const number = byId("conversation").children.length + 1;
    const article = make("article", "turn",
      make("div", "rail", score, make("span", "", number)),
      make("div", "", make("p", "said user", observation.user), agent, parts));
    byId("conversation").append(article);
    article.scrollIntoView({ block: "nearest" });
    turn = { agent, parts, score, info };
  }

  function closeTurn({ reward, info }) {
    turn.score.classList.remove("unscored");
    turn.score.textContent = written(reward);
    tint(turn.score, reward);
    const facts = Object.entries(info.reward_components ?? {}).filter(([, value]) => value !== null);
    turn.parts.append(...facts.map(([name, value]) => make("span", "", name.replaceAll("_", " "), " ", make("b", "", written(value)))));
    if (info.user_understood === false) turn.parts.append(make("span", "", "the user did not understand"));
    if (info.action_error) turn.parts.append(make("span", "", `repaired or refused: ${info.action_error}`));
    const recorded = (info.target ?? []).map((message) => message.content).filter(Boolean);
    if (recorded.length) turn.parts.append(make("span", "", `recorded: ${recorded.join(" ")}`));
  }

  function end({ info }) {
    const task = info.task ?? {};
    const verdict = task.success === null || task.success === undefined ? "The dialogue is over."
      : task.strict ? "The dialogue is over: strict success."
      : `The dialogue is over: ${task.success ? "success, not strict" : "no success"}. ${[task.reasons].flat().filter(Boolean).join(", ")}`;
    byId("conversation").append(make("p", "said silence", verdict));
    enable(false);
    leave();
  }

  function enable(isOpen) {
    for (const field of document.querySelectorAll("#say textarea, #say button, #call select, #call input, #call button")) field.disabled = !isOpen;
  }

  async function leave() {
    const left = session;
    session = null;
    if (left !== null) await fetch(`/v1/sessions/${left}`, { method: "DELETE" });
  }

  function offer(tools) {
    functions = JSON.parse(tools).map((tool) => tool.function);
    byId("tool").replaceChildren(...functions.map(({ name }) => {
      const option = make("option", "", name);
      option.value = name;
      return option;
    }));
    byId("call").hidden = !functions.length;
    showFields();
  }

  byId("tool").addEventListener("change", showFields);

  function showFields() {
    const chosen = functions.find(({ name }) => name === byId("tool").value);
    byId("about").textContent = chosen?.description ?? "";
    const { properties = {}, required = [] } = chosen?.parameters ?? {};
    byId("fields").replaceChildren(...Object.entries(properties).map(([name, schema], place) => {
      const field = fieldOf(schema, place);
      field.dataset.argument = name;
      field.required = required.includes(name);
      return make("label", "", field.required ? name : `${name}, optional`, field, schema.description ? make("span", "note", schema.description) : null);
    }));
  }

  function fieldOf(schema, place) {
    const field = make("input");
    field.placeholder = schema.default === undefined ? "" : String(schema.default);
    if (!Array.isArray(schema.enum)) return field;
    const list = make("datalist", "", ...schema.enum.map((value) => {
      const option = make("option");
      option.value = String(value);
      return option;
    }));
    list.id = `values-${place}`;
    field.setAttribute("list", list.id);
    document.getElementById(list.id)?.remove();
    byId("call").append(list);
    return field;
  }

  // A text stays a text where the schema says so; any other value is read as JSON.
  function filledIn() {
    const chosen = functions.find(({ name }) => name === byId("tool").value);
    const fields = [...document.querySelectorAll("#fields [data-argument]")].filter((field) => field.value !== "");
    return Object.fromEntries(fields.map((field) => {
      const schema = chosen.parameters.properties[field.dataset.argument];
      return [field.dataset.argument, schema.type === "string" ? field.value : valueOf(field.value)];
    }));
  }

  function valueOf(text) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }

  addEventListener("pagehide", () => {
    if (session !== null) fetch(`/v1/sessions/${session}`, { method: "DELETE", keepalive: true });
  });
})();
