// Who answers: this browser (a worker with LiteRT.js), or, where that cannot start and the user agrees, the server.

import {MASK_COLOURS} from './overlay.js';

const ORDER = ['float32', 'float16', 'static_int8', 'qat_int8'];

/**
 * Chooses the artifact that the browser runs: the one that the server runs, so that both say the same. Dynamic-range
 * int8 is left out: it is slow in browsers and differs by nearly a percent.
 * @param {object} manifest the bundle's metadata.json
 * @returns {{file: string, sha256: string, bytes: number, variant: string, url: string}}
 */
export function chooseArtifact(manifest) {
  const usable = Object.values(manifest.artifacts).filter(
    (entry) => entry.format === 'tflite' && ORDER.includes(entry.variant),
  );
  const same = usable.find((entry) => entry.file === manifest.serve?.artifact);
  usable.sort((a, b) => ORDER.indexOf(a.variant) - ORDER.indexOf(b.variant));
  const chosen = same ?? usable[0];
  if (chosen === undefined) throw new Error('the bundle holds no model that browsers run');
  return {...chosen, url: `/v1/model/${encodeURIComponent(chosen.file)}?sha256=${chosen.sha256}`};
}

/** Runs the model in a worker of this browser. */
export class BrowserEngine {
  /** @param {object} manifest the bundle's metadata.json */
  constructor(manifest) {
    this.manifest = manifest;
    this.waiting = new Map();
    this.next = 1;
    this.worker = null;
  }

  /** Starts the worker and loads the model; rejects where this browser cannot. */
  async start() {
    this.worker = new Worker('/static/js/worker.js');
    this.worker.onmessage = ({data: {id, result, error}}) => {
      const {resolve, reject} = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(Object.assign(new Error(error.message), {name: error.name, reason: error.reason}));
      else resolve(result);
    };
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      const error = new Error(event.message || 'the worker could not be loaded');
      for (const {reject} of this.waiting.values()) reject(error);
      this.waiting.clear();
      this.worker.terminate(); // the next photograph starts another
      this.worker = null;
    };
    return this.ask({task: 'start', manifest: this.manifest, artifact: chooseArtifact(this.manifest)});
  }

  /** Answers one photograph; see worker.js for what is returned. */
  async answer(file) {
    if (this.worker === null) await this.start();
    return this.ask({task: 'answer', file});
  }

  ask(message) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, {resolve, reject});
      this.worker.postMessage({id, ...message});
    });
  }
}

/** Sends photographs to POST /v1/predict of the server that the page came from. */
export class ServerEngine {
  constructor(manifest) {
    this.manifest = manifest;
  }

  async answer(file) {
    const form = new FormData();
    form.append('image', file, file.name);
    const response = await fetch('/v1/predict?pictures=1', {method: 'POST', body: form});
    const content = await response.json().catch(() => null);
    if (response.status === 503) throw new Error('the server is busy; try again in a moment');
    if (!response.ok || content === null)
      return {
        answer: {
          file: file.name,
          status: 'unreadable',
          reason: content?.error?.reason ?? null,
          message: problem(response, content),
        },
      };
    const {pictures, ...answer} = content;
    return {answer: {...answer, file: file.name}, preview: file, ...(await this.decode(pictures ?? {}))};
  }

  /** Turns the server's pictures (data URLs) into what the worker gives: crop, and heat map or masks. */
  async decode(pictures) {
    const crop = pictures.crop ? await pixels(pictures.crop) : null;
    if (crop === null) return {};
    const found = {crop: crop.data};
    if (pictures.heatmap) {
      const {data, width, height} = await pixels(pictures.heatmap);
      found.heat = {data: Float32Array.from({length: width * height}, (_, i) => data[i * 4] / 255), width, height};
    }
    if (pictures.masks) found.masks = fromColours(await pixels(pictures.masks), this.manifest.task.class_names);
    return found;
  }
}

/** Takes the server's picture of the masks apart by its colours; the cup lies over the disc and belongs to it. */
function fromColours({data, width, height}, names) {
  const count = names.length;
  const keys = MASK_COLOURS.map(([red, green, blue]) => (red << 16) | (green << 8) | blue);
  const below =
    names.indexOf('optic cup') > names.indexOf('optic disc')
      ? {[names.indexOf('optic cup')]: names.indexOf('optic disc')}
      : {};
  const masks = new Float32Array(width * height * count);
  for (let i = 0; i < width * height; i++) {
    const top = keys.indexOf((data[i * 4] << 16) | (data[i * 4 + 1] << 8) | data[i * 4 + 2]);
    for (let index = top; index >= 0 && index < count; index = below[index] ?? -1) masks[i * count + index] = 1;
  }
  return {data: masks, width, height, count};
}

/** Decodes a data URL; through an image, since the page's policy lets nothing else read one. */
async function pixels(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function problem(response, content) {
  return content?.error?.message ?? `the server answered ${response.status}`;
}
