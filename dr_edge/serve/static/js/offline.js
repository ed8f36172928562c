// Keeps the page, its scripts and the model in this browser, so that it works without a network.

import {chooseArtifact} from './engines.js';

/**
 * Registers the service worker for a bundle, and waits until everything is kept.
 * @param {object} manifest the bundle's metadata.json
 * @returns {Promise<boolean>} whether the page works offline from now on
 */
export async function keepOffline(manifest) {
  if (!('serviceWorker' in navigator)) return false; // plain http from another machine, or a private window
  const {sha256, url} = chooseArtifact(manifest);
  try {
    const registration = await navigator.serviceWorker.register(
      `/sw.js?bundle=${sha256}&model=${encodeURIComponent(url)}`,
      {scope: '/', updateViaCache: 'none'},
    );
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    if (worker.state !== 'activated') {
      await new Promise((resolve, reject) => {
        worker.addEventListener('statechange', () => {
          if (worker.state === 'activated') resolve();
          if (worker.state === 'redundant') reject(new Error('the files could not all be kept'));
        });
      });
    }
    return await refresh(registration.active);
  } catch (error) {
    console.warn(`Not kept for offline use: ${error.message}`);
    return false;
  }
}

/** Asks the service worker to take the page's small files anew, all together; true where they are complete. */
function refresh(worker) {
  const {port1, port2} = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({data}) => resolve(data.complete);
    worker.postMessage({task: 'refresh'}, [port2]);
  });
}
