"use strict";

/* Compare: one picture at a time, with a flicker between pictures of one group. */
const FLICKER_MS = 600;

function startCompare(box) {
  const shots = [...box.querySelectorAll(".shot")];
  const buttons = [...box.querySelectorAll(".segments button")];
  const flicker = box.querySelector(".flicker");
  let place = 0;
  let timer = null;
  const show = (next) => {
    place = next;
    shots.forEach((shot, index) => shot.classList.toggle("on", index === next));
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === next)));
  };
  const step = () => {
    const group = buttons[place].dataset.group;
    const peers = buttons.map((button, index) => index).filter((index) => buttons[index].dataset.group === group);
    show(peers[(peers.indexOf(place) + 1) % peers.length]);
  };
  const play = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(step, FLICKER_MS) : null;
    flicker.setAttribute("aria-pressed", String(on));
    flicker.textContent = on ? "❚❚ Stop" : "▶ Flicker";
  };
  buttons.forEach((button, index) => button.addEventListener("click", () => { show(index); }));
  flicker.addEventListener("click", () => play(timer === null));
  const pictures = box.querySelector(".shots");
  let before = 0;
  pictures.addEventListener("mouseenter", () => { before = place; if (timer === null) step(); });
  pictures.addEventListener("mouseleave", () => { if (timer === null) show(before); });
  box.tabIndex = 0;
  box.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move) show((place + move + shots.length) % shots.length);
    else if (event.key === "f") play(timer === null);
    else return;
    event.preventDefault();
  });
  box.classList.add("live");
  box.querySelector(".controls").hidden = false;
  show(0);
}

/* Contents: mark the section that is on the screen. */
function followSections() {
  const links = new Map([...document.querySelectorAll(".contents a[href^='#']")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((item) => item.isIntersecting)) {
      links.forEach((link) => link.classList.remove("here"));
      links.get(entry.target.id)?.classList.add("here");
    }
  }, { rootMargin: "0px 0px -70% 0px" });
  links.forEach((link, id) => { const target = document.getElementById(id); if (target) observer.observe(target); });
}

/* Regional values: the range over the study below the value, from the script that the group page is written with. */
function showRanges(study) {
  for (const cell of document.querySelectorAll("[data-region]")) {
    if (!Object.hasOwn(study.ranges, cell.dataset.region)) continue;
    const { text, sources } = study.ranges[cell.dataset.region];
    const range = document.createElement("span");
    range.className = "range";
    range.textContent = text;
    cell.append(" ", range);
    cell.dataset.source = [cell.dataset.source, ...sources].join(" ");
    cell.title = cell.dataset.source.replaceAll("../", "");
  }
  const words = document.getElementById("ranges");
  if (!words) return;
  words.querySelector(".sessions-count").textContent = study.sessions;
  words.hidden = false;
}

/* Printing: what is folded is unfolded on paper. */
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((item) => { item.open = true; }));

document.querySelectorAll(".compare").forEach(startCompare);
followSections();
if (window.studyRegions?.sessions > 1) showRanges(window.studyRegions);
