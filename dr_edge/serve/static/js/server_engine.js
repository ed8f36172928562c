// The server as the one who answers, where this browser cannot and the user agrees that photographs are sent.

import {unreadable} from './answer.js';
import {PhotographError, readHeader} from './image_header.js';
import {MASK_COLOURS} from './overlay.js';

const ATTEMPTS = 4;
const LONGEST_PAUSE = 30; // s
const FORM_BYTES = 1024; // what a form adds to the file, at most
const OF_THE_PHOTOGRAPH = [413, 415, 422]; // any other refusal says nothing of it

/** Sends photographs to POST /v1/predict of the server that the page came from. */
export class ServerEngine {
  /** @param {object} manifest the bundle's metadata.json */
  constructor(manifest) {
    this.manifest = manifest;
    // The model that answers; each answer says anew which it was.
    const artifacts = Object.values(manifest.artifacts ?? {});
    this.artifact = artifacts.find(({file}) => file === manifest.serve?.artifact) ?? null;
  }

  /**
   * Answers one photograph; see worker.js for what is returned.
   * @param {File} file
   * @param {{say?: (words: string) => void, signal?: AbortSignal}} options say: is told of waiting; signal: ends it
   * @throws {Error} it was not answered, and that says nothing of the photograph: the same file may be sent again
   */
  async answer(file, {say = () => {}, signal} = {}) {
    const limits = this.manifest.serve ?? {};
    const refusal = await refusedHere(file, limits);
    if (refusal) return {answer: unreadable(refusal, file.name)};
    for (let attempt = 1; ; attempt++) {
      const {response, content, trouble} = await post(file, signal);
      if (trouble === null) {
        if (response.ok) return this.picture(content, file);
        const error = {reason: content.error.reason, message: content.error.message};
        return {answer: unreadable(error, file.name)};
      }
      if (!trouble.passing || attempt === ATTEMPTS) throw new Error(trouble.words);
      say(`${trouble.short}, trying again…`);
      await pause(trouble.seconds ?? 2 ** attempt, signal);
    }
  }

  async picture(content, file) {
    const {pictures, bundle, schema, schema_version, ...answer} = content; // as the page's own answers, and Python's
    if (bundle) this.artifact = {file: bundle.artifact, sha256: bundle.sha256};
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

/** Returns why a file need not be sent, since the server has said that it would refuse it; else null. */
async function refusedHere(file, {max_upload_bytes: mostBytes = Infinity, max_pixels: mostPixels = Infinity}) {
  if (file.size + FORM_BYTES > mostBytes) {
    const words = `${file.size} bytes; this server takes at most ${mostBytes - FORM_BYTES}. Nothing was sent. Reduce the photograph.`;
    return new PhotographError('file too large', words);
  }
  let size;
  try {
    size = readHeader(new Uint8Array(await file.arrayBuffer()));
  } catch (error) {
    // The server reads more formats than browsers do, and says best what is wrong with a file.
    if (error.name !== 'PhotographError') throw error;
    return error.reason === 'too many pixels' ? error : null;
  }
  if (size.width * size.height <= mostPixels) return null;
  const words = `${size.width}x${size.height}; this server takes at most ${mostPixels} pixels. Nothing was sent. Reduce the photograph.`;
  return new PhotographError('too many pixels', words);
}

/**
 * Sends a file once.
 * @returns {Promise<{response?: Response, content?: object, trouble: null | {words: string, short?: string,
 *   passing: boolean, seconds?: number}}>} trouble: null where the server answered or refused this photograph;
 *   passing: another attempt may help; seconds: when
 */
async function post(file, signal) {
  const form = new FormData();
  form.append('image', file, file.name);
  let response;
  let content;
  try {
    response = await fetch('/v1/predict?pictures=1', {method: 'POST', body: form, signal});
    content = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    return {trouble: {words: 'the server could not be reached', short: 'no connection', passing: true}};
  }
  try {
    content = JSON.parse(content);
  } catch {
    content = null; // a proxy's page
  }
  if (response.status === 503) {
    const seconds = Number(response.headers.get('Retry-After')) || undefined;
    const trouble = {words: 'the server is busy', short: 'server busy', passing: true};
    return {trouble: {...trouble, seconds: seconds && Math.min(seconds, LONGEST_PAUSE)}};
  }
  if (content !== null && (response.ok || (content.error && OF_THE_PHOTOGRAPH.includes(response.status)))) {
    return {response, content, trouble: null};
  }
  const said = content?.error?.message ?? `the server answered ${response.status}`;
  return {trouble: {words: said.replace(/\.$/, ''), passing: false}};
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new Error('the photograph was removed'));
    });
  });
}
