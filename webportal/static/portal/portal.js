/* What makes pages quicker to use. Every page works without it. */
"use strict";

/* ---- times in the reader's own time zone */
const { lang, dataset } = document.documentElement;
const clock = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short", timeZone: dataset.zone });
/* A receipt is read elsewhere and later too: to the second, and with the time zone's name. */
const exact = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "long", timeZone: dataset.zone });
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = (time.closest(".receipt") ? exact : clock).format(new Date(time.dateTime));
  }
}

/* ---- the program that was chosen last */
function chosenWay(root) {
  for (const choice of root.querySelectorAll("input[name=way]")) choice.checked ||= localStorage.getItem("way") === choice.id;
}
document.addEventListener("change", ({ target }) => {
  if (target.name === "way") localStorage.setItem("way", target.id);
});

function prepare(root) {
  localTimes(root);
  chosenWay(root);
}
prepare(document);

/* ---- parts of another page put in place of the same parts here; what was opened stays open, and the focus where it was */
function replace(here, there) {
  prepare(there);
  const opened = [...here.querySelectorAll("details")].map((part) => part.open);
  there.querySelectorAll("details").forEach((part, at) => (part.open ||= opened[at] ?? false));
  const held = here.contains(document.activeElement) ? document.activeElement : null;
  here.replaceWith(there);
  const same = (part) => part.textContent === held.textContent && part.id === held.id;
  if (held) [...there.querySelectorAll(held.tagName)].find(same)?.focus({ preventScroll: true });
}
async function swap(request, ids) {
  const answer = await fetch(request);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const parts = ids.map((id) => [document.getElementById(id), page.getElementById(id)]);
  if (!answer.ok || parts.some(([here, there]) => !here || !there)) return false;
  for (const [here, there] of parts) replace(here, there);
  return true;
}

const said = document.createElement("p");
said.className = "visually-hidden";
said.setAttribute("role", "status");
document.body.append(said);

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.swap) return;
  event.preventDefault();
  const ids = form.dataset.swap.split(" ");
  const done = await swap(new Request(form.action, { method: "POST", body: new FormData(form) }), ids).catch(() => false);
  if (!done) return form.submit();
  said.textContent = form.dataset.said || "";
  const place = document.getElementById(ids.at(-1));
  place.querySelector(".chosen, button")?.focus({ preventScroll: true });
});

/* ---- search while typing */
const search = document.querySelector("form[data-instant]");
if (search) {
  let waiting = 0;
  const wish = () => new URLSearchParams(new FormData(search)).toString();
  let asked = wish();
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const query = wish();
      if (query === asked) return;
      asked = query;
      const address = new URL(search.action);
      for (const [name, value] of new FormData(search)) if (value) address.searchParams.set(name, value);
      const here = search.dataset.instant;
      const answer = await fetch(address).catch(() => null);
      if (!answer?.ok || asked !== query) return;
      const there = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(here);
      if (!there || asked !== query) return;
      replace(document.getElementById(here), there);
      history.replaceState(null, "", address);
    }, 180);
  });
}

/* ---- copy buttons */
async function copyText(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
  } catch {
    // Clipboards are for secure pages only; selecting and copying works on all.
    const selection = getSelection();
    selection.selectAllChildren(element);
    document.execCommand("copy");
    selection.removeAllRanges();
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copyText(document.getElementById(button.dataset.copy));
  const label = button.querySelector("span");
  const before = label.textContent;
  if (button.classList.contains("done")) return;
  button.classList.add("done");
  label.textContent = said.textContent = button.dataset.done;
  setTimeout(() => {
    button.classList.remove("done");
    label.textContent = before;
  }, 1600);
});

/* ---- listening to the beginning of a track */
let sound = null;
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play]");
  if (!button) return;
  const before = document.querySelector("[data-play][aria-pressed=true]");
  sound?.pause();
  before?.setAttribute("aria-pressed", "false");
  if (before === button) return;
  sound = new Audio(button.dataset.play);
  button.setAttribute("aria-pressed", "true");
  const over = () => button.setAttribute("aria-pressed", "false");
  sound.addEventListener("ended", over);
  sound.addEventListener("error", over);
  sound.play().catch(over);
});

/* ---- parts that are looked up again and again */
for (const { id, dataset: { refresh } } of document.querySelectorAll("[data-refresh]")) {
  setInterval(() => {
    // Not under the fingers of somebody who is about to press a button there.
    const used = document.getElementById(id).contains(document.activeElement);
    if (!document.hidden && !used) swap(location.href, [id]).catch(() => false);
  }, 1000 * refresh);
}

/* ---- print buttons */
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => print());
