"use strict";

/* Viewer: NiiVue shows volumes that the page holds. It starts when it is seen or focused, so that a page opens at once. */
const OPACITY_STEP = 0.1;
const MAPS = ["gray", "viridis", "inferno", "cividis"];
const viewers = [];
let library = null;

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function loadLibrary() {
  library ??= unpacked(document.getElementById("niivue").textContent).then((text) => {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
    return window.niivue;
  });
  return library;
}

function hasGraphics() {
  return Boolean(window.DecompressionStream && document.createElement("canvas").getContext("webgl2"));
}

class Viewer {
  constructor(figure) {
    this.figure = figure;
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.images = new Map();
    const bases = this.data.layers.filter((layer) => layer.base);
    this.bases = bases.length ? bases : this.data.layers.slice(0, 1);
    this.overlays = this.data.layers.filter((layer) => !this.bases.includes(layer));
    [this.base, this.overlay] = [this.bases[0], this.overlays.find((layer) => layer.start) || null];
  }

  async start() {
    this.niivue = await loadLibrary();
    this.view = new this.niivue.Niivue({
      isColorbar: true, crosshairWidth: 0.6, crosshairColor: [0.35, 0.7, 0.9, 0.8], fontColor: [0.8, 0.8, 0.8, 1], fontMinPx: 12,
      show3Dcrosshair: true, multiplanarShowRender: 1, dragAndDropEnabled: false, loadingText: "", logLevel: "error",
    });
    Object.entries(this.data.colourMaps).forEach(([name, nodes]) => this.view.addColormap(name, nodes));
    this.canvas = this.figure.querySelector("canvas");
    await this.view.attachToCanvas(this.canvas);
    this.view.onLocationChange = (place) => this.moved(place);
    this.addControls();
    await this.arrange();
    viewers.push(this);
    this.figure.classList.add("started");
  }

  control(name) {
    return this.figure.querySelector(`.${name}`);
  }

  addControls() {
    this.addButtons("bases", this.bases, () => this.base, (layer) => { this.base = layer; });
    this.addButtons("overlays", [null, ...this.overlays], () => this.overlay, (layer) => { this.overlay = layer; });
    this.opacity = this.control("opacity");
    this.opacity.addEventListener("input", () => this.fade(Number(this.opacity.value)));
    this.colours = this.control("colours");
    this.colours.append(...["as given", ...MAPS].map((name) => new Option(name, name === "as given" ? "" : name)));
    this.colours.addEventListener("change", () => this.arrange());
    this.outline = this.control("outlines");
    this.outline.closest("label").hidden = !this.data.outline;
    this.outline.addEventListener("change", () => this.arrange());
    this.canvas.addEventListener("keydown", (event) => this.press(event), true);
    const hasOverlays = this.overlays.length > 0;
    this.figure.querySelectorAll(".with-overlays").forEach((item) => { item.hidden = !hasOverlays; });
  }

  addButtons(name, layers, chosen, choose) {
    const list = this.control(name);
    const buttons = layers.map((layer) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = layer ? layer.name : "None";
      button.addEventListener("click", async () => { choose(layer); mark(); await this.arrange(); });
      return button;
    });
    const mark = () => buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(layers[place] === chosen())));
    list.append(...buttons);
    mark();
  }

  async image(layer) {
    if (!this.images.has(layer)) {
      const image = await this.niivue.NVImage.loadFromBase64({ base64: layer.data, name: `${layer.name || "outline"}.nii.gz` });
      if (layer === this.data.outline) this.makeLabel(image);
      this.images.set(layer, image);
    }
    return this.images.get(layer);
  }

  makeLabel(image) {
    const [red, green, blue] = this.data.outline.colour;
    image.hdr.intent_code = 1002;
    image.setColormapLabel({ R: [0, red], G: [0, green], B: [0, blue], A: [0, 255], I: [0, 1], labels: ["", "white matter"] });
    image.opacity = 0.001;
    image.colorbarVisible = false;
  }

  async dressed(layer, opacity) {
    const image = await this.image(layer);
    image.opacity = opacity;
    if (layer.colour_map !== "rgb") {
      image.colormap = (layer === this.overlay && this.colours.value) || layer.colour_map;
      image.cal_min = layer.low - (layer.high - layer.low) / 254;
      image.cal_max = layer.high;
    }
    image.colorbarVisible = layer.colour_map !== "rgb" && (layer === this.overlay || !this.overlay);
    return image;
  }

  async arrange() {
    const volumes = [await this.dressed(this.base, 1)];
    if (this.overlay) volumes.push(await this.dressed(this.overlay, Number(this.opacity.value)));
    if (this.outline.checked && this.data.outline) volumes.push(await this.image(this.data.outline));
    this.view.volumes = volumes;
    [this.view.back, ...this.view.overlays] = volumes;
    this.view.opts.atlasOutline = 1;
    this.view.updateGLVolume();
    this.view.createOnLocationChange();
  }

  fade(opacity) {
    this.opacity.value = Math.min(1, Math.max(0, opacity));
    if (this.overlay) this.view.setOpacity(1, Number(this.opacity.value));
  }

  press(event) {
    const steps = {
      ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1],
    };
    const changes = {
      "+": () => this.fade(Number(this.opacity.value) + OPACITY_STEP), "-": () => this.fade(Number(this.opacity.value) - OPACITY_STEP),
      o: () => this.figure.querySelectorAll(".overlays button")[this.next()]?.click(),
    };
    const act = steps[event.key] ? () => this.view.moveCrosshairInVox(...steps[event.key]) : changes[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  next() {
    const places = [null, ...this.overlays];
    return (places.indexOf(this.overlay) + 1) % places.length;
  }

  moved(place) {
    const found = [this.base, this.overlay].filter(Boolean).map((layer, index) => this.words(layer, place.values[index]));
    const [x, y, z] = [...place.mm].map((value) => Math.round(value));
    this.control("readout").textContent = `${found.filter(Boolean).join(" · ")} at x ${x}, y ${y}, z ${z} mm`;
    if (!this.led) this.lead(place.mm);
  }

  words(layer, found) {
    if (layer.colour_map === "rgb" || !found) return "";
    const level = Math.round(1 + (found.value - layer.low) / (layer.high - layer.low) * 254);
    if (level < 1) return `${layer.name} outside the brain`;
    const bound = level >= 255 ? "≥ " : level === 1 ? "≤ " : "";
    return `${layer.name} ${bound}${Number(found.value.toPrecision(3))} ${layer.unit}`.trim();
  }

  /* One cursor for all viewers of the page: they share the scanner's coordinates. */
  lead(mm) {
    if (!this.control("linked").checked) return;
    for (const other of viewers) {
      if (other !== this && other.control("linked").checked) other.follow(mm);
    }
  }

  follow(mm) {
    this.led = true;
    this.view.scene.crosshairPos = this.view.mm2frac(mm.slice(0, 3));
    this.view.drawScene();
    this.view.createOnLocationChange();
    this.led = false;
  }
}

function openViewer(figure) {
  if (figure.viewer) return;
  figure.viewer = new Viewer(figure);
  figure.viewer.ready = figure.viewer.start();
}

function startViewers() {
  const figures = [...document.querySelectorAll(".viewer")];
  if (figures.length && !hasGraphics()) {
    figures.forEach((figure) => { figure.querySelector(".without").hidden = false; figure.classList.add("plain"); });
    return;
  }
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((item) => item.isIntersecting)) {
      observer.unobserve(entry.target);
      openViewer(entry.target);
    }
  }, { rootMargin: "200px" });
  figures.forEach((figure) => {
    observer.observe(figure);
    figure.addEventListener("focusin", () => openViewer(figure));
  });
}

startViewers();
