// The page's worker: decodes, crops and grades one photograph after the other, off the page's own thread.
//
// A classic worker, because LiteRT.js loads its WebAssembly with importScripts; everything else is ES modules, imported
// as needed. Messages in: {id, task: 'start', manifest, artifact} and {id, task: 'answer', file}. Messages out:
// {id, result} or {id, error: {name, reason, message}}.

'use strict';

const ROOT = new URL('../', self.location.href);
const WASM = new URL('vendor/litert/wasm/', ROOT).pathname;
const PREVIEW = 1000; // longest side of the picture that is kept to be shown, pixels

self.Module = {locateFile: (file) => WASM + file};

const load = (path) => import(new URL(path, ROOT).href);
let engine = null;

self.onmessage = async ({data: {id, task, ...message}}) => {
  try {
    const result = task === 'start' ? await start(message) : await answer(message.file);
    self.postMessage({id, result}, transferables(result));
  } catch (error) {
    self.postMessage({
      id,
      error: {name: error.name, reason: error.reason ?? null, message: error.message ?? String(error)},
    });
  }
};

function transferables(result) {
  const arrays = [result.crop, result.heat?.data, result.masks?.data].filter(Boolean);
  return arrays.map((array) => array.buffer);
}

/** Loads LiteRT.js and the model, whose bytes must be those that metadata.json states. */
async function start({manifest, artifact}) {
  const began = performance.now();
  if (typeof OffscreenCanvas === 'undefined') throw new Error('this browser has no OffscreenCanvas');
  const [litert, {sha256}, bytes] = await Promise.all([loadLiteRt(), load('js/sha256.js'), fetchModel(artifact)]);
  if ((await sha256(bytes)) !== artifact.sha256)
    throw new Error('the model that arrived is not the one that the bundle states (its SHA-256 differs)');
  await litert.loadLiteRt(WASM);
  const model = await litert.loadAndCompile(bytes, {accelerator: 'wasm'});
  engine = {litert, model, manifest};
  const side = manifest.image_size;
  await run(new Uint8Array(side * side * 3)); // the first run prepares memory; no photograph should wait for it
  return {milliseconds: performance.now() - began};
}

async function loadLiteRt() {
  try {
    return await load('vendor/litert/core.js');
  } catch {
    const {status} = await fetch(new URL('vendor/litert/core.js', ROOT), {method: 'HEAD'}).catch(() => ({status: 0}));
    if (status === 404) {
      const words = 'LiteRT.js is not installed on it; python -m dr_edge.serve.vendor, run there, installs it';
      throw Object.assign(new Error(words), {reason: 'not installed'});
    }
    throw new Error('LiteRT.js cannot be loaded');
  }
}

async function fetchModel(artifact) {
  const response = await fetch(artifact.url);
  if (!response.ok) throw new Error(`the server answered ${response.status} for the model`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Runs the graph: side * side RGB bytes in, the bundle's named outputs out. */
async function run(crop) {
  const {litert, model, manifest} = engine;
  const side = manifest.image_size;
  const input = new litert.Tensor(crop, [1, side, side, 3]);
  const named = await model.run({[model.getInputDetails()[0].name]: input});
  input.delete();
  const outputs = {};
  for (const {name, shape} of manifest.outputs) {
    const tensor = named[name];
    if (tensor === undefined) throw new Error(`the model gives no output ${name}, which metadata.json lists`);
    outputs[name] = Float32Array.from(await tensor.data());
    if (outputs[name].length !== shape.reduce((product, size) => product * size, 1))
      throw new Error(`the model gives ${outputs[name].length} values of ${name}, metadata.json states [${shape}]`);
    if (!outputs[name].every(Number.isFinite)) throw new Error(`the model's output ${name} is not finite`);
  }
  for (const tensor of Object.values(named)) tensor.delete();
  return outputs;
}

/** Answers one photograph; what it shows is returned with it: preview (Blob), crop (RGBA), heat map or masks. */
async function answer(file) {
  const [{openPhotograph}, {cropPhotograph}, {wanted}, {interpret, refused, unreadable}] = await Promise.all([
    load('js/photograph.js'),
    load('js/fundus/crop.js'),
    load('js/fundus/appearance.js'),
    load('js/answer.js'),
  ]);
  const {manifest} = engine;
  const side = manifest.image_size;
  const began = performance.now();
  let photograph;
  try {
    photograph = await openPhotograph(file, side);
  } catch (error) {
    if (error.name !== 'PhotographError') throw error;
    return {answer: unreadable(error, file.name)};
  }
  const {width, height, sha256} = photograph;
  const facts = {file: file.name, sha256, photograph: {width, height}};
  try {
    const preview = await shrink(photograph);
    let found;
    try {
      found = cropPhotograph(photograph.reduced, photograph.denominator, side, wanted(manifest.preprocess.method, manifest.pictures));
    } catch (error) {
      if (error.name !== 'NotFundusError') throw error;
      return {answer: {...refused(error, facts), milliseconds: {crop: performance.now() - began}}, preview};
    }
    const cropped = performance.now();
    const outputs = await run(found.crop.data);
    const milliseconds = {crop: cropped - began, model: performance.now() - cropped};
    const crop = {box: found.box, size: side};
    const said = interpret(manifest, {...facts, crop, milliseconds}, outputs, found);
    return {answer: said, preview, crop: withAlpha(found.crop.data), ...pictures(manifest, outputs)};
  } finally {
    photograph.bitmap.close();
  }
}

function pictures(manifest, outputs) {
  const shapeOf = (name) => manifest.outputs.find((output) => output.name === name).shape;
  if (outputs.heatmap) {
    const [, height, width] = shapeOf('heatmap');
    return {heat: {data: outputs.heatmap, width, height}};
  }
  if (outputs.masks) {
    const [, height, width, count] = shapeOf('masks');
    return {masks: {data: outputs.masks, width, height, count}};
  }
  return {};
}

function withAlpha(rgb) {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4);
  for (let i = 0, o = 0; i < rgb.length; i += 3, o += 4) {
    rgba[o] = rgb[i];
    rgba[o + 1] = rgb[i + 1];
    rgba[o + 2] = rgb[i + 2];
    rgba[o + 3] = 255;
  }
  return rgba;
}

/** Returns a small JPEG of the photograph, to be shown; from the reduced photograph where that was made already. */
async function shrink({width, height, reduced, denominator}) {
  const longest = Math.max(width, height);
  const step =
    longest / denominator >= PREVIEW / 2
      ? Math.max(denominator, Math.ceil(longest / PREVIEW))
      : Math.ceil(longest / PREVIEW);
  const small = reduced(step);
  const canvas = new OffscreenCanvas(small.width, small.height);
  const pixels = new ImageData(withAlpha(small.rows(0, small.height)), small.width, small.height);
  canvas.getContext('2d', {alpha: false}).putImageData(pixels, 0, 0);
  return canvas.convertToBlob({type: 'image/jpeg', quality: 0.85});
}
