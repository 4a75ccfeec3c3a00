// Conveniences; the page is complete without them: drop and paste a picture, keys, clean addresses, a sign that work goes on.
document.body.classList.add("scripted");
const words = document.getElementById("words");
const byPicture = document.getElementById("by-picture");
const box = document.getElementById("q");
const file = document.getElementById("file");

for (const form of [words, byPicture]) {
  form?.addEventListener("submit", () => document.body.classList.add("busy"));
}
words.addEventListener("submit", () => {
  // What is empty, or as it is anyway, need not stand in the address.
  for (const input of words.querySelectorAll("input[name]")) {
    if (input.value === "" || (input.type === "range" && input.value === input.defaultValue && !asks(input.name))) input.disabled = true;
  }
});
function asks(name) {
  return new URLSearchParams(location.search).has(name);
}
addEventListener("pageshow", () => {
  document.body.classList.remove("busy");
  for (const input of words.querySelectorAll("input:disabled")) input.disabled = false;
});

for (const range of words.querySelectorAll("input[type=range]")) {
  range.addEventListener("input", () => (range.nextElementSibling.value = range.value));
  range.addEventListener("change", () => (box.value || asks("like") || asks("picture")) && words.requestSubmit());
}
for (const radio of words.querySelectorAll("input[type=radio], input[type=checkbox]")) {
  radio.addEventListener("change", () => (box.value || asks("like") || asks("picture")) && words.requestSubmit());
}

function take(files) {
  const picture = [...(files ?? [])].find((one) => one.type.startsWith("image/"));
  if (!picture || !file) return false;
  const carrier = new DataTransfer();
  carrier.items.add(picture);
  file.files = carrier.files;
  byPicture.requestSubmit();
  return true;
}
file?.addEventListener("change", () => file.files.length && byPicture.requestSubmit());
addEventListener("paste", (event) => take(event.clipboardData?.files) && event.preventDefault());
let depth = 0;
const dragged = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragenter", (event) => {
  if (dragged(event)) document.body.classList.toggle("dragging", ++depth > 0);
});
addEventListener("dragleave", (event) => {
  if (dragged(event)) document.body.classList.toggle("dragging", --depth > 0);
});
addEventListener("dragover", (event) => dragged(event) && event.preventDefault());
addEventListener("drop", (event) => {
  depth = 0;
  document.body.classList.remove("dragging");
  if (!dragged(event)) return;
  event.preventDefault();
  take(event.dataTransfer.files);
});

const tiles = [...document.querySelectorAll(".prints .open")];
function columns() {
  const top = tiles[0].getBoundingClientRect().top;
  return Math.max(1, tiles.filter((tile) => Math.abs(tile.getBoundingClientRect().top - top) < 4).length);
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(input|textarea|select)$/i.test(event.target.tagName);
  if (event.key === "/" && !typing) {
    event.preventDefault();
    box.focus();
    box.select();
    return;
  }
  if (event.key === "ArrowDown" && event.target === box && tiles.length) {
    event.preventDefault();
    tiles[0].focus();
    return;
  }
  const here = tiles.indexOf(document.activeElement);
  if (typing || document.querySelector(":popover-open")) return;
  if (here < 0) {
    if (event.key === "ArrowRight" && document.activeElement === document.body) tiles[0]?.focus();
    return;
  }
  if (event.key === "m") {
    location.href = tiles[here].closest("figure").querySelector("a.like").href;
    return;
  }
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
  const next = step && tiles[here + step];
  if (next) {
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
});
