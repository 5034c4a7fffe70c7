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

/* Viewer: volumes arrive as montages of axial slices; each is decoded once and cut in three directions. */
const PLANES = {
  axial: { normal: 2, across: 0, up: 1, sides: ["L", "R"] },
  coronal: { normal: 1, across: 0, up: 2, sides: ["L", "R"] },
  sagittal: { normal: 0, across: 1, up: 2, sides: ["P", "A"] },
};

async function decode(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

function colourTable(hex) {
  return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}

class Viewer {
  constructor(figure) {
    this.figure = figure;
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.shape = this.data.shape;
    this.voxel = [0, 1, 2].map((axis) => Math.hypot(...[0, 1, 2].map((row) => this.data.affine[row][axis])));
    this.tables = Object.fromEntries(Object.entries(this.data.colourMaps).map(([name, hex]) => [name, colourTable(hex)]));
    this.volumes = new Map();
    this.position = this.shape.map((size) => Math.floor(size / 2));
    this.current = 0;
  }

  async start() {
    this.figure.hidden = false;
    this.addLayers();
    this.planes = [...this.figure.querySelectorAll(".plane")].map((box) => this.addPlane(box));
    this.outlines = this.figure.querySelector(".outlines");
    if (this.data.outlines) {
      this.labels = await decode(this.data.outlines.uri);
      this.outlines.addEventListener("change", () => this.draw());
    } else {
      this.outlines.closest("label").hidden = true;
    }
    await this.choose(0);
  }

  addLayers() {
    const list = this.figure.querySelector(".layers");
    this.buttons = this.data.layers.map((layer, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = layer.name;
      button.addEventListener("click", () => this.choose(index));
      list.append(button);
      return button;
    });
    list.hidden = this.buttons.length < 2;
  }

  addPlane(box) {
    const plane = { ...PLANES[box.dataset.plane], canvas: box.querySelector("canvas"), slider: box.querySelector("input") };
    plane.width = this.shape[plane.across];
    plane.height = this.shape[plane.up];
    const extent = Math.max(...this.shape.map((size, axis) => size * this.voxel[axis]));
    plane.span = [plane.width * this.voxel[plane.across] / extent, plane.height * this.voxel[plane.up] / extent];
    plane.slider.max = this.shape[plane.normal] - 1;
    plane.slider.value = this.position[plane.normal];
    plane.slider.addEventListener("input", () => this.move(plane.normal, Number(plane.slider.value)));
    const point = (event) => this.point(plane, event);
    plane.canvas.addEventListener("pointerdown", (event) => { plane.canvas.setPointerCapture(event.pointerId); point(event); });
    plane.canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
    return plane;
  }

  async choose(index) {
    this.current = index;
    this.buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(place === index)));
    if (!this.volumes.has(index)) this.volumes.set(index, await decode(this.data.layers[index].uri));
    this.draw();
  }

  move(axis, value) {
    this.position[axis] = Math.min(this.shape[axis] - 1, Math.max(0, value));
    this.planes.forEach((plane) => { plane.slider.value = this.position[plane.normal]; });
    this.draw();
  }

  point(plane, event) {
    const bounds = plane.canvas.getBoundingClientRect();
    const across = ((event.clientX - bounds.left) / bounds.width - 0.5) / plane.span[0] + 0.5;
    const down = ((event.clientY - bounds.top) / bounds.height - 0.5) / plane.span[1] + 0.5;
    if (across < 0 || across >= 1 || down < 0 || down >= 1) return;
    this.position[plane.across] = Math.floor(across * plane.width);
    this.move(plane.up, Math.floor((1 - down) * plane.height));
  }

  offset(voxel) {
    return 4 * ((voxel[2] * this.shape[1] + voxel[1]) * this.shape[0] + voxel[0]);
  }

  edge(voxel, plane) {
    const label = this.labels[this.offset(voxel)];
    if (!label) return 0;
    for (const axis of [plane.across, plane.up]) {
      for (const step of [-1, 1]) {
        const beside = [...voxel];
        beside[axis] += step;
        if (beside[axis] < 0 || beside[axis] >= this.shape[axis]) continue;
        if (this.labels[this.offset(beside)] < label) return label;
      }
    }
    return 0;
  }

  colour(layer, volume, voxel, plane, pixels, at) {
    const from = this.offset(voxel);
    const table = this.tables[layer.colour_map];
    for (let channel = 0; channel < 3; channel += 1) {
      pixels[at + channel] = table ? table[3 * volume[from] + channel] : volume[from + channel];
    }
    pixels[at + 3] = 255;
    const label = this.labels && this.outlines.checked ? this.edge(voxel, plane) : 0;
    if (label) {
      const hex = this.data.outlines.colours[label - 1];
      for (let channel = 0; channel < 3; channel += 1) {
        pixels[at + channel] = parseInt(hex.slice(1 + 2 * channel, 3 + 2 * channel), 16);
      }
    }
  }

  drawPlane(plane) {
    const layer = this.data.layers[this.current];
    const volume = this.volumes.get(this.current);
    const slice = new ImageData(plane.width, plane.height);
    const voxel = [...this.position];
    for (let up = 0; up < plane.height; up += 1) {
      for (let across = 0; across < plane.width; across += 1) {
        voxel[plane.across] = across;
        voxel[plane.up] = plane.height - 1 - up;
        this.colour(layer, volume, voxel, plane, slice.data, 4 * (up * plane.width + across));
      }
    }
    this.paint(plane, slice);
  }

  paint(plane, slice) {
    const side = Math.round(plane.canvas.clientWidth * (window.devicePixelRatio || 1)) || 400;
    plane.canvas.width = side;
    plane.canvas.height = side;
    const small = document.createElement("canvas");
    small.width = plane.width;
    small.height = plane.height;
    small.getContext("2d").putImageData(slice, 0, 0);
    const [width, height] = [side * plane.span[0], side * plane.span[1]];
    const [left, top] = [(side - width) / 2, (side - height) / 2];
    const context = plane.canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, side, side);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, left, top, width, height);
    this.cross(context, plane, left, top, width, height, side);
  }

  cross(context, plane, left, top, width, height, side) {
    const x = left + (this.position[plane.across] + 0.5) / plane.width * width;
    const y = top + (plane.height - this.position[plane.up] - 0.5) / plane.height * height;
    context.strokeStyle = "rgba(120, 200, 255, .55)";
    context.lineWidth = side / 400;
    context.beginPath();
    context.moveTo(x, top); context.lineTo(x, top + height);
    context.moveTo(left, y); context.lineTo(left + width, y);
    context.stroke();
    context.fillStyle = "#e8eaed";
    context.font = `600 ${Math.round(side / 26)}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillText(plane.sides[0], side * 0.015, side / 2);
    context.textAlign = "right";
    context.fillText(plane.sides[1], side * 0.985, side / 2);
  }

  readout() {
    const layer = this.data.layers[this.current];
    const volume = this.volumes.get(this.current);
    const level = volume[this.offset(this.position)];
    const world = this.data.affine.slice(0, 3).map((row) => row[3] + row.slice(0, 3).reduce((sum, value, axis) => sum + value * this.position[axis], 0));
    const value = layer.low + (level - 1) / 254 * (layer.high - layer.low);
    const bound = level === 255 ? "≥ " : level === 1 ? "≤ " : "";
    const words = level === 0 ? "outside the brain" : `${bound}${Number(value.toPrecision(3))} ${layer.unit}`;
    const text = layer.colour_map === "rgb" ? layer.name : `${layer.name} ${words}`;
    return `${text.trim()} at x ${world[0].toFixed(0)}, y ${world[1].toFixed(0)}, z ${world[2].toFixed(0)} mm`;
  }

  draw() {
    if (!this.volumes.has(this.current)) return;
    this.planes.forEach((plane) => this.drawPlane(plane));
    this.figure.querySelector(".readout").textContent = this.readout();
  }
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

document.querySelectorAll(".compare").forEach(startCompare);
document.querySelectorAll(".viewer").forEach((figure) => new Viewer(figure).start());
followSections();
