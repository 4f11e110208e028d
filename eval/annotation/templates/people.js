"use strict";
// Forms: an answer is sent until the server has it. Without this script, the browser sends the form itself.
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function send(form, submitter) {
  const status = form.querySelector(".status");
  const body = new URLSearchParams(new FormData(form, submitter));
  for (let wait = 500; ; wait = Math.min(2 * wait, 8000)) {
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body });
      if (answer.ok) return answer.url;
      if (answer.status < 500) {
        status.textContent = "This page is out of date and is loaded again.";
        await pause(1500);
        return location.href;
      }
    } catch { /* no server, or no network */ }
    status.textContent = "The server does not answer. This is not saved yet, and is sent again. Please keep this page open.";
    await pause(wait);
  }
}

for (const form of document.querySelectorAll("form[data-send]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.busy) return;
    form.dataset.busy = "yes";
    const sent = send(form, event.submitter);
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    location.replace(await sent);
  });
}

// Keys: data-keys of an input, a button or a link names the keys that do what a click does.
const typing = (node) => node.matches("textarea, input[type=text], input:not([type])");
const toggle = document.querySelector("[data-shortcuts]");
if (toggle) {
  toggle.checked = localStorage.getItem("shortcuts") !== "off";
  toggle.addEventListener("change", () => localStorage.setItem("shortcuts", toggle.checked ? "on" : "off"));
}
document.addEventListener("keydown", (event) => {
  const at = event.target;
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (typing(at)) {
    if (event.key === "Escape") at.blur();
    return;
  }
  const name = (event.shiftKey ? "shift+" : "") + event.key.toLowerCase();
  // Enter on a button or a link does what that one does, and single letters may be switched off.
  if (name === "enter" && at.matches("button, a, summary")) return;
  if (toggle && !toggle.checked && name.replace("shift+", "").length === 1) return;
  for (const node of document.querySelectorAll("[data-keys]")) {
    if (!node.disabled && node.dataset.keys.split(" ").includes(name)) {
      event.preventDefault();
      if (typing(node) || node.matches("input[type=radio]")) node.focus({ preventScroll: !typing(node) });
      if (!typing(node)) node.click();
      return;
    }
  }
});

// A page from the browser's memory may be older than the answers.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
