// Keeps the page for use without a network. Two caches:
//   heavy:<bundle>   the model and the WebAssembly, by far the most bytes; fetched once per bundle
//   light:<bundle>   page, styles, scripts, the bundle's description; taken anew, all together, at each visit with a
//                    network, so that no old script ever meets a new one
// The address names the bundle's model by its SHA-256: another bundle is another service worker with its own caches.
// With a network everything but the heavy files comes from the server; without one, from the caches.

'use strict';

const address = new URL(self.location.href);
const BUNDLE = address.searchParams.get('bundle');
const MODEL = address.searchParams.get('model');
const [HEAVY_CACHE, LIGHT_CACHE] = [`heavy:${BUNDLE}`, `light:${BUNDLE}`];
const WASM = '/static/vendor/litert/wasm/';
const NETWORK_WAIT = 4000; // ms; then what is kept is shown

const LIGHT = [
  '/',
  '/v1/bundle',
  '/manifest.webmanifest',
  '/static/style.css',
  ...['icon.svg', 'icon-192.png', 'icon-512.png', 'icon-maskable-512.png'].map((name) => `/static/icons/${name}`),
  ...[
    'page',
    'card',
    'elements',
    'engines',
    'offline',
    'pictures',
    'overlay',
    'words',
    'answer',
    'worker',
    'photograph',
    'image_header',
    'glaucoma',
    'sha256',
  ].map((name) => `/static/js/${name}.js`),
  ...[
    'circle_fit',
    'crop',
    'filters',
    'fov',
    'gradability',
    'least_squares',
    'outline',
    'picture',
    'quality',
    'random',
    'resize',
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
const HEAVY = [`${LITERT}.js`, `${LITERT}.wasm`, MODEL];

async function fetchAll(paths) {
  return Promise.all(
    paths.map(async (path) => {
      const response = await fetch(path, {cache: 'no-cache'});
      if (!response.ok) throw new Error(`${path}: ${response.status}`);
      return [path, response];
    }),
  );
}

async function keep(cacheName, paths) {
  const fetched = await fetchAll(paths); // all of them, or none is replaced
  const cache = await caches.open(cacheName);
  await Promise.all(fetched.map(([path, response]) => cache.put(path, response)));
}

self.addEventListener('install', (event) => {
  event.waitUntil(Promise.all([keep(HEAVY_CACHE, HEAVY), keep(LIGHT_CACHE, LIGHT)]).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (/^(heavy|light):/.test(name) && name !== HEAVY_CACHE && name !== LIGHT_CACHE) await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

self.addEventListener('message', (event) => {
  if (event.data?.task !== 'refresh') return;
  event.waitUntil(
    keep(LIGHT_CACHE, LIGHT)
      .then(
        () => true,
        () => caches.has(LIGHT_CACHE), // no network: what was kept stays
      )
      .then((complete) => event.ports[0].postMessage({complete})),
  );
});

self.addEventListener('fetch', (event) => {
  const {request} = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin) return;
  const path = url.pathname + url.search;
  if (HEAVY.includes(path)) event.respondWith(kept(HEAVY_CACHE, path).then((response) => response ?? fetch(request)));
  else if (LIGHT.includes(url.pathname)) event.respondWith(networkFirst(request, url.pathname));
});

async function kept(cacheName, path) {
  return (await caches.open(cacheName)).match(path);
}

/** Answers from the server; where it is not reached in time, from what is kept. */
async function networkFirst(request, path) {
  const stored = await kept(LIGHT_CACHE, path);
  if (stored === undefined) return fetch(request);
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, NETWORK_WAIT, stored);
  });
  const fresh = fetch(request).then(
    (response) => (response.status >= 500 ? stored : response),
    () => stored,
  );
  return Promise.race([fresh, late]).finally(() => clearTimeout(timer));
}
