// Keeps the page for use without a network. Caches:
//   heavy:<bundle>          the model, fetched once per bundle
//   light:<bundle>:<time>   a generation: page, styles, scripts, WebAssembly and the bundle's description, fetched together
// The address names the bundle's model by its SHA-256: another bundle is another service worker with its own caches.
//
// A visit is answered out of one generation to its end, so that no script of it meets one of another release. At its start
// the server is asked for all files; where any differs, they make a new generation, and where the server is not reached in
// time, the newest complete one is taken. Not covered: files that change on the server while they are being fetched, the
// first visit, and pages that stay open while another bundle arrives; those two ask the server, file by file.

'use strict';

const address = new URL(self.location.href);
const BUNDLE = address.searchParams.get('bundle');
const MODEL = address.searchParams.get('model');
const [HEAVY_CACHE, LIGHT_CACHES] = [`heavy:${BUNDLE}`, `light:${BUNDLE}:`];
const COMPLETE = '/complete'; // is put last into a generation
const PIN = '/pin/'; // with the id of a page or worker: which generation it began with
const WASM = '/static/vendor/litert/wasm/';
const OPTIONAL = ['/v1/bundle/metadata.json', '/v1/bundle/bundle.sha256']; // a bundle of an earlier release lacks one
const NETWORK_WAIT = 4000; // ms; then what is kept is shown

const LIGHT = [
  '/',
  '/v1/bundle',
  ...OPTIONAL,
  '/manifest.webmanifest',
  '/static/style.css',
  ...['icon.svg', 'icon-192.png', 'icon-512.png', 'icon-maskable-512.png'].map((name) => `/static/icons/${name}`),
  ...[
    'page',
    'card',
    'digests',
    'elements',
    'engines',
    'server_engine',
    'offline',
    'pictures',
    'overlay',
    'answer',
    'answer_words',
    'worker',
    'photograph',
    'saved',
    'exif',
    'image_header',
    'jpeg_data',
    'jpeg_scans',
    'glaucoma',
    'sha256',
  ].map((name) => `/static/js/${name}.js`),
  ...[
    'appearance',
    'circle_fit',
    'covered',
    'crop',
    'filters',
    'fov',
    'gradability',
    'least_squares',
    'margins',
    'outline',
    'picture',
    'random',
    'resize',
    'several',
    'square',
  ].map((name) => `/static/js/fundus/${name}.js`),
  '/static/vendor/litert/core.js',
  '/static/vendor/litert/wasm-utils.js',
];

/** Whether this browser runs the faster build of LiteRT.js, which needs relaxed SIMD; the same question LiteRT.js asks. */
function relaxedSimd() {
  // (module (func (result v128) i32.const 1 i8x16.splat i32.const 2 i8x16.splat i8x16.relaxed_swizzle))
  const code = [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15,
    253, 128, 2, 11,
  ];
  return WebAssembly.validate(new Uint8Array(code));
}

const LITERT = `${WASM}${relaxedSimd() ? 'litert_wasm_internal' : 'litert_wasm_compat_internal'}`;
const WASM_FILES = [`${LITERT}.js`, `${LITERT}.wasm`];

/** Fetches a file; where a large one is kept already and the server has the same, that is taken. */
async function fetched(path, before) {
  const stored = WASM_FILES.includes(path) ? await before?.match(path) : undefined;
  if (stored !== undefined) {
    const asked = await fetch(path, {method: 'HEAD', cache: 'no-store'});
    if (asked.ok && same(asked, stored)) return stored;
  }
  const response = await fetch(path, {cache: 'no-cache'});
  if (!response.ok && !isLacking(path, response)) throw new Error(`${path}: ${response.status}`);
  return response;
}

/** Whether the server has said that there is no such file, of one that may be lacking: it is kept that there is none. */
function isLacking(path, response) {
  return OPTIONAL.includes(path) && response?.status === 404;
}

function same(one, other) {
  const tag = one.headers.get('ETag');
  return tag !== null && tag === other?.headers.get('ETag');
}

async function keepModel() {
  const cache = await caches.open(HEAVY_CACHE);
  if ((await cache.match(MODEL)) === undefined) await cache.put(MODEL, await fetched(MODEL));
}

/** Returns the complete generations, the newest first. */
async function generations() {
  const names = (await caches.keys()).filter((name) => name.startsWith(LIGHT_CACHES));
  const age = (name) => Number(name.slice(LIGHT_CACHES.length));
  names.sort((a, b) => age(b) - age(a));
  const complete = await Promise.all(names.map(async (name) => (await caches.open(name)).match(COMPLETE)));
  return names.filter((_, i) => complete[i] !== undefined);
}

let renewing = null;

/** Asks the server for all files; returns the name of the generation that holds them, a new one where any differs. */
function renew() {
  renewing ??= renewed().finally(() => {
    renewing = null;
  });
  return renewing;
}

async function renewed() {
  const [newest] = await generations();
  const before = newest === undefined ? undefined : await caches.open(newest);
  const paths = [...LIGHT, ...WASM_FILES];
  const files = await Promise.all(paths.map(async (path) => [path, await fetched(path, before)]));
  const kept = await Promise.all(paths.map((path) => before?.match(path)));
  const unchanged = ([path, response], i) =>
    same(response, kept[i]) || (isLacking(path, response) && isLacking(path, kept[i]));
  if (files.every(unchanged)) return newest;
  const name = `${LIGHT_CACHES}${Date.now()}`;
  const cache = await caches.open(name);
  await Promise.all(files.map(([path, response]) => cache.put(path, response)));
  await cache.put(COMPLETE, new Response());
  await tidy();
  return name;
}

/** Removes generations that no page uses; the newest two stay, for a page that is just being opened. */
async function tidy() {
  const open = new Set();
  for (const {id} of await self.clients.matchAll({includeUncontrolled: true, type: 'all'})) open.add(await generationOf(id));
  for (const name of (await generations()).slice(2)) if (!open.has(name)) await caches.delete(name);
}

async function pin(id, name) {
  if (id) await (await caches.open(name)).put(PIN + id, new Response(name));
}

/** Returns the generation with which a page or worker began, or null. */
async function generationOf(id) {
  return (await (id ? await caches.match(PIN + id) : undefined)?.text()) ?? null;
}

self.addEventListener('install', (event) => {
  event.waitUntil(Promise.all([keepModel(), renew()]).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (/^(heavy|light):/.test(name) && name !== HEAVY_CACHE && !name.startsWith(LIGHT_CACHES)) await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

self.addEventListener('message', (event) => {
  if (event.data?.task !== 'refresh') return;
  event.waitUntil(
    renew()
      .then(
        () => true,
        async () => (await generations()).length > 0, // no network: what was kept stays
      )
      .then((complete) => event.ports[0].postMessage({complete})),
  );
});

self.addEventListener('fetch', (event) => {
  const {request} = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin) return;
  const path = url.pathname + url.search;
  if (path === MODEL) event.respondWith(model(request));
  else if (request.mode === 'navigate' && url.pathname === '/') event.respondWith(opened(event));
  else if (LIGHT.includes(url.pathname) || WASM_FILES.includes(url.pathname)) event.respondWith(file(event, url.pathname));
});

async function model(request) {
  return (await (await caches.open(HEAVY_CACHE)).match(MODEL)) ?? fetch(request);
}

/** Answers the opening of the page, and notes which generation it and its files come from. */
async function opened(event) {
  const fresh = renew().catch(() => null);
  event.waitUntil(fresh);
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, NETWORK_WAIT, null);
  });
  const name = (await Promise.race([fresh, late]).finally(() => clearTimeout(timer))) ?? (await generations())[0];
  if (name === undefined) return fetch(event.request);
  await pin(event.resultingClientId, name);
  return (await caches.open(name)).match('/');
}

/** Answers a page's file from the page's own generation; a page that began without one gets it from the server. */
async function file(event, path) {
  const name = await generationOf(event.clientId);
  if (name === null) {
    return fetch(event.request).catch(async (error) => {
      const [newest] = await generations();
      if (newest === undefined) throw error;
      return (await caches.open(newest)).match(path);
    });
  }
  await pin(event.resultingClientId, name); // a worker's own files are those of its page
  return (await (await caches.open(name)).match(path)) ?? fetch(event.request);
}
