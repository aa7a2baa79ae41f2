"use strict";
// Requests to the server, for the pages that play and start runs.
const asking = (() => {
  const trouble = document.getElementById("trouble");

  // Return a function that sends a request below an address and returns the answer's JSON.
  function below(base) {
    return async (method, path, body) => {
      const answer = await fetch(base + path, { method, body: body === undefined ? undefined : JSON.stringify(body) });
      const content = await answer.json();
      if (!answer.ok) throw new Error(content.error?.message ?? `the server answered ${answer.status}`);
      return content;
    };
  }

  // Do work and show its failure; no form can be sent meanwhile.
  async function attempt(work) {
    const buttons = document.querySelectorAll("form button");
    for (const button of buttons) button.disabled = true;
    trouble.hidden = true;
    try {
      await work();
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  // Do work with the values of a form when it is sent.
  function onSubmit(id, work) {
    document.getElementById(id).addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => work(new FormData(event.target)));
    });
  }

  return { below, attempt, onSubmit };
})();
