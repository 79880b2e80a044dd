/* Segments a photograph in the page: files -> pixels -> the network in ONNX Runtime Web -> a picture. */

const MAX_PIXELS = 2 ** 18;
const FILES = new URL(".", import.meta.url); // ONNX Runtime, its WebAssembly, network.onnx, network.json

/** The image file as {values (height * width * 3) of 0..255, height, width}, as EXIF turns it. */
async function read(file) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Uint8Array(height * width * 3);
  for (let i = 0; i < height * width; i++) values.set(data.subarray(4 * i, 4 * i + 3), 3 * i);
  return { values, height, width };
}

/** The image with at most MAX_PIXELS, float32: sides are scaled as `keras-dup predict --scales` does. */
export function reduced({ values, height, width }) {
  const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (height * width)));
  const [rows, columns] = [height, width].map((side) => Math.floor((side - 1) * scale) + 1);
  const narrow = interpolated(values, 1, height, width * 3, rows);
  return { values: interpolated(narrow, rows, width, 3, columns), height: rows, width: columns };
}

/** (outer, old, inner) -> (outer, size, inner), linear with aligned ends, in float32 as keras_dup.inference. */
function interpolated(values, outer, old, inner, size) {
  if (size === old) return Float32Array.from(values);
  const found = new Float32Array(outer * size * inner);
  const { fround } = Math;
  for (let k = 0; k < size; k++) {
    const place = k && k === size - 1 ? old - 1 : k * ((old - 1) / Math.max(size - 1, 1));
    const first = Math.min(Math.floor(place), Math.max(old - 2, 0));
    const [share, following] = [fround(place - first), Math.min(first + 1, old - 1)];
    const rest = fround(1 - share);
    for (let o = 0; o < outer; o++) {
      const [to, a, b] = [o * size + k, o * old + first, o * old + following].map((n) => n * inner);
      for (let i = 0; i < inner; i++) found[to + i] = fround(values[a + i] * rest) + fround(values[b + i] * share);
    }
  }
  return found;
}

/** Several files as bytes; tell(share) is called as they arrive. */
async function loaded(names, bytes, tell) {
  let arrived = 0;
  const load = async (name) => {
    const response = await fetch(new URL(name, FILES));
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    const counter = new TransformStream({
      transform(chunk, controller) {
        tell(Math.min(1, (arrived += chunk.length) / bytes));
        controller.enqueue(chunk);
      },
    });
    return new Uint8Array(await new Response(response.body.pipeThrough(counter)).arrayBuffer());
  };
  return Promise.all(names.map(load));
}

/** A function of an image (see `read`) that resolves to its class ids, Uint8Array (height * width). */
async function network({ bytes }, tell) {
  const ort = await import(new URL("ort.wasm.bundle.min.mjs", FILES));
  const [model, binary] = await loaded(["network.onnx", "ort-wasm-simd-threaded.wasm"], bytes, tell);
  Object.assign(ort.env.wasm, { proxy: true, wasmBinary: binary.buffer }); // proxy: in a worker, the page stays alive
  const session = await ort.InferenceSession.create(model);
  return async ({ values, height, width }) => {  // the worker takes the values away, hence a copy
    const image = new ort.Tensor("float32", values.slice(), [1, height, width, 3]);
    return (await session.run({ image })).label_map.data;
  };
}

/** Draws the image with the colours of its classes over grey, as keras_dup.pictures.overlay does. */
function draw(canvas, { values, height, width }, labels, { class_names, colours }, opacity) {
  const clear = class_names.indexOf("background");
  const picture = new ImageData(width, height);
  labels.forEach((id, i) => {
    let pixel = values.subarray(3 * i, 3 * i + 3);
    if (id !== clear && opacity > 0) {
      const grey = (77 * pixel[0] + 150 * pixel[1] + 29 * pixel[2]) / 256;
      pixel = colours[id].map((colour) => grey * (1 - opacity) + colour * opacity);
    }
    picture.data.set([...pixel, 255], 4 * i);
  });
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** Lists the classes with their colours and shares. */
function list(place, labels, { class_names, colours }) {
  const counts = new Array(class_names.length).fill(0);
  labels.forEach((id) => counts[id]++);
  const present = counts.map((count, id) => [count, id]).filter(([count]) => count);
  const items = present.sort(([a], [b]) => b - a).map(([count, id]) => {
    const [item, swatch] = [document.createElement("li"), document.createElement("span")];
    if (class_names[id] !== "background") swatch.style.background = `rgb(${colours[id]})`;
    item.append(swatch, `${class_names[id]} ${((100 * count) / labels.length).toFixed(1)} %`);
    return item;
  });
  place.replaceChildren(...items);
}

/** Makes the page work once network.json is there, which a site built without npm does not have. */
async function start(page) {
  const response = await fetch(new URL("network.json", FILES));
  if (!response.ok) return;
  const about = await response.json();
  const [status, fieldset, figure] = ["p.status", "fieldset", "figure"].map((name) => page.querySelector(name));
  const [input, range, canvas] = ["fieldset input", "figure input", "canvas"].map((name) => page.querySelector(name));
  let [run, show] = [null, null];
  const say = (text) => (status.textContent = text);

  async function segment(file, name) {
    fieldset.disabled = true;
    try {
      say(`Reading ${name} …`);
      const image = await read(file).catch(() => {
        throw new Error(`${name}: this browser cannot read it; JPEG, PNG or WebP is expected`);
      });
      const megabytes = (about.bytes / 1e6).toFixed(0);
      run ??= await network(about, (share) => say(`Loading the network: ${Math.floor(100 * share)} % of ${megabytes} MB`));
      const small = reduced(image);
      say(`Segmenting ${small.width} x ${small.height} pixels …`);
      const began = performance.now();
      const labels = await run(small);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      show = () => draw(canvas, small, labels, about, Number(range.value));
      show();
      list(figure.querySelector("ul"), labels, about);
      figure.hidden = false;
      const scaled = small.width < image.width ? `, scaled down from ${image.width} x ${image.height}` : "";
      say(`${name}: ${small.width} x ${small.height} pixels${scaled}, ${seconds} s`);
      page.dispatchEvent(new CustomEvent("segmented", { detail: { ...small, labels } }));
    } catch (error) {
      say(error.message);
      page.dispatchEvent(new CustomEvent("segmented", { detail: { error: error.message } }));
    } finally {
      fieldset.disabled = false;
    }
  }

  input.addEventListener("change", () => input.files.length && segment(input.files[0], input.files[0].name));
  for (const button of fieldset.querySelectorAll("button")) {
    const path = button.dataset.photograph;
    button.addEventListener("click", async () => segment(await (await fetch(path)).blob(), path.split("/").pop()));
  }
  range.addEventListener("input", () => show());
  say("");
  fieldset.hidden = false;
}

start(document.querySelector("#segmenter"));
