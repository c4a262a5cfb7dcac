/* Progress that moves by itself: from the gate's stream, and while that is away from what the portal has recorded. */
"use strict";

const POLL_MS = 4000;
const RETRY_MS = 3000;
const STALLED_MS = 5000;
const RECORDED_MS = 1200;
const QUIET_MS = 6500; // the portal asks from five seconds on, and may know a second later that a transfer has ended
const language = document.documentElement.lang;

/* ---- numbers as the server writes them */
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
function size(count) {
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  if (!unit) return `${value}\u00a0${document.documentElement.dataset.byte}`;
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const form = { style: "unit", unit: UNITS[unit], unitDisplay: "short", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, form).format(value).replace(/\s/g, "\u00a0");
}
function time(seconds) {
  const [unit, value] = seconds < 60 ? ["second", seconds] : seconds < 5400 ? ["minute", seconds / 60] : ["hour", seconds / 3600];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 }).format(Math.ceil(value));
}
function fill(element, values) {
  if (!element) return;
  element.hidden = !values;
  if (values) element.textContent = element.dataset.pattern.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/* ---- the map of an item's bytes; the same as webportal/site/bytemap.py */
const WIDTH = 1000;
const HEIGHT = 10;
function columns(sizes) {
  const gap = sizes.length > 1 ? Math.min(3, 150 / sizes.length) : 0;
  const scale = (WIDTH - gap * (sizes.length - 1)) / (sizes.reduce((a, b) => a + b, 0) || 1);
  let x = 0;
  return sizes.map((bytes) => {
    const column = [x, bytes * scale];
    x += bytes * scale + gap;
    return column;
  });
}
function box(x, width) {
  return `M${x.toFixed(2)} 0h${width.toFixed(2)}v${HEIGHT}h-${width.toFixed(2)}z`;
}
/* Left and right edge of each range of each file, and the right edge of that file. */
function placed(files, places, ranges) {
  return files.flatMap((file, at) => {
    const [x, width] = places[at];
    const scale = width / (file.bytes || 1);
    const found = [];
    for (const [start, end] of ranges(file)) {
      const last = found.at(-1);
      if (last && x + start * scale - last[1] < 0.25) last[1] = x + end * scale;
      else found.push([x + start * scale, x + end * scale, x + width]);
    }
    return found;
  });
}
function arrived(files, places) {
  return placed(files, places, (file) => file.covered).map(([left, right]) => box(left, right - left)).join("");
}
const NARROWEST = 4;
function unconfirmed(files, places) {
  const boxes = placed(files, places, (file) => file.unconfirmed);
  return boxes.map(([left, right, end]) => box(Math.min(left, Math.max(0, end - NARROWEST)), Math.max(right - left, NARROWEST))).join("");
}
function lacksOnlyUnconfirmed(item) {
  return !item.complete && item.unconfirmed > 0 && item.delivered + item.unconfirmed === item.bytes;
}
function belongs(transfer, item) {
  return transfer.path === `/${item.folder}.zip` || transfer.path.startsWith(`/${item.folder}/`);
}
/* What is still to come of the ranges that are under way: of a file in its column, of a zip over the whole item. */
function underWay(item, places, transfers) {
  let path = "";
  for (const transfer of transfers) {
    const at = item.files.findIndex((file) => transfer.path === `/${item.folder}/${file.path}`);
    let before = 0; // a zip is its files one behind the other; what lies between them is too little to see
    item.files.forEach((file, number) => {
      if (at < 0 || at === number) {
        const [x, width] = places[number];
        const scale = width / (file.bytes || 1);
        const start = Math.max(0, transfer.position - before);
        const end = Math.min(file.bytes, transfer.end - before);
        if (end > start) path += box(x + start * scale, (end - start) * scale);
      }
      if (at < 0) before += file.bytes;
    });
  }
  return path;
}

/* ---- one grant on the page */
class Watch {
  constructor(root) {
    this.root = root;
    this.moved = { delivered: null, at: performance.now() };
    this.rate = 0;
    this.timer = 0;
    this.silence = 0;
    this.asking = new Map();
    this.stream = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.begin()));
    this.begin();
  }

  get open() {
    return this.root.dataset.state === "open";
  }

  begin() {
    this.rest();
    if (!this.open || document.hidden) return;
    if (this.root.dataset.stream) this.listen();
    else this.poll(); // a browser has too few connections to follow many grants at once
  }

  rest() {
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    for (const id of this.asking.keys()) this.forgetOffer(id);
    this.stream?.close();
    this.stream = null;
  }

  listen() {
    this.stream = new EventSource(this.root.dataset.stream);
    this.stream.addEventListener("progress", (event) => this.show(JSON.parse(event.data)));
    this.stream.onerror = () => {
      // The gate is away or the link is dead: the portal knows what was recorded, and the gate is asked again later.
      this.rest();
      this.poll(RETRY_MS);
    };
  }

  async poll(listenAgain = 0) {
    const until = performance.now() + listenAgain;
    const again = async () => {
      try {
        const answer = await fetch(this.root.dataset.recorded, { headers: { Accept: "application/json" }, redirect: "error" });
        if (answer.ok) this.recorded(await answer.json());
      } catch {
        // Tried again in a moment.
      }
      if (!this.open || document.hidden) return;
      if (listenAgain && performance.now() > until) this.listen();
      else this.timer = setTimeout(again, POLL_MS);
    };
    await again();
  }

  recorded(grant) {
    if (this.root.dataset.stream) this.root.dataset.stream = grant.stream; // the address before holds for minutes only
    this.show(grant);
  }

  show(grant) {
    for (const item of grant.items) if (this.place(item.id)?.dataset.complete === "customer") item.complete = true; // a gate knows bytes only
    const total = grant.items.reduce((sum, item) => sum + item.bytes, 0);
    const delivered = grant.items.reduce((sum, item) => sum + item.delivered, 0);
    const transfers = grant.transfers;
    this.measure(delivered, transfers);
    const bar = this.root.querySelector("[data-field=bar]");
    bar.value = total ? Math.floor((100 * delivered) / total) : 100;
    fill(this.root.querySelector("[data-field=amount]"), { delivered: size(delivered), total: size(total) });
    fill(this.root.querySelector("[data-field=speed]"), this.rate >= 1 ? { rate: size(Math.round(this.rate)) } : null);
    fill(this.root.querySelector("[data-field=left]"), this.rate >= 1 && delivered < total ? { time: time((total - delivered) / this.rate) } : null);
    const count = transfers?.length ?? 0;
    const protocols = [...new Set((transfers ?? []).map((transfer) => transfer.protocol.toUpperCase()))].join(", ");
    fill(this.root.querySelector("[data-field=connections]"), count ? { count: `${count} (${protocols})` } : null);
    for (const item of grant.items) this.showItem(item, transfers ?? []);
    this.root.dataset.condition = this.condition(grant, delivered, transfers);
    clearTimeout(this.silence);
    if (transfers?.length && this.rate < 1) {
      // What does not change is not told again: that it stands still shows only in the silence.
      this.silence = setTimeout(() => this.show(grant), STALLED_MS);
    }
    if (grant.state !== this.root.dataset.state) this.changed(grant.state);
  }

  measure(delivered, transfers) {
    const now = performance.now();
    const last = this.moved;
    if (last.delivered === null) this.moved = { delivered, at: now };
    else if (delivered !== last.delivered) {
      this.rate = (1000 * (delivered - last.delivered)) / Math.max(now - last.at, 1);
      this.moved = { delivered, at: now };
    } else if (now - last.at > STALLED_MS) this.rate = 0;
    if (transfers) this.rate = transfers.reduce((sum, transfer) => sum + transfer.bytes_per_s, 0);
  }

  condition({ state, items }, delivered, transfers) {
    if (state !== "open") return state;
    if (this.rate >= 1) return "running";
    if (transfers?.length) return performance.now() - this.moved.at > STALLED_MS ? "stalled" : "running";
    const lacking = items.filter((item) => !item.complete);
    if (lacking.length && lacking.every(lacksOnlyUnconfirmed)) return "unconfirmed";
    return delivered ? "paused" : "waiting";
  }

  place(id) {
    return this.root.querySelector(`[data-item="${id}"]`);
  }

  showItem(item, transfers) {
    const place = this.place(item.id);
    if (!place) return;
    const places = columns(item.files.map((file) => file.bytes));
    const running = transfers.filter((transfer) => belongs(transfer, item));
    const map = place.querySelector(".map");
    map.querySelector(".map-arrived").setAttribute("d", arrived(item.files, places));
    map.querySelector(".map-running").setAttribute("d", underWay(item, places, running));
    map.querySelector(".map-unconfirmed").setAttribute("d", unconfirmed(item.files, places));
    place.querySelector("[data-legend]").hidden = !item.unconfirmed;
    fill(place.querySelector("[data-field=unconfirmed]"), { size: size(item.unconfirmed) });
    if (item.complete && !place.hasAttribute("data-complete")) this.fetchReceipt(item.id);
    if (item.complete !== place.hasAttribute("data-complete")) place.toggleAttribute("data-complete", item.complete);
    this.offer(item, running);
    fill(place.querySelector("[data-field=item-amount]"), { delivered: size(item.delivered), total: size(item.bytes) });
    const percents = place.querySelectorAll("[data-field=percent]");
    item.files.forEach((file, at) => {
      const got = file.covered.reduce((sum, [start, end]) => sum + end - start, 0);
      const percent = got >= file.bytes ? 100 : Math.floor((100 * got) / file.bytes);
      if (percents[at]) percents[at].textContent = `${percent} %`;
    });
  }

  /* What is unconfirmed is a matter for the customer once nothing of the item runs any more. The portal words the offer. */
  offer(item, running) {
    const offer = document.getElementById(`offer-${item.id}`);
    if (item.complete || running.length) {
      this.forgetOffer(item.id);
      offer.replaceChildren();
    } else if (lacksOnlyUnconfirmed(item) && !offer.firstElementChild && !this.asking.has(item.id)) {
      this.asking.set(item.id, setTimeout(() => this.fetchOffer(item.id), QUIET_MS));
    }
  }

  forgetOffer(id) {
    clearTimeout(this.asking.get(id));
    this.asking.delete(id);
  }

  async fetchOffer(id) {
    await swap(location.href, [`offer-${id}`]).catch(() => false);
    const words = document.getElementById(`offer-${id}`)?.querySelector("p");
    if (words) {
      this.asking.delete(id);
      said.textContent = words.textContent;
    } else if (this.asking.has(id)) {
      this.asking.set(id, setTimeout(() => this.fetchOffer(id), QUIET_MS));
    }
  }

  /* An item has arrived: the portal has a receipt of it, and one less in the cart, as soon as that is written down. */
  async fetchReceipt(id) {
    for (let tries = 0; tries < 5; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, RECORDED_MS));
      await swap(location.href, ["cart-count", `receipt-${id}`]).catch(() => false);
      if (document.getElementById(`receipt-${id}`)?.firstElementChild) return;
    }
  }

  async changed(state) {
    this.root.dataset.state = state;
    this.rest();
    // The page around it says something else now: which links there are, what is in the cart.
    const parts = ["cart-count", ...(this.root.id ? [this.root.id] : [])];
    await swap(location.href, parts).catch(() => false);
  }
}

for (const root of document.querySelectorAll("[data-grant]")) new Watch(root);
