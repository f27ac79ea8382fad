// Keeps a page fresh: asks for it again when the spool has changed, and appends what a running job prints.
"use strict";
(() => {
  const live = document.getElementById("live");
  const say = (text) => { if (live) { live.textContent = text; } };
  const isBusy = () =>
    document.querySelector("#chosen input[type=checkbox]:checked, details[open]") !== null ||
    ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);

  let first = true;
  const events = new EventSource("/api/events");
  events.addEventListener("change", () => {
    say("live");
    // The page is of just now; and what somebody is choosing or reading stays as it is.
    if (!first && !isBusy()) { htmx.trigger(document.body, "spool-changed"); }
    first = false;
  });
  events.onerror = () => say("offline");

  let output = null;
  const follow = () => {
    const place = document.querySelector("[data-follow][data-running=yes]");
    if (place?.dataset.follow === output?.url) { return; }
    output?.source.close();
    output = null;
    if (!place) { return; }
    const pre = (stream) => place.querySelector(`[data-stream=${stream}]`);
    const at = (stream) => pre(stream)?.dataset.at ?? 0;
    const url = place.dataset.follow;
    const source = new EventSource(`${url}&out=${at("out")}&err=${at("err")}`);
    output = { url, source };
    for (const stream of ["out", "err"]) {
      source.addEventListener(stream, (event) => {
        const target = pre(stream), data = JSON.parse(event.data);
        if (!target || data.at <= Number(target.dataset.at)) { return; }
        const atEnd = target.scrollTop + target.clientHeight >= target.scrollHeight - 8;
        target.append(data.text);
        target.dataset.at = data.at;
        if (atEnd) { target.scrollTop = target.scrollHeight; }
      });
    }
    // A browser would begin again where it began: what was shown already is left out above.
    source.addEventListener("over", () => { source.close(); htmx.trigger(document.body, "spool-changed"); });
  };
  follow();
  document.addEventListener("htmx:after:swap", follow);

  document.addEventListener("change", (event) => {
    if (event.target.id === "every") {
      for (const box of document.querySelectorAll("#chosen input[name=job]")) { box.checked = event.target.checked; }
    }
  });
})();
